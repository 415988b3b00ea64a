"""Outputs of metrics: metrics.jsonl and similar files, Weights & Biases, and TensorBoard."""
