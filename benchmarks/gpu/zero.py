"""DeepSpeed itself on one rank: train, save, resume, gather and export, compared with a model without DeepSpeed.

The model has GLM-4's widths, two layers, and a vocabulary that makes embedding and head larger than the reduce bucket
(2e8 parameters), as in the whole model. The settings are those of hardware=zero3_8x80g, made by lwexp's own functions,
with NCCL on a GPU, and gloo and float32 on a CPU. Lightning is left out; the stage "command" covers it.
"""

from __future__ import annotations

import os
import random
import socket
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.attention import cut
from benchmarks.gpu.cases import Case, Numbers
from benchmarks.gpu.models import checkpoint_activations, make_model, make_pack, model_config, our_loss
from benchmarks.gpu.place import Place, scratch_folder
from benchmarks.train_step import Tokenizer
from lwexp.config.presets import hardware_preset
from lwexp.pack.dataset import PackBatch
from lwexp.train.export.model_folder import gather_state
from lwexp.train.model.build import build_model, restore_rotary
from lwexp.train.parallel.optimizer import build_optimizer
from lwexp.train.parallel.strategy import sharded_loading, zero_config, zero_optimizer

SHAPE = {"num_hidden_layers": 2, "vocab_size": 51_200}
STEPS, SAVED_AFTER = 3, 2
LEARNING_RATE = 1e-3  # large, so that three steps move bf16 weights by more than their last bit
TAG = "checkpoint"


def cases(place: Place, earlier: Mapping[str, Numbers]) -> list[Case]:
    """The cases, in this order; each needs the ones before it."""
    if not place.is_cuda:
        os.environ["DS_ACCELERATOR"] = "cpu"  # set before deepspeed is imported, which reads it only once
    driven = Driven(place)
    steps = {"one_process": driven.one_process, "train": driven.train, "resume": driven.resume, "export": driven.export}
    return [Case("zero", f"zero/{name}", run) for name, run in steps.items()]


