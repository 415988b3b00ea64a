"""Callbacks that write down what a rank of ``zero_ranks`` did, for the tests to read.

``<root>.gathered-<rank>.json``         what was loaded, compared with the files of the base model
``<root>.gathered-<rank>.safetensors``  the weights after the last step, gathered from all ranks
``<root>.reference-<rank>.json``        packs that went through the model before the first step, and its forwards
``<root>.rates-<rank>.json``            learning rate of each parameter group in each step, read off the engine
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import deepspeed
import torch
from lightning.pytorch import Callback
from safetensors.torch import load_file, save_file


def observers(root: Path, rank: int) -> list[Any]:
    """All of them, for one start of one rank."""
    return [
        GatherWeights(root.with_suffix(f".gathered-{rank}.json")),
        CountReference(root.with_suffix(f".reference-{rank}.json")),
        ReadRates(root.with_suffix(f".rates-{rank}.json")),
    ]


class GatherWeights(Callback):  # type: ignore[misc]
    """Compares what was loaded with the files, before the first step, and keeps what was trained."""

    def __init__(self, report: Path) -> None:
        self._report = report

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        base = trainer.lightning_module.model.config._name_or_path
        if self._report.exists() or not base or trainer.world_size == 1:  # made here and not loaded, or not sharded
            return
        saved = {k: v for file in Path(base).glob("*.safetensors") for k, v in load_file(file).items()}
        found: dict[str, Any] = {"equal": [], "unequal": [], "held": 0, "whole": 0}
        for name, parameter in pl_module.model.named_parameters():
            is_sharded = hasattr(parameter, "ds_tensor")
            found["held"] += parameter.ds_tensor.numel() if is_sharded else parameter.numel()
            found["whole"] += parameter.ds_numel if is_sharded else parameter.numel()
            if ".lora_" in name:
                continue
            with deepspeed.zero.GatheredParameters([parameter], enabled=is_sharded):
                same = torch.equal(parameter.data, saved.pop(name.replace(".base_layer.", ".")))
            found["equal" if same else "unequal"].append(name)
        found["missing"] = sorted(saved)
        self._report.write_text(json.dumps(found))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.world_size == 1:
            return
        trained = {}
        for name, parameter in pl_module.model.named_parameters():
            with deepspeed.zero.GatheredParameters([parameter], enabled=hasattr(parameter, "ds_tensor")):
                trained[name] = parameter.data.clone()
        save_file(trained, self._report.with_suffix(".safetensors"))


class CountReference(Callback):  # type: ignore[misc]
    """Counts what goes through the model before the first step, at two places: packs that the module is given, and
    forwards of the first layer, which no way into the model gets around."""

    def __init__(self, report: Path) -> None:
        self._report = report
        self._packs: list[int] = []
        self._forwards = 0
        self._hook: Any = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        run_pack = pl_module.predict_step

        def counted(pack: Any) -> Any:
            self._packs.append(pack.pack_id)
            return run_pack(pack)

        def count(*_: Any) -> None:
            self._forwards += 1

        pl_module.predict_step = counted
        self._hook = pl_module.model.model.layers[0].register_forward_pre_hook(count)

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
            self._report.write_text(json.dumps({"packs": self._packs, "forwards": self._forwards}))


class ReadRates(Callback):  # type: ignore[misc]
    """Reads the learning rates after each step, at DeepSpeed's optimiser and at the one that it drives."""

    def __init__(self, report: Path) -> None:
        self._report = report
        self._rates: list[list[float]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        engine = trainer.model
        held = [engine.optimizer, engine.optimizer.optimizer] if hasattr(engine, "optimizer") else trainer.optimizers
        self._rates.append([group["lr"] for optimizer in held for group in optimizer.param_groups])
        self._report.write_text(json.dumps(self._rates))
