"""Outputs of metrics: metrics.jsonl and similar files, and Weights & Biases."""
