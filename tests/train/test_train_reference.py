"""Stored reference log-probs: the same curve as with a live reference model, and refused when anything has changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lwexp.pack.build import build_packs
from lwexp.pack.dataset import PackedDataset
from lwexp.pack.rows import PairRows
from lwexp.pack.tokenizer import save_tokenizer, train_tokenizer
from lwexp.records import LwexpError
from lwexp.runs.summaries import read_metrics
from lwexp.train.loop.stopping import StopRequest
from lwexp.train.loop.training_setup import RunContext, TrainingSetup, prepare_tokenizer
from lwexp.train.objectives.reference import load_reference
from lwexp.train.parallel.rank_sync import SingleProcess
from lwexp.train.planner.hardware import settle_hardware
from tests.train.tiny_packs import tiny_config, tiny_conversations, tiny_pairs, train_in

OPTIONS = ("objective=dpo", "objective.max_steps=6", "objective.optimizer.lr=0.002", "objective.beta=0.3")


def losses(run: Path) -> list[float]:
    return [row["preference_loss"] for row in read_metrics(run / "metrics.jsonl")]


class Live:
    """A reference model that is asked anew in every step: plain transformers, one document at a time."""

    def __init__(self, folder: Path, dataset: PackedDataset, scale: float = 1.0) -> None:
        from transformers import AutoModelForCausalLM

        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.model.lm_head.weight.data.mul_(scale)
        self.targets: dict[int, Any] = {}
        for number in range(dataset.num_packs):
            pack = dataset[number]
            for row, document in enumerate(pack.document_ids):
                start, end = pack.cu_seqlens[row : row + 2].tolist()
                mine = pack.target_documents == row
                ids, sources = pack.input_ids[:, start:end], pack.source_positions[mine] - start
                self.targets[document] = (ids, sources, pack.target_ids[mine])
        self.asked = 0

    @torch.no_grad()
    def of(self, name: str, documents: Sequence[int]) -> Any:
        found = []
        for document in documents:
            ids, sources, targets = self.targets[document]
            both = min(len(targets), len(self.targets[document ^ 1][2]))
            logprobs = torch.log_softmax(self.model(ids).logits[0].double(), dim=-1)[sources, targets]
            found.append(float(logprobs.sum() if name == "logprobs" else logprobs[both:].sum()))
            self.asked += 1
        return np.array(found)


@pytest.mark.parametrize("ld_alpha", [1.0, 0.4])
def test_the_stored_reference_gives_the_curve_of_a_live_model(
    ld_alpha: float, sft_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, options = sft_run.path / "model", (*OPTIONS, f"objective.ld_alpha={ld_alpha}")
    inputs = {"rows": tiny_pairs(), "start_from": start}
    stored = losses(train_in(tiny_config(tmp_path / "stored", *options), **inputs).path)
    dataset = PackedDataset(next((tmp_path / "stored").iterdir()) / "packs")
    live = Live(start, dataset)
    monkeypatch.setattr("lwexp.train.loop.training_setup.load_reference", lambda *_: live)
    found = losses(train_in(tiny_config(tmp_path / "live", *options), **inputs).path)
    assert live.asked > len(stored)
    assert found == pytest.approx(stored, abs=1e-5)
    assert abs(stored[-1] - stored[0]) > 0.05  # it has moved

    other = Live(start, dataset, scale=0.9)  # negative control: the reference decides the curve
    monkeypatch.setattr("lwexp.train.loop.training_setup.load_reference", lambda *_: other)
    assert losses(train_in(tiny_config(tmp_path / "other", *options), **inputs).path) != pytest.approx(stored, abs=1e-2)


def stored_in(root: Path, start: Path, pairs: Any, *overrides: str, done: int = 0) -> Any:
    """The reference that a DPO run in ``root`` finds; None if it would compute it."""
    config = settle_hardware(tiny_config(root, *OPTIONS, *overrides))
    tokenizer = prepare_tokenizer(config, root, (), start)
    build_packs(pairs, PairRows(), tokenizer, config.pack, root / "packs")
    run: Any = SimpleNamespace(path=root)
    context = RunContext(SingleProcess(), None, StopRequest())
    return (
        TrainingSetup(config, run, PackedDataset(root / "packs"), tokenizer, start, 0, context).known(done)[0].reference
    )


def one_bit_of_the_weights(start: Path) -> None:
    whole = bytearray((start / "model.safetensors").read_bytes())
    whole[-1] ^= 1
    (start / "model.safetensors").write_bytes(whole)


def the_config(start: Path) -> None:
    config = json.loads((start / "config.json").read_text())
    config["rms_norm_eps"] *= 10
    (start / "config.json").write_text(json.dumps(config))


def retokenized(chat: str, vocabulary: int) -> Callable[[Path], None]:
    def change(start: Path) -> None:
        texts = [message.content for row in tiny_conversations() for message in row.messages]
        save_tokenizer(train_tokenizer(texts, vocabulary, chat), start)

    return change


def unchanged(_: Path) -> None: ...


def another_letter(pairs: Any) -> Any:
    return [pairs[0].model_copy(update={"rejected": pairs[0].rejected + "x"}), *pairs[1:]]


@pytest.mark.parametrize(
    ("change_start", "change_pairs", "overrides", "named"),
    [
        (one_bit_of_the_weights, list, (), "model"),
        (the_config, list, (), "model"),
        (retokenized("glm4", 275), list, (), "model, packs"),
        (retokenized("llama31", 400), list, ("model.chat=llama31",), "model, packs"),
        (unchanged, another_letter, (), "packs"),
        (unchanged, lambda pairs: pairs[::-1], (), "packs"),
        (unchanged, list, ("pack.max_tokens=300",), "packs"),
        (unchanged, list, ("hardware=cpu_zero3", "hardware.precision=bf16-true"), "format"),
        (unchanged, list, (), None),
        (unchanged, list, ("seed=1", "objective.loss=ipo", "pack.order=random", "objective.epochs=3"), None),
    ],
    ids=["weight bit", "config", "tokenizer", "chat format", "text", "order", "max_tokens", "precision",
         "nothing", "nothing that shapes it"],
)  # fmt: skip
def test_whatever_shapes_the_reference_is_noticed(
    change_start: Callable[[Path], None], change_pairs: Callable[[Any], Any], overrides: tuple[str, ...],
    named: str | None, sft_run: Any, tmp_path: Path,
) -> None:  # fmt: skip
    start = tmp_path / "start"
    shutil.copytree(sft_run.path / "model", start)
    options = (*OPTIONS, "objective.max_steps=1")
    before = train_in(tiny_config(tmp_path / "before", *options), rows=tiny_pairs(), start_from=start).path
    known = load_reference(before / "reference")
    assert known is not None
    (start / "checksums.json").unlink()  # they would notice the change before the reference does
    change_start(start)
    (tmp_path / "after").mkdir()
    shutil.copytree(before / "reference", tmp_path / "after" / "reference")
    pairs = change_pairs(tiny_pairs())
    if named is None:
        found = stored_in(tmp_path / "after", start, pairs, *overrides)
        np.testing.assert_array_equal(found.sums["logprobs"], known.sums["logprobs"])
        np.testing.assert_array_equal(found.sums["tails"], known.sums["tails"])
        return
    with pytest.raises(LwexpError, match=rf"reference log-probs were made from another {named};"):
        stored_in(tmp_path / "after", start, pairs, *overrides)


def test_a_reference_that_is_lost_is_not_made_from_a_model_that_has_moved(sft_run: Any, tmp_path: Path) -> None:
    start = sft_run.path / "model"
    assert stored_in(tmp_path, start, tiny_pairs()) is None  # before the first step it will be computed
    with pytest.raises(LwexpError, match=r"reference is missing: .* the run is at step 3; restore it, or .*rerun=true"):
        stored_in(tmp_path, start, tiny_pairs(), done=3)
