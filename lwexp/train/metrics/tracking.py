"""Weights & Biases, the only place in this room that imports it. metrics.jsonl is written with or without."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lwexp.config.schema import Config
from lwexp.config.train import NoTracking, Tracking, WandbTracking
from lwexp.records import LwexpError
from lwexp.runs import Run
from lwexp.runs.artifacts import Parent
from lwexp.runs.ranks import is_rank_zero

log = logging.getLogger(__name__)


@runtime_checkable
class Tracker(Protocol):
    """Where metrics go besides the local file."""

    def log(self, row: Mapping[str, float | None]) -> None:
        """Values by name; ``step`` says of which step."""
        ...

    def keep_model(self, folder: Path) -> None:
        """Put the exported model into the lineage."""
        ...

    def finish(self) -> None:
        """Flush and close."""
        ...


class Nowhere:
    """No tracking."""

    def log(self, row: Mapping[str, float | None]) -> None:
        """Nothing."""

    def keep_model(self, folder: Path) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""


def open_tracker(config: Config, run: Run) -> Tracker:
    """What ``config.tracking`` asks for."""
    if isinstance(config.tracking, NoTracking) or not is_rank_zero():
        return Nowhere()
    return WandbTracker(config.tracking, config, run)


class WandbTracker:
    """A W&B run that continues when ours does, because both have one id.

    The data that it trains on, the model that it starts from and the one that it leaves are artifacts by reference:
    W&B learns where the files are and what came from what, and gets none of them.
    """

    def __init__(self, tracking: WandbTracking, config: Config, run: Run) -> None:
        import wandb

        self._id = run.id
        try:
            self._run: Any = wandb.init(
                mode=tracking.mode,
                entity=tracking.entity,
                project=tracking.project,
                tags=list(tracking.tags),
                name=run.id,
                id=run.id,
                resume="allow",
                dir=str(run.path),
                config=config.model_dump(mode="json"),
                # x_disable_meta: W&B records argv, host and git remote otherwise, and argv may hold anything.
                settings=wandb.Settings(
                    silent=True, console="off", disable_code=True, disable_git=True, disable_job_creation=True,
                    x_disable_meta=True, x_disable_stats=True, x_disable_machine_info=True,
                ),
            )  # fmt: skip
        except wandb.errors.Error as error:
            raise LwexpError(
                f"tracking: W&B refused the run: {str(error).splitlines()[0]}; "
                f"run wandb login or set WANDB_API_KEY, or choose tracking=wandb_offline"
            ) from None
        if tracking.mode == "online":  # W&B takes no inputs offline; config and manifest name them all the same
            self._use(run.manifest.parents)

    def log(self, row: Mapping[str, float | None]) -> None:
        """At the row's step; W&B drops rows of steps that it has had, so a resumed run repeats none."""
        values = {key: value for key, value in row.items() if key != "step" and value is not None}
        self._run.log(values, step=int(row["step"] or 0))

    def keep_model(self, folder: Path) -> None:
        """The exported model as an artifact named after the run, by reference."""
        self._artifact("the model", self._run.log_artifact, self._id, folder)

    def finish(self) -> None:
        """Flush and close."""
        self._run.finish()

    def _use(self, parents: Sequence[Parent]) -> None:
        """What the run was made from: the model of a training run, or a run's data."""
        for parent in parents:
            path = Path(parent.path)
            model = path / "model"
            self._artifact("an input", self._run.use_artifact, parent.id, model if model.is_dir() else path)

    def _artifact(self, what: str, send: Callable[[Any], object], name: str, folder: Path) -> None:
        """W&B may refuse; the run goes on, because its own files hold the same lineage."""
        import wandb

        try:
            artifact = wandb.Artifact(name, type="model" if folder.name == "model" else "dataset")
            artifact.add_reference(folder.resolve().as_uri(), checksum=False)
            send(artifact)
        except (wandb.errors.Error, ValueError, OSError) as error:
            log.warning("tracking: W&B did not take %s as an artifact (%s): %s", what, name, str(error).splitlines()[0])


def tracking_problem(tracking: Tracking) -> str | None:
    """Why an online run could not start, found without the network; None if nothing stands against it."""
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
