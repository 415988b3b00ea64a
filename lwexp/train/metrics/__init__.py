"""Where the numbers of a training go: metrics.jsonl and its sisters, and Weights & Biases."""
