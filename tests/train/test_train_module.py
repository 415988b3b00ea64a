"""The LightningModule under a real Trainer: recomputation and bf16 change nothing that matters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from lwexp.config import compose
from lwexp.config.train import Auto
from lwexp.train.data.steps import StepsModule
from lwexp.train.loop.module import PackedTraining, StepResult
from lwexp.train.loop.nonfinite import NonFinite
from lwexp.train.model.build import build_model
from lwexp.train.parallel.trainer import build_trainer, quiet_lightning
from lwexp.train.planner.hardware import settle_hardware
from tests.train.tiny_packs import NoTokenizer, Packs, make_documents, tiny_model_config

PACKS = Packs([make_documents(seed, [10 + seed, 20, 7]) for seed in range(7)])
PLAN = [[0, 1, 2, 3], [4, 5, 6], [1, 3, 5, 0], [6]] * 3  # short steps in the middle and at the end


class Results(Callback):  # type: ignore[misc]
    def __init__(self) -> None:
        self.results: list[StepResult] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.results.append(pl_module.result)


def train(
    tmp_path: Any, *, dtype: torch.dtype = torch.float32, recompute: bool = False, offload: bool = False
) -> list[StepResult]:
    config = settle_hardware(compose("objective.optimizer.lr=0.003", "objective.optimizer.warmup_ratio=0.25"))
    seen = Results()
    module = PackedTraining(
        lambda: build_model(tiny_model_config("glm"), NoTokenizer(), seed=0, dtype=dtype),
        config.objective, config.objective.optimizer, len(PLAN),
        recompute=recompute, offload=offload, nonfinite=NonFinite(tmp_path / "nonfinite.jsonl", allowed=0),
    )  # fmt: skip
    assert not isinstance(config.hardware, Auto)
    with quiet_lightning():
        build_trainer(config.hardware, [seen], 1.0, tmp_path).fit(
            module,
            datamodule=StepsModule(PACKS, PLAN, len(PLAN)),  # type: ignore[arg-type]
        )
    return seen.results


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[StepResult]:
    return train(tmp_path_factory.mktemp("plain"))


def test_a_lightning_batch_is_an_optimiser_step(plain: list[StepResult]) -> None:
    assert [result.step for result in plain] == list(range(1, 13))
    targets = [sum(int(PACKS.target_counts[i]) for i in step) for step in PLAN]
    assert [result.totals.target_tokens for result in plain] == targets
    assert [result.totals.tokens for result in plain] == [sum(sum(PACKS[i].lengths) for i in step) for step in PLAN]
    # warm-up of 3 steps of 12: 1/3, 2/3, 1
    assert [result.lr for result in plain[:3]] == pytest.approx([0.001, 0.002, 0.003])
    assert plain[-1].loss < plain[0].loss


def test_recomputing_activations_gives_the_same_curve(plain: list[StepResult], tmp_path: Any) -> None:
    for a, b in zip(train(tmp_path, recompute=True), plain, strict=True):
        assert a.loss == pytest.approx(b.loss, abs=1e-5)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-4)


def test_keeping_layer_inputs_on_the_host_gives_the_same_curve(
    plain: list[StepResult], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU there is no pinned memory: the hooks run, the copies stay where they are."""
    from transformers import modeling_utils

    kept: list[int] = []
    real = modeling_utils.save_on_cpu

    def counting(pin_memory: bool, device_type: str) -> Any:
        assert pin_memory
        kept.append(1)
        return real(pin_memory=False, device_type=device_type)

    monkeypatch.setattr(modeling_utils, "save_on_cpu", counting)
    for a, b in zip(train(tmp_path, recompute=True, offload=True), plain, strict=True):
        assert a.loss == pytest.approx(b.loss, abs=1e-5)
    packs = sum(len(step) for step in PLAN)
    assert len(kept) == 2 * packs  # two layers


def test_bf16_weights_with_float32_masters_follow_float32(plain: list[StepResult], tmp_path: Any) -> None:
    """Within 1% of a loss near 5, although a bf16 number has 8 bits."""
    for a, b in zip(train(tmp_path, dtype=torch.bfloat16), plain, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=0.01)
