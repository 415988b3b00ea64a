"""Lightning's Trainer for each kind of hardware."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment

from lwexp.config.train import Hardware, Zero
from lwexp.train.parallel.hashed_files import HashedFiles


def set_up_process(hardware: Hardware) -> None:
    """Set the number of torch's threads: the config's, or else this rank's share of the cores."""
    if hardware.device == "cpu":
        # transformers imports DeepSpeed if it is installed, and DeepSpeed would look for accelerators and warn.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    torch.set_num_threads(hardware.threads or max(1, len(os.sched_getaffinity(0)) // hardware.devices))


def build_trainer(hardware: Hardware, callbacks: Sequence[Callback], grad_clip: float, folder: Path) -> Trainer:
    """A Trainer that only trains, for one Lightning epoch, without Lightning's validation, logger or checkpoints."""
    options: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "plugins": [LightningEnvironment(), HashedFiles()]}
    if hardware.kind == "gpu":
        options["accelerator"] = "gpu"
    elif isinstance(hardware, Zero):
        from lwexp.train.parallel.strategy import CPUZeroStrategy, ZeroStrategy

        strategy = CPUZeroStrategy if hardware.accelerator == "cpu" else ZeroStrategy
        options = {
            "accelerator": hardware.accelerator,
            "devices": hardware.devices,
            "num_nodes": hardware.num_nodes,
            "strategy": strategy(hardware, grad_clip),
            "plugins": [HashedFiles()],
        }
    trainer = Trainer(
        **options,
        # Outside ZeRO the model is already built in its final precision. Lightning's bf16-true would also round the
        # rotary frequencies.
        precision=hardware.precision if isinstance(hardware, Zero) else "32-true",
        max_epochs=1,
        callbacks=list(callbacks),
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
    )
    # ``StopRequest`` handles signals. Lightning's handler would start a broadcast while another collective may run.
    trainer._signal_connector.register_signal_handlers = lambda: None
    return trainer


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hide Lightning's notices about loaders and devices and its tips, which do not apply to its use here."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for text in (
                ".*does not have many workers.*",
                ".*dataloader is not resumable.*",
                ".*`srun` command is available.*",  # lwexp starts the ranks itself where srun has not
                ".*LeafSpec.*",
                ".*torch.distributed.*is deprecated.*",
            ):
                warnings.filterwarnings("ignore", message=text)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
