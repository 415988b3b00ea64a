"""DeepSpeed ZeRO through Lightning, on GPUs and, for tests and for trying things out, in CPU processes."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.strategies import DeepSpeedStrategy

from lwexp.config.train import Zero


class ZeroStrategy(DeepSpeedStrategy):  # type: ignore[misc]
    """Lightning's strategy with our config, in processes that torchrun, srun or ``runs.launch`` has started."""

    def __init__(self, hardware: Zero, grad_clip: float) -> None:
        timeout = timedelta(minutes=hardware.timeout_minutes)
        super().__init__(
            config=zero_config(hardware, grad_clip), cluster_environment=TorchElasticEnvironment(), timeout=timeout
        )


class CPUZeroStrategy(ZeroStrategy):
    """The same over gloo. Lightning's own refuses every accelerator but CUDA, DeepSpeed does not."""

    def __init__(self, hardware: Zero, grad_clip: float) -> None:
        os.environ["DS_ACCELERATOR"] = "cpu"  # before deepspeed is imported: it looks once
        super().__init__(hardware, grad_clip)
        self._process_group_backend = "gloo"

    @property
    def root_device(self) -> torch.device:
        """DeepSpeed wants an index, which Lightning's CPU device has not."""
        return torch.device("cpu", 0)

    def setup_environment(self) -> None:
        """As in Lightning, less the refusal."""
        self.accelerator.setup_device(torch.device("cpu"))
        self.setup_distributed()

    def setup_distributed(self) -> None:
        """As in Lightning, less the question for CUDA indices."""
        self.set_world_ranks()
        self._init_deepspeed_distributed()


def zero_strategy(hardware: Zero, grad_clip: float) -> ZeroStrategy:
    """The strategy for a ``Zero`` section."""
    return (CPUZeroStrategy if hardware.accelerator == "cpu" else ZeroStrategy)(hardware, grad_clip)


def zero_config(hardware: Zero, grad_clip: float) -> dict[str, Any]:
    """DeepSpeed's config. Sizes are integers: DeepSpeed refuses the fractions of its own "auto"."""
    zero: dict[str, Any] = {
        "stage": hardware.stage,
        "contiguous_gradients": True,
        "overlap_comm": True,
        "reduce_bucket_size": 200_000_000,
    }
    if hardware.stage == 3:
        zero |= {
            "stage3_prefetch_bucket_size": 100_000_000,
            "stage3_param_persistence_threshold": 100_000,
            # The original holds 1e8 and gathers every layer anew from the host; a layer here has 2.2e8.
            "stage3_max_live_parameters": 1_000_000_000,
            "stage3_max_reuse_distance": 1_000_000_000,
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    if hardware.offload_optimizer:
        zero["offload_optimizer"] = {
            "device": "cpu",
            "pin_memory": hardware.pin_memory,
            "ratio": hardware.offload_optimizer,
        }
    if hardware.offload_parameters:
        zero["offload_param"] = {"device": "cpu", "pin_memory": hardware.pin_memory}
    config: dict[str, Any] = {
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_clipping": grad_clip,
    }
    if hardware.precision == "bf16-true":
        # Without the check a gradient that is not finite would go into the weights before we see its norm.
        config["bf16"] = {"enabled": True, "check_grad_overflow": True}
        # Packs of a step are added up in float32; bf16 sums would lose the small ones.
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    return config
