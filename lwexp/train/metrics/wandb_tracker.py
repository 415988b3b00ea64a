"""Weights & Biases; training imports it only here."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lwexp.config.schema import Config
from lwexp.config.train import WandbTracking
from lwexp.records import LwexpError
from lwexp.runs import Run
from lwexp.runs.artifacts import MODEL, Parent
from lwexp.text.plain import first_line
from lwexp.train.metrics.tracking import Tracker

log = logging.getLogger(__name__)


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
                settings=wandb.Settings(silent=True, **_recorded(tracking)),
            )
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


def _recorded(tracking: WandbTracking) -> dict[str, Any]:
    """W&B's settings for what it records on its own."""
    return {
        "console": "wrap" if tracking.console else "off",
        "disable_git": not tracking.git,
        "git_remote": "",  # the commit alone: the address of a remote may hold a token
        "x_disable_stats": not tracking.system_metrics,
        # This switch is above the two before it: set, there are neither git nor system metrics.
        "x_disable_machine_info": not (tracking.git or tracking.system_metrics),
        "x_disable_meta": True,  # it holds argv, and argv may hold anything
        "disable_code": True,
        "disable_job_creation": True,
    }
