"""Where metrics go besides metrics.jsonl, which is written in any case."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from lwexp.config.schema import Config
from lwexp.config.train import TensorboardTracking, Tracking, WandbTracking
from lwexp.runs import Run
from lwexp.runs.ranks import is_rank_zero


class Tracker:
    """Receives the metrics in addition to the local file.

    This base class ignores them. It serves ``tracking=none`` and the ranks other than 0.
    """

    def log(self, row: Mapping[str, float | None]) -> None:
        """Record a row of values by name; ``step`` is the optimiser step that they belong to."""

    def keep_model(self, folder: Path) -> None:
        """Record the exported model as an output of the run."""

    def finish(self) -> None:
        """Flush and close."""


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

        return WandbTracker(config.tracking, config, run)
    if isinstance(config.tracking, TensorboardTracking) and is_rank_zero():
        from lwexp.train.metrics.tensorboard_tracker import TensorboardTracker

        return TensorboardTracker(run.path, done)
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
