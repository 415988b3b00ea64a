"""The training run itself: Lightning module, callbacks, checkpoints, logging."""
