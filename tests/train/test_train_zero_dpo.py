"""DPO on two ranks starts exactly at its reference, which the ranks have computed together in the model that trains.

Each rank computes the share of its own packs once, and a resumed run computes none.
"""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lwexp.pack.dataset import PackedDataset
from lwexp.pack.tokenizer import load_tokenizer
from lwexp.runs.summaries import read_metrics
from lwexp.train.objectives.reference import join_sums, load_reference, reference_sums
from tests.train.tiny_packs import dpo_config, save_start_model, tiny_model_config
from tests.train.zero_ranks import Ranks

pytestmark = pytest.mark.slow

OPTIONS = (
    "objective=dpo", "objective.global_batch=2", "objective.max_steps=2", "objective.optimizer.lr=0.01",
    "objective.optimizer.warmup_ratio=0.9", "objective.beta=0.5", "pack.max_tokens=160", "hardware=cpu_zero3",
    "model=tiny_glm",
)  # fmt: skip


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    server = Ranks()
    yield server
    server.close()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    save_start_model(folder, "glm")
    return folder


def reference_work(root: Path) -> list[dict[str, Any]]:
    """What each rank ran through the model before its first step."""
    return [json.loads(root.with_suffix(f".reference-{rank}.json").read_text()) for rank in (0, 1)]


def plain_reference(start: Path, packs: PackedDataset, dtype: torch.dtype) -> Any:
    """Of the start model without DeepSpeed."""
    from lwexp.train.model.build import build_model
    from lwexp.train.model.logprobs import pack_logprobs

    model = build_model(tiny_model_config("glm"), load_tokenizer(start), seed=0, dtype=dtype, weights=start)
    whole = [packs[number] for number in range(packs.num_packs)]
    with torch.no_grad():
        sums = reference_sums(whole, lambda pack: pack_logprobs(model, pack), dpo_config(), packs.num_documents)
    return join_sums([sums]).sums["logprobs"]


@pytest.mark.parametrize(
    ("stage", "precision", "passes", "recompute"),
    [
        (3, "bf16-true", "one", True), (3, "bf16-true", "one", False), (3, "bf16-true", "two", True),
        (3, "32-true", "one", True), (2, "bf16-true", "one", True), (2, "32-true", "two", True),
    ],
)  # fmt: skip
def test_the_first_step_is_at_its_reference(
    stage: int, precision: str, passes: str, recompute: bool, ranks: Ranks, start: Path, tmp_path: Path
) -> None:
    """Loss ln 2 and no distance. 8 pairs in 4 packs on 2 ranks: each pack goes through the start model once."""
    options = (
        *OPTIONS, f"hardware.stage={stage}", f"hardware.precision={precision}", f"objective.backward_passes={passes}",
        f"hardware.activation_checkpointing={str(recompute).lower()}",
    )  # fmt: skip
    root = tmp_path / "runs"
    assert ranks.train(root, *options, world=2, start_from=start) == [0, 0]
    (run,) = root.iterdir()
    first, second = read_metrics(run / "metrics.jsonl")
    assert first["preference_loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert first["kl"] == pytest.approx(0, abs=1e-6)
    assert abs(second["kl"]) > 1e-3  # it has moved
    assert (run / "model" / "config.json").is_file()
    assert [counted["packs"] for counted in reference_work(root)] == [[0, 2], [1, 3]]
    # Packs of 3, 3, 2 and 1 parts; ranks take turns, so both run as many parts as the longer of their two packs has.
    assert [counted["forwards"] for counted in reference_work(root)] == ([5, 5] if passes == "two" else [2, 2])
    for rank in (0, 1):  # two parameter groups, each of DeepSpeed's optimiser and of the AdamW that it drives
        rates = json.loads(root.with_suffix(f".rates-{rank}.json").read_text())
        assert rates == [pytest.approx([0.005] * 4), pytest.approx([0.01] * 4)]

    stored = load_reference(run / "reference")
    assert stored is not None
    dtype = torch.bfloat16 if precision == "bf16-true" else torch.float32
    off = np.abs(stored.sums["logprobs"] - plain_reference(start, PackedDataset(run / "packs"), dtype)).max()
    if stage == 3 and precision == "bf16-true" and not recompute:
        assert off > 1e-3  # DeepSpeed's own linear: a reference of a plain copy would not be where training starts
    elif passes == "one":
        assert off < 1e-4


def test_a_resumed_run_computes_no_reference(ranks: Ranks, start: Path, tmp_path: Path) -> None:
    """Stopped after step 1 of 8; the second start finds the reference on disk."""
    options = (*OPTIONS, "objective.max_steps=8", "hardware.stage=2")
    root = tmp_path / "runs"
    told = {"rank": 1, "step": 1, "signal": int(signal.SIGTERM)}
    assert ranks.train(root, *options, world=2, start_from=start, kill=told) == [143, 143]
    assert [counted["packs"] for counted in reference_work(root)] == [[0, 2], [1, 3]]
    assert ranks.train(root, *options, world=2, start_from=start) == [0, 0]
    assert reference_work(root) == [{"packs": [], "forwards": 0}] * 2


def test_the_count_sees_ranks_that_compute_all_of_it(ranks: Ranks, start: Path, tmp_path: Path) -> None:
    """Negative control for the counts above."""
    root = tmp_path / "runs"
    options = (*OPTIONS, "objective.max_steps=1")
    assert ranks.train(root, *options, world=2, start_from=start, whole_reference=True) == [0, 0]
    assert reference_work(root) == [{"packs": [0, 1, 2, 3], "forwards": 4}] * 2


def test_dpo_in_two_passes_on_two_ranks_gives_the_curve_of_one_pass_in_one_process(
    ranks: Ranks, start: Path, tmp_path: Path
) -> None:
    """8 pairs in 4 packs of 3, 3, 2 and 1 parts; a step holds 3 packs, so ranks differ in parts and in packs.

    The ranks have computed the reference together, in parts.
    """
    options = (
        "model=tiny_glm", "objective=dpo", "objective.epochs=3", "objective.global_batch=3", "objective.nll_weight=0.2",
        "objective.optimizer.lr=0.01", "objective.beta=0.5", "pack.max_tokens=160",
    )  # fmt: skip
    two = (*options, "objective.backward_passes=two", "hardware=cpu_zero3")
    assert ranks.train(tmp_path / "two", *two, world=2, start_from=start) == [0, 0]
    assert "DPO in two passes, 80 tokens at a time" in (next((tmp_path / "two").iterdir()) / "log.txt").read_text()
    assert ranks.train(tmp_path / "one", *options, "objective.backward_passes=one", world=0, start_from=start) == [0]

    one, both = (read_metrics(next((tmp_path / name).iterdir()) / "metrics.jsonl") for name in ("one", "two"))
    assert [row["step"] for row in both] == [1, 2, 3, 4]
    for name in ("loss", "preference_loss", "margin", "chosen_logp", "kl", "grad_norm"):
        assert [row[name] for row in both] == pytest.approx([row[name] for row in one], abs=2e-5, rel=2e-5), name
    assert one[0]["preference_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert abs(one[-1]["margin"]) > 0.01  # it has moved
    alone, shared = (
        np.load(next((tmp_path / name).iterdir()) / "reference" / "logprobs.npy") for name in ("one", "two")
    )
    np.testing.assert_allclose(shared, alone, rtol=1e-6)