class Loss(nn.Module):
    """A model and its loss in one module, because DeepSpeed calls forward; names are those of the LightningModule."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pack: PackBatch) -> Tensor:
        """Loss of a pack."""
        return our_loss(self.model, pack)


class Driven:
    """State that one case leaves for the next."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.config = model_config(place, "glm4", SHAPE)
        self.settings = self.config.objective.optimizer.model_copy(update={"lr": LEARNING_RATE})
        hardware: Any = hardware_preset("zero3_8x80g" if place.is_cuda else "cpu_zero3")
        self.hardware = hardware.model_copy(update={"devices": 1})
        # In float32 results differ by the order of sums; in bf16 by rounding, which can flip the sign of small
        # gradients.
        self.loss_limit, self.update_limit = (1e-2, 0.3) if place.is_cuda else (1e-4, 1e-2)
        self.losses: dict[str, list[float]] = {}
        self.weights: dict[str, dict[str, Tensor]] = {}
        self.engine: Any = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def folder(self) -> Path:
        """The folder of checkpoints (12 GB each), made at the first use."""
        if self._folder is None:
            self._folder = scratch_folder(40e9)
        return Path(self._folder.name)

    def packs(self) -> list[PackBatch]:
        """The packs, one for each step."""
        tokens, words = (128, 400) if self.place.quick else (8192, SHAPE["vocab_size"])
        return [make_pack(cut(random.Random(n), tokens, 3), words, n).to(self.place.device) for n in range(STEPS)]

    def one_process(self) -> Numbers:
        """Train as hardware=gpu1 does, without DeepSpeed, and keep the start weights for the other cases."""
        model = make_model(self.place, self.config)
        model.save_pretrained(self.folder / "start")
        self.weights["start"] = _on_host(model.state_dict())
        checkpoint_activations(model)
        optimizer = build_optimizer(model, self.settings)
        losses = []
        for pack in self.packs():
            loss = our_loss(model, pack)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), self.settings.grad_clip, foreach=True)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
        self.losses["one_process"] = losses
        self.weights["one_process"] = _on_host(model.state_dict())
        return {"losses": losses}

    def train(self) -> Numbers:
        """Three steps with a checkpoint after two; losses within the limit of those without DeepSpeed."""
        assert self.losses, "needs zero/one_process"
        engine = self._start()
        packs, losses, seconds = self.packs(), [], []
        for number, pack in enumerate(packs, start=1):
            begin = time.perf_counter()
            losses.append(_step(engine, pack))
            seconds.append(time.perf_counter() - begin)
            if number == SAVED_AFTER:
                begin = time.perf_counter()
                engine.save_checkpoint(str(self.folder / "saved"), tag=TAG)
                saving = time.perf_counter() - begin
        self.losses["train"], self.weights["train"] = losses, _gather(engine)
        engine.destroy()  # takes its hooks off the model, which would keep it alive
        gap = max(abs(a / b - 1) for a, b in zip(losses, self.losses["one_process"], strict=True))
        size = sum(file.stat().st_size for file in (self.folder / "saved").rglob("*") if file.is_file())
        return {"losses": losses, "loss_gap": gap, "parity_ok": float(gap < self.loss_limit),
                "last_step_seconds": seconds[-1], "save_seconds": saving, "checkpoint_gib": size / 2**30}  # fmt: skip

    def resume(self) -> Numbers:
        """A new engine resumes from the checkpoint; its third step must have the same loss and weights as before."""
        assert "train" in self.losses, "needs zero/train"
        self.engine = self._start()
        begin = time.perf_counter()
        self.engine.load_checkpoint(str(self.folder / "saved"), tag=TAG)
        loading = time.perf_counter() - begin
        loss = _step(self.engine, self.packs()[-1])
        self.weights["resume"] = _gather(self.engine)
        gap = abs(loss / self.losses["train"][-1] - 1)
        error = update_error(self.weights["resume"], self.weights["train"], self.weights["start"])
        # Both runs use DeepSpeed, so only the order of atomic additions in the backward pass may differ.
        ok = gap < self.loss_limit / 10 and error < self.update_limit / 3
        return {"loss_gap": gap, "update_error": error, "is_bit_equal": error == 0.0, "parity_ok": float(ok),
                "load_seconds": loading}  # fmt: skip

    def export(self) -> Numbers:
        """Gathered weights must be close to those without DeepSpeed; the exported folder must give the same loss."""
        assert "resume" in self.weights, "needs zero/resume"
        state, pack = self.weights["resume"], self.packs()[0]
        with torch.no_grad():
            in_engine = float(self.engine(pack))
        self.engine.module.model.save_pretrained(self.folder / "export", state_dict=state)
        self.engine.destroy()
        self.engine = None
        with torch.no_grad():
            again = make_model(self.place, self.config, weights=self.folder / "export")
            reloaded = float(our_loss(again, pack))
        error = update_error(state, self.weights["one_process"], self.weights["start"])
        gap = abs(reloaded / in_engine - 1)
        assert self._folder is not None
        self._folder.cleanup()
        return {"update_error": error, "reloaded_loss_gap": gap, "num_tensors": len(state),
                "parity_ok": float(error < self.update_limit and gap < self.loss_limit)}  # fmt: skip

    def _start(self) -> Any:
        """A DeepSpeed engine with the start weights, made as lwexp makes it."""
        import deepspeed

        if not self.place.is_cuda:  # DeepSpeed would compile an operator for inference
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        if not torch.distributed.is_initialized():
            _set_rank()
            deepspeed.init_distributed("nccl" if self.place.is_cuda else "gloo", auto_mpi_discovery=False)
        config = zero_config(self.hardware, self.settings.grad_clip)
        # As in Lightning's configure_model: each weight is sharded when it is created, outside any torch.device.
        with deepspeed.zero.Init(config_dict_or_path=config), sharded_loading(self.hardware):
            model = build_model(
                self.config.model, Tokenizer(), seed=0, dtype=self.place.dtype, weights=self.folder / "start"
            )
        if self.hardware.activation_checkpointing:
            checkpoint_activations(model)
        loss = Loss(model)
        optimizer = zero_optimizer(loss, self.settings, self.hardware)
        engine, *_ = deepspeed.initialize(model=loss, optimizer=optimizer, config=config)
        restore_rotary(loss)
        return engine


def update_error(got: Mapping[str, Tensor], wanted: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> float:
    """|(got - start) - (wanted - start)| / |wanted - start| over all weights; 1 if nothing was trained."""
    assert got.keys() == wanted.keys(), sorted(got.keys() ^ wanted.keys())[:3]
    difference = sum(float((got[name].double() - wanted[name].double()).square().sum()) for name in wanted)
    moved = sum(float((wanted[name].double() - start[name].double()).square().sum()) for name in wanted)
    return float((difference / moved) ** 0.5) if moved else float("inf")


def _step(engine: Any, pack: PackBatch) -> float:
    loss = engine(pack)
    engine.backward(loss)
    engine.step()
    return float(loss.detach())


def _gather(engine: Any) -> dict[str, Tensor]:
    """All weights, gathered by the function that the export uses."""
    state = gather_state(SimpleNamespace(model=engine))
    assert state is not None, "DeepSpeed gathered nothing"
    return _on_host(state)


def _on_host(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


def _set_rank() -> None:
    """The environment of one rank on a machine that may have no network."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(rank)
    for name in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo")
