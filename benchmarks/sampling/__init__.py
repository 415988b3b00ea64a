"""Who samples fastest: lwexp's loop, transformers' two, or vLLM on the CPU; and what workers gain."""
