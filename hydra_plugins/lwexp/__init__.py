"""Hydra plugins of lwexp: the launcher, which starts each trial in a new process, and the two sweepers."""
