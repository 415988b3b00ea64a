"""Side by side measurements: ours and its rivals on the same work in one run, one JSON line last."""
