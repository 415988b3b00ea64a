"""DeepSpeed ZeRO through Lightning, on GPUs and, for tests and experiments, in CPU processes."""

import argparse
import contextlib
import io
import logging
import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.strategies import DeepSpeedStrategy
from torch import nn

from lwexp.config.train import Optimizer as OptimizerConfig
from lwexp.config.train import Zero
from lwexp.train.model.adapter import trained_parameters
from lwexp.train.parallel.hashed_files import HashedFiles
from lwexp.train.parallel.optimizer import decay_groups

log = logging.getLogger(__name__)


class ZeroStrategy(DeepSpeedStrategy):  # type: ignore[misc]
    """Lightning's strategy with lwexp's config, for processes that torchrun, srun or ``runs.launch`` has started."""

    def __init__(self, hardware: Zero, grad_clip: float) -> None:
        timeout = timedelta(minutes=hardware.timeout_minutes)
        super().__init__(
            config=zero_config(hardware, grad_clip), cluster_environment=TorchElasticEnvironment(), timeout=timeout
        )

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        """Save as Lightning does, but each rank hashes its files while it writes them."""
        self.deepspeed_engine.checkpoint_engine = _hashed_engine(self.checkpoint_io)
        # DeepSpeed would also copy its own conversion script, and a full disk would then stop rank 0 alone.
        self.deepspeed_engine._copy_recovery_script = lambda _: None
        super().save_checkpoint(checkpoint, filepath, storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Load as Lightning does. A checkpoint of another number of ranks goes through DeepSpeed's universal format.

        DeepSpeed reads its files with pickle, whatever ``weights_only`` says, so load only checkpoints that you wrote.
        """
        source = Path(checkpoint_path)
        saved = len(list((source / "checkpoint").glob("*_optim_states.pt")))
        if saved == self.world_size:
            state: dict[str, Any] = super().load_checkpoint(checkpoint_path, weights_only)
            return state
        log.info("the checkpoint was written by %d ranks, this run has %d: converting it", saved, self.world_size)
        return self._load_universal(source)

    def _load_universal(self, source: Path) -> dict[str, Any]:
        engine: Any = self.deepspeed_engine
        root = source.parent.parent / "universal"
        if self.is_global_zero:
            convert_to_universal(source / "checkpoint", root / "checkpoint")
        self.barrier()
        # DeepSpeed gives every group the settings of the first one, so biases and norms would decay too.
        groups = engine.optimizer.optimizer.param_groups
        settings = [{key: value for key, value in group.items() if key != "params"} for group in groups]
        engine._config.load_universal_checkpoint = True
        _, state = engine.load_checkpoint(str(root), tag="checkpoint", load_lr_scheduler_states=False)
        engine._config.load_universal_checkpoint = False
        for group, before in zip(groups, settings, strict=True):
            group.update(before)
        # It also makes all groups share one tensor that counts steps, which would then advance once per group.
        for held in engine.optimizer.optimizer.state.values():
            if isinstance(held.get("step"), torch.Tensor):
                held["step"] = held["step"].clone()
        self.barrier()
        if self.is_global_zero:
            shutil.rmtree(root)
        loaded: dict[str, Any] = state
        return loaded


def _hashed_engine(files: HashedFiles) -> Any:
    """DeepSpeed's checkpoint engine, which writes through ``files``."""
    from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine

    class HashedEngine(TorchCheckpointEngine):  # type: ignore[misc]
        def save(self, state_dict: Any, path: str) -> None:
            files.save_shard(state_dict, Path(path))

    return HashedEngine()


class CPUZeroStrategy(ZeroStrategy):
    """``ZeroStrategy`` on CPUs, over gloo. Lightning's strategy accepts only CUDA; DeepSpeed also accepts CPUs."""

    def __init__(self, hardware: Zero, grad_clip: float) -> None:
        os.environ["DS_ACCELERATOR"] = "cpu"  # set before deepspeed is imported, which reads it only once
        super().__init__(hardware, grad_clip)
        self._process_group_backend = "gloo"
        import deepspeed

        # DeepSpeed would compile an inference operator at the start. That needs g++ and ninja and takes a minute, and
        # a kill during compilation leaves a lock on which every later start waits forever. Training does not use the
        # operator.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

    @property
    def root_device(self) -> torch.device:
        # DeepSpeed needs a device index, which Lightning's CPU device does not have.
        return torch.device("cpu", 0)

    def setup_environment(self) -> None:
        self.accelerator.setup_device(torch.device("cpu"))
        self.setup_distributed()

    def setup_distributed(self) -> None:
        self.set_world_ranks()
        self._init_deepspeed_distributed()


@contextlib.contextmanager
def sharded_loading(hardware: Zero) -> Iterator[None]:
    """Inside this context, under ZeRO-3, transformers shards each weight as it is created or loaded.

    Only rank 0 reads the files.

    Without it, transformers would initialise weights that DeepSpeed has already sharded, and would fail on tensors of
    size 0 or, worse, leave them uninitialised.
    """
    if hardware.stage != 3:
        yield
        return
    from transformers.integrations import HfDeepSpeedConfig
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    alive = HfDeepSpeedConfig(zero_config(hardware, grad_clip=1.0))
    try:
        yield
    finally:
        del alive
        unset_hf_deepspeed_config()


def zero_optimizer(model: nn.Module, config: OptimizerConfig, hardware: Zero) -> torch.optim.Optimizer:
    """AdamW for DeepSpeed to shard. DeepSpeed itself keeps the float32 masters, on the host if they are offloaded."""
    groups = decay_groups(trained_parameters(model), config.weight_decay)
    if hardware.offload_optimizer:
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        offloaded: torch.optim.Optimizer = DeepSpeedCPUAdam(groups, lr=config.lr, betas=config.betas, adamw_mode=True)
        return offloaded
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def convert_to_universal(source: Path, target: Path) -> None:
    """Convert DeepSpeed's shards, one set per rank, to one file per tensor, which any number of ranks can load."""
    from deepspeed.checkpoint.ds_to_universal import main

    shutil.rmtree(target.parent, ignore_errors=True)
    target.parent.mkdir(parents=True)
    settings = argparse.Namespace(
        input_folder=str(source), output_folder=str(target), num_extract_workers=1, num_merge_workers=1,
        keep_temp_folder=False, strict=True, inject_missing_state=True,
    )  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(settings)


def zero_config(hardware: Zero, grad_clip: float) -> dict[str, Any]:
    """DeepSpeed's config. Sizes are integers, because its "auto" gives fractions, which DeepSpeed then refuses."""
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
            # The paper's code sets 1e8 for the first, so it gathers every layer again from the host: a layer has 2.2e8.
            "stage3_max_live_parameters": 1_000_000_000,
            "stage3_max_reuse_distance": 1_000_000_000,
            "stage3_gather_16bit_weights_on_model_save": True,
            # Unlike transformers, DeepSpeed's own linear layer rounds a product to bf16 before it adds the bias. It
            # saves memory only without recomputation, where autograd would keep every gathered weight.
            "memory_efficient_linear": not hardware.activation_checkpointing,
        }
    if hardware.offload_optimizer:
        # All of it: with "ratio" below 1 DeepSpeed updates the rest with a second optimiser, which keeps its first
        # learning rate and is not saved (docs/decisions/028-one-gpu.md).
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": hardware.pin_memory}
    if hardware.offload_parameters:
        zero["offload_param"] = {"device": "cpu", "pin_memory": hardware.pin_memory}
    config: dict[str, Any] = {
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_clipping": grad_clip,
    }
    if hardware.precision == "bf16-true":
        # Without this check, a gradient that is not finite would reach the weights before its norm is read.
        config["bf16"] = {"enabled": True, "check_grad_overflow": True}
        # The gradients of the packs that one rank runs in a step are added up in float32. They are summed over ranks
        # in bf16, DeepSpeed's default: each rank's gradient is rounded to bf16 first. Float32 would send twice the
        # bytes.
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    return config
