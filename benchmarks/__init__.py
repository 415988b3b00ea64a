"""Benchmarks: lwexp ("ours") and other tools do the same work in one run; the last line of the output is JSON."""
