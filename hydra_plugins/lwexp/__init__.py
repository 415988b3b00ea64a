"""Hydra plugins of lwexp: the launcher of fresh processes and the Optuna sweeper."""
