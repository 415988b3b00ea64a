"""The model: built or loaded, with packed attention, kernels, adapters and chunked log-probs."""
