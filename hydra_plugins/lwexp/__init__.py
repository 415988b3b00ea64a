"""Hydra plugins of lwexp: the sweeps/ search path and the launcher of fresh processes."""
