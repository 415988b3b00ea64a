"""What is trained: losses on per-token log-probs."""
