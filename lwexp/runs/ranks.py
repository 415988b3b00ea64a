"""Rank and world size, from the environment that torchrun, Lightning or SLURM sets."""

import os


def rank() -> int:
    """Global rank of this process; 0 when alone."""
    for variable in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if value := os.environ.get(variable):
            return int(value)
    return 0


def is_rank_zero() -> bool:
    """Whether this process may write files and print to the user."""
    return rank() == 0
