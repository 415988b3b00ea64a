"""Weights & Biases, imported only here. metrics.jsonl is written with and without it."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lwexp.config.schema import Config
from lwexp.config.train import NoTracking, Tracking, WandbTracking
from lwexp.records import LwexpError
from lwexp.runs import Run
from lwexp.runs.artifacts import MODEL, Parent
from lwexp.runs.ranks import is_rank_zero
from lwexp.text.plain import first_line

log = logging.getLogger(__name__)


class Tracker:
    """Receives metrics besides the local file. This one ignores them: ``tracking=none``, and ranks other than 0."""

    def log(self, row: Mapping[str, float | None]) -> None:
        """Values by name; ``step`` is the optimiser step they belong to."""

    def keep_model(self, folder: Path) -> None:
        """Add the exported model to the lineage."""

    def finish(self) -> None:
        """Flush and close."""


def open_tracker(config: Config, run: Run) -> Tracker:
    """The tracker that ``config.tracking`` asks for."""
    if isinstance(config.tracking, NoTracking) or not is_rank_zero():
        return Tracker()
    return WandbTracker(config.tracking, config, run)


class WandbTracker(Tracker):
    """A W&B run with the id of the lwexp run, so that a resumed run continues it.

    Training data, start model and exported model are artifacts by reference: W&B learns where the files are and how
    they depend on each other, but receives no file.
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
                f"tracking: W&B refused the run: {first_line(error)}; "
                f"run wandb login or set WANDB_API_KEY, or choose tracking=wandb_offline"
            ) from None
        if tracking.mode == "online":  # W&B takes no inputs offline; config and manifest still name them
            self._use(run.manifest.parents)

    def log(self, row: Mapping[str, float | None]) -> None:
        # W&B drops rows of steps that it already has, so a resumed run repeats none.
        values = {key: value for key, value in row.items() if key != "step" and value is not None}
        self._run.log(values, step=int(row["step"] or 0))

    def keep_model(self, folder: Path) -> None:
        self._artifact("the model", self._run.log_artifact, self._id, folder)

    def finish(self) -> None:
        self._run.finish()

    def _use(self, parents: Sequence[Parent]) -> None:
        """Name the runs that this one was made from as inputs: the model of a training run, else the run's folder."""
        for parent in parents:
            path = Path(parent.path)
            model = path / MODEL
            self._artifact("an input", self._run.use_artifact, parent.id, model if model.is_dir() else path)

    def _artifact(self, what: str, send: Callable[[Any], object], name: str, folder: Path) -> None:
        """Send an artifact. A refusal is a warning only, because the run's own files hold the same lineage."""
        import wandb

        try:
            artifact = wandb.Artifact(name, type="model" if folder.name == MODEL else "dataset")
            artifact.add_reference(folder.resolve().as_uri(), checksum=False)
            send(artifact)
        except (wandb.errors.Error, ValueError, OSError) as error:
            log.warning("tracking: W&B did not take %s as an artifact (%s): %s", what, name, first_line(error))


def tracking_problem(tracking: Tracking) -> str | None:
    """Why an online run cannot start, as far as that can be known without the network; None if nothing is found."""
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
