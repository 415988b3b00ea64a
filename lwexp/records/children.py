"""Child processes that the kernel ends with their parent, even after ``kill -9``."""

import ctypes

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def signal_when_parent_dies(number: int) -> None:
    """Ask the kernel to send this process a signal when its parent ends. For a child, between fork and its program."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
