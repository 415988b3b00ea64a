"""TensorBoard event files in the run's folder."""

from collections.abc import Mapping
from pathlib import Path

from lwexp.train.metrics.tracking import Tracker

EVENTS = "tensorboard"
"""Subfolder of the run that holds the event files."""


class TensorboardTracker(Tracker):
    """Writes event files; each start of a run adds one.

    Args:
        folder: Folder of the run.
        done: Steps already done. TensorBoard hides values of later steps in earlier files.
    """

    def __init__(self, folder: Path, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / EVENTS), purge_step=done + 1)

    def log(self, row: Mapping[str, float | None]) -> None:
        step = int(row["step"] or 0)
        for name, value in row.items():
            if name != "step" and value is not None:
                self._writer.add_scalar(name, value, step)
        # The writer buffers rows for up to two minutes. A run that is killed must have written them, because the steps
        # before its checkpoint are not repeated.
        self._writer.flush()

    def finish(self, error: BaseException | None = None) -> None:
        self._writer.close()
