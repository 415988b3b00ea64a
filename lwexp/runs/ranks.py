"""Rank and world size, from the environment that torchrun, Lightning or SLURM sets."""

import os
import sys
from collections.abc import Mapping

from lwexp.records import LwexpError

RANK_VARIABLES = (
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "SLURM_PROCID", "SLURM_LOCALID",
    "SLURM_NODEID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES",
)  # fmt: skip
"""What makes a process one of several. A process that is started alone must not inherit them."""


def rank() -> int:
    """Global rank of this process; 0 when alone."""
    for variable in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if os.environ.get(variable):
            return number_of(os.environ, variable, least=0)
    return 0


def number_of(environment: Mapping[str, str], name: str, otherwise: int = 1, *, least: int = 1) -> int:
    """A whole number that torchrun or SLURM has set.

    Raises:
        LwexpError: If it is something else, or less than ``least``.
    """
    value = environment.get(name) or str(otherwise)
    if not (value.isdecimal() and value.isascii() and int(value) >= least):
        raise LwexpError(
            f"{name}={value} in the environment: wanted a whole number, at least {least}, as torchrun or srun sets it; "
            f"unset it"
        )
    return int(value)


def is_rank_zero() -> bool:
    """Whether this process may write files and print to the user."""
    return rank() == 0


def processes_started(environment: Mapping[str, str]) -> int:
    """How many processes torchrun or srun has started with this command; 1 when alone."""
    if "RANK" in environment:
        return number_of(environment, "WORLD_SIZE")
    return number_of(environment, "SLURM_STEP_NUM_TASKS")


def require_one_process(what: str) -> None:
    """Refuse to work in several processes, each of which would pay for the same answers.

    All of them end with exit code 2; rank 0 alone says why.

    Args:
        what: The command, for the message.

    Raises:
        LwexpError: In rank 0, if torchrun or srun has started several processes.
    """
    count = processes_started(os.environ)
    if count == 1:
        return
    if not is_rank_zero():
        sys.exit(2)
    raise LwexpError(
        f"{what} works in one process, but {count} were started; start one: "
        f"{'without torchrun' if 'RANK' in os.environ else 'srun --nodes=1 --ntasks=1'}"
    )
