"""Tracking with Weights & Biases. Training imports ``wandb`` only in this module."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lwexp.config.schema import Config
from lwexp.config.train import WandbTracking
from lwexp.records import LwexpError, Preempted
from lwexp.runs import Run
from lwexp.runs.artifacts import MODEL
from lwexp.runs.trial_process import sweep_of_this_process
from lwexp.text.plain import first_line
from lwexp.train.metrics.tracking import Tracker

log = logging.getLogger(__name__)


class WandbTracker(Tracker):
    """A W&B run with the id of the lwexp run, so that a resumed run continues it.

    The training data, the start model and the exported model are artifacts by reference: W&B records where the files
    are and how they depend on each other, but no file is uploaded.
    """

    def __init__(self, tracking: WandbTracking, config: Config, run: Run) -> None:
        if tracking.mode == "offline":
            # W&B's own telemetry, which otherwise connects to its servers before it has read the mode above.
            os.environ |= {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false"}
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
                group=sweep_of_this_process(),
                job_type=config.objective.kind,
                dir=str(run.path),
                config=config.model_dump(mode="json"),
                settings=wandb.Settings(silent=True, **_recorded(tracking)),
            )
        except wandb.errors.Error as error:
            raise LwexpError(
                f"tracking: W&B refused the run: {first_line(error)}; "
                f"run wandb login or set WANDB_API_KEY, or choose tracking=wandb_offline"
            ) from None
        if tracking.mode == "online":  # W&B accepts no inputs offline; config and manifest still name them
            self._use_parents(run)

    def log(self, row: Mapping[str, float | None]) -> None:
        # W&B ignores rows of steps that it already has, so a resumed run adds no duplicates.
        values = {key: value for key, value in row.items() if key != "step" and value is not None}
        self._run.log(values, step=int(row["step"] or 0))

    def keep_model(self, folder: Path) -> None:
        self._artifact("the model", self._run.log_artifact, self._id, folder)

    def finish(self, error: BaseException | None = None) -> None:
        if isinstance(error, Preempted):
            self._run.mark_preempting()  # W&B then shows "preempted" instead of "failed"
        self._run.finish(exit_code=_exit_code(error))

    def _use_parents(self, run: Run) -> None:
        """Register the parent runs as inputs: the model folder of a training run, else the run's whole folder."""
        for parent in run.manifest.parents:
            path = run.place_of(parent)
            model = path / MODEL
            self._artifact("an input", self._run.use_artifact, parent.id, model if model.is_dir() else path)

    def _artifact(self, what: str, send: Callable[[Any], object], name: str, folder: Path) -> None:
        """Send an artifact. If W&B refuses it, only warn, because the run's own files record the same lineage."""
        import wandb

        try:
            artifact = wandb.Artifact(name, type="model" if folder.name == MODEL else "dataset")
            artifact.add_reference(folder.resolve().as_uri(), checksum=False)
            send(artifact)
        except (wandb.errors.Error, ValueError, OSError) as error:
            log.warning("tracking: W&B did not take %s as an artifact (%s): %s", what, name, first_line(error))


def _exit_code(error: BaseException | None) -> int:
    """The code with which the command ends; W&B counts a run with 0 as finished."""
    if error is None:
        return 0
    return {Preempted: 143, KeyboardInterrupt: 130}.get(type(error), 1)


def _recorded(tracking: WandbTracking) -> dict[str, Any]:
    """Settings that limit what W&B records automatically."""
    return {
        "console": "wrap" if tracking.console else "off",
        "disable_git": not tracking.git,
        "git_remote": "",  # only the commit is recorded, because the address of a remote may contain a token
        "x_disable_stats": not tracking.system_metrics,
        # This setting overrides the two above: if it is on, W&B records neither git nor system metrics.
        "x_disable_machine_info": not (tracking.git or tracking.system_metrics),
        "x_disable_meta": True,  # the metadata contain argv, and argv may contain secrets
        "disable_code": True,
        "disable_job_creation": True,
    }
