"""Lightning's Trainer for each kind of hardware."""

from __future__ import annotations

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

from lwexp.config.train import Hardware, Zero3


def set_threads(hardware: Hardware) -> None:
    """Let torch use the threads asked for, or all cores that this process may run on."""
    asked = hardware.threads if hardware.kind == "cpu" else None
    torch.set_num_threads(asked or len(os.sched_getaffinity(0)))


def build_trainer(hardware: Hardware, callbacks: Sequence[Callback], grad_clip: float, folder: Path) -> Trainer:
    """A Trainer that only trains: one pass, no validation, no logger, no checkpoints of its own."""
    options: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "plugins": [LightningEnvironment()]}
    if hardware.kind == "gpu":
        options["accelerator"] = "gpu"
    elif isinstance(hardware, Zero3):
        options = {
            "accelerator": "gpu",
            "devices": hardware.devices,
            "num_nodes": hardware.num_nodes,
            "strategy": zero3_strategy(hardware, grad_clip),
        }
    return Trainer(
        **options,
        # Precision is ours: Lightning's bf16-true would also round the rotary frequencies, and DeepSpeed's is in
        # its own config.
        precision=hardware.precision if isinstance(hardware, Zero3) else "32-true",
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


def zero3_strategy(hardware: Zero3, grad_clip: float) -> Any:
    """Lightning's DeepSpeedStrategy with our config."""
    from lightning.pytorch.strategies import DeepSpeedStrategy

    return DeepSpeedStrategy(config=zero3_config(hardware, grad_clip))


def zero3_config(hardware: Zero3, grad_clip: float) -> dict[str, Any]:
    """DeepSpeed's config for ZeRO stage 3. Sizes are integers: DeepSpeed refuses the fractions of its own "auto"."""
    zero: dict[str, Any] = {
        "stage": 3,
        "contiguous_gradients": True,
        "overlap_comm": True,
        "reduce_bucket_size": 200_000_000,
        "stage3_prefetch_bucket_size": 100_000_000,
        "stage3_param_persistence_threshold": 100_000,
        # The original holds 1e8 and gathers every layer anew from the host; a layer here has 2.2e8.
        "stage3_max_live_parameters": 1_000_000_000,
        "stage3_max_reuse_distance": 1_000_000_000,
        "stage3_gather_16bit_weights_on_model_save": True,
    }
    if hardware.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if hardware.offload_parameters:
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return {
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_clipping": grad_clip,
        # Without the check a gradient that is not finite would go into the weights before we see its norm.
        "bf16": {"enabled": True, "check_grad_overflow": True},
        # Packs of a step are added up in float32; bf16 sums would lose the small ones.
        "data_types": {"grad_accum_dtype": "fp32"},
    }


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning's notices about loaders, devices and tips do not apply to how we use it."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for text in (".*does not have many workers.*", ".*dataloader is not resumable.*", ".*LeafSpec.*"):
                warnings.filterwarnings("ignore", message=text)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
