"""Where metrics go besides metrics.jsonl, which is written in any case."""

import importlib.util
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from lwexp.config.schema import Config
from lwexp.config.train import TensorboardTracking, Tracking, WandbTracking
from lwexp.runs import Run
from lwexp.runs.ranks import is_rank_zero
from lwexp.text.plain import first_line

log = logging.getLogger(__name__)


class Tracker:
    """Receives the metrics in addition to the local file.

    This base class ignores them. It serves ``tracking=none`` and the ranks other than 0.
    """

    def log(self, row: Mapping[str, float | None]) -> None:
        """Record a row of values by name; ``step`` is the optimiser step that they belong to."""

    def keep_model(self, folder: Path) -> None:
        """Record the exported model as an output of the run."""

    def finish(self, error: BaseException | None = None) -> None:
        """Flush and close.

        Args:
            error: What has ended the run; None if it has finished.
        """


class GuardedTracker(Tracker):
    """Passes everything on to a tracker. After its first error, training goes on without it.

    A scheduler that preempts a job sends SIGTERM to W&B's background process too. If the connection error that follows
    reached the training loop, the run would end before it has saved.

    Args:
        tracker: The tracker, which may raise anything.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker: Tracker | None = tracker

    def log(self, row: Mapping[str, float | None]) -> None:
        self._try(lambda tracker: tracker.log(row))

    def keep_model(self, folder: Path) -> None:
        self._try(lambda tracker: tracker.keep_model(folder))

    def finish(self, error: BaseException | None = None) -> None:
        self._try(lambda tracker: tracker.finish(error))

    def _try(self, call: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            call(self._tracker)
        except Exception as error:
            self._tracker = None
            log.warning(
                "tracking has failed (%s: %s); training goes on without it, and metrics.jsonl has every step",
                type(error).__name__, first_line(error),
            )  # fmt: skip


def open_tracker(config: Config, run: Run, done: int) -> Tracker:
    """The tracker that ``config.tracking`` asks for.

    Args:
        config: The whole config.
        run: The run that is tracked; local files of the tracker are written to its folder.
        done: Steps already done; TensorBoard replaces what an earlier start recorded for later steps.
    """
    # The trackers are imported here so that a run without tracking loads neither library.
    if isinstance(config.tracking, WandbTracking) and is_rank_zero():
        from lwexp.train.metrics.wandb_tracker import WandbTracker

        return GuardedTracker(WandbTracker(config.tracking, config, run))
    if isinstance(config.tracking, TensorboardTracking) and is_rank_zero():
        from lwexp.train.metrics.tensorboard_tracker import TensorboardTracker

        return GuardedTracker(TensorboardTracker(run.path, done))
    return Tracker()


def tracking_problem(tracking: Tracking) -> str | None:
    """Why tracking cannot start, as far as can be checked without the network; None if no problem is found."""
    if isinstance(tracking, TensorboardTracking) and importlib.util.find_spec("tensorboard") is None:
        return "tracking=tensorboard needs tensorboard; pip install 'lwexp[tensorboard]', or choose tracking=none"
    if not isinstance(tracking, WandbTracking) or tracking.mode == "offline":
        return None
    netrc = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        known = "api.wandb.ai" in netrc.read_text(encoding="utf-8")
    except OSError:
        known = False
    if known or os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_BASE_URL"):
        return None
    return "tracking: there is no W&B key; run wandb login, set WANDB_API_KEY, or choose tracking=wandb_offline"
