"""Whole runs: the loss falls, the export equals the trained model, DPO starts from it, nothing is repeated."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from lwexp.pack.chat import chat_of
from lwexp.pack.dataset import PackedDataset
from lwexp.pack.tokenizer import load_tokenizer
from lwexp.records import LwexpError
from lwexp.runs.summaries import read_metrics
from lwexp.train.model.logprobs import pack_logprobs
from tests.train.tiny_packs import tiny_config, tiny_conversations, tiny_pairs, train_in


def metrics(run: Any) -> list[dict[str, float]]:
    return read_metrics(run.path / "metrics.jsonl")


def test_sft_lowers_the_loss_and_reports_what_it_did(sft_run: Any) -> None:
    rows = metrics(sft_run)
    results = sft_run.manifest.results
    assert rows[0]["loss"] == pytest.approx(math.log(400), abs=0.5)  # random weights: about uniform over 400
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert [row["step"] for row in rows] == list(range(1, results["steps"] + 1))
    dataset = PackedDataset(sft_run.path / "packs")
    assert results["target_tokens"] == 60 * int(dataset.target_counts.sum())
    assert results["final_loss"] == rows[-1]["loss"]
    assert results["max_train_words"] == 40
    assert set(rows[0]) == {
        "step", "loss", "lr", "grad_norm", "target_tokens", "tokens_per_second", "target_tokens_per_second", "seconds",
            "model_tflops", "mfu_packed", "mfu_noncausal", "peak_memory_gib", "weight", "long_weight",
    }  # fmt: skip


def test_the_export_gives_the_trained_models_logits_in_plain_transformers(sft_run: Any) -> None:
    """Loaded by AutoModelForCausalLM with its own attention, document by document: loss of the packs as trained."""
    from transformers import AutoModelForCausalLM

    folder = Path(sft_run.manifest.results["model"])
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert type(model).__name__ == "GlmForCausalLM"
    assert type(model.lm_head) is torch.nn.Linear
    tokenizer = load_tokenizer(folder, None, None)
    assert chat_of(tokenizer).kind == "glm4"
    stops = [tokenizer.convert_tokens_to_ids(t) for t in ("<|endoftext|>", "<|user|>", "<|observation|>")]
    assert model.generation_config.eos_token_id == stops
    assert model.generation_config.max_new_tokens is None
    packed = reload_packed(folder, tokenizer)
    pack = PackedDataset(sft_run.path / "packs")[0]
    with torch.no_grad():
        ours = pack_logprobs(packed, pack)
        starts = pack.cu_seqlens.tolist()
        logits = torch.cat([model(pack.input_ids[:, a:b]).logits[0] for a, b in pairwise(starts)])
    theirs = torch.log_softmax(logits, dim=-1)[pack.source_positions, pack.target_ids]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert float(-ours.mean()) < 0.5 * math.log(400)


def reload_packed(folder: Path, tokenizer: Any) -> Any:
    from lwexp.train.model.build import build_model

    return build_model(tiny_config("unused").model, tokenizer, seed=0, dtype=torch.float32, weights=folder)


def test_the_card_names_run_data_and_settings(sft_run: Any) -> None:
    card = (sft_run.path / "model" / "README.md").read_text()
    assert card.startswith("---\n")
    assert "\nlibrary_name: transformers\n" in card
    for needed in (sft_run.id, "mean per token", "| longest answer trained on | 40 words |", "chat format | glm4"):
        assert needed in card, needed


def test_running_again_does_nothing(sft_run: Any) -> None:
    config = tiny_config(sft_run.path.parent, "objective.optimizer.lr=0.02", "objective.epochs=60")
    before = (sft_run.path / "manifest.json").read_bytes()
    again = train_in(config, rows=tiny_conversations())
    assert again.path == sft_run.path
    assert (sft_run.path / "manifest.json").read_bytes() == before
    assert not (sft_run.path / "checkpoints").exists()


def test_a_kill_between_export_and_finish_costs_no_training(sft_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lwexp.runs import RunDirectory
    from lwexp.train.loop import run as train_module
    from lwexp.train.loop.run import train_run

    def no_fit(job: Any) -> Any:
        raise AssertionError("trained again")

    monkeypatch.setattr(train_module, "_fit", no_fit)
    config = tiny_config(sft_run.path.parent, "objective.optimizer.lr=0.02", "objective.epochs=60")
    results = train_run(config, RunDirectory.load(sft_run.path), rows=tiny_conversations())
    assert results is not None
    assert results.model_dump(mode="json") == sft_run.manifest.results


def test_inspect_batch_prints_packs_and_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train_in(tiny_config(tmp_path, "inspect_batch=1"), rows=tiny_conversations(4))
    shown = capsys.readouterr().out
    assert "=== pack " in shown
    assert "% of the step" in shown
    assert not (run.path / "model").exists()


@pytest.fixture(scope="module")
def dpo_run(sft_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    config = tiny_config(
        tmp_path_factory.mktemp("dpo"), "objective=dpo", "objective.optimizer.lr=0.002", "objective.nll_weight=0.1",
        "objective.epochs=10", "objective.optimizer.warmup_ratio=0.0",
    )  # fmt: skip
    return train_in(config, rows=tiny_pairs(), start_from=Path(sft_run.manifest.results["model"]))


def test_dpo_starts_at_ln_2_and_learns_the_preference(dpo_run: Any) -> None:
    rows = metrics(dpo_run)
    first, last = rows[0], rows[-1]
    assert first["loss"] - 0.1 * first["nll"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["preference_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["margin"] == pytest.approx(0, abs=1e-5)
    assert last["loss"] < first["loss"]
    assert last["accuracy"] == 1.0
    assert last["margin"] > 0.1
    assert {"chosen_logp", "rejected_logp"} <= set(last)


def test_dpo_exports_a_model_with_the_tokenizer_it_started_from(dpo_run: Any, sft_run: Any) -> None:
    mine, start = (run.path / "model" / "tokenizer.json" for run in (dpo_run, sft_run))
    assert mine.read_bytes() == start.read_bytes()
    assert (dpo_run.path / "model" / "model.safetensors").is_file()


def test_a_reference_of_another_model_is_refused(dpo_run: Any, sft_run: Any) -> None:
    from lwexp.train.objectives.reference import load_reference

    made = json.loads((dpo_run.path / "reference" / "made_from.json").read_text())
    stored = load_reference(dpo_run.path / "reference", made)
    assert stored is not None
    assert stored.sums["logprobs"].shape == (16,)
    for key in ("model", "packs", "format"):
        with pytest.raises(LwexpError, match=f"another {key}"):
            load_reference(dpo_run.path / "reference", made | {key: "changed"})


def test_a_loss_that_is_not_finite_stops_before_the_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third step's loss is NaN: the message names step and packs, and no checkpoint of step 3 exists."""
    from lwexp.extend import PackLoss
    from lwexp.train.objectives.sft import SFT

    calls = []
    plain = SFT.pack_loss

    def broken(self: Any, logprobs: Any, batch: Any, totals: Any, known: Any) -> PackLoss:
        calls.append(batch.pack_id)
        share = plain(self, logprobs, batch, totals, known)
        return share if len(calls) < 5 else PackLoss(share.loss * float("nan"), share.watched)

    monkeypatch.setattr(SFT, "pack_loss", broken)
    config = tiny_config(tmp_path, "training.checkpoint_every_steps=1")
    with pytest.raises(LwexpError, match=r"step 3: loss is nan on packs \[\d+, \d+\]; the weights were not updated"):
        train_in(config, rows=tiny_conversations())
    (run,) = tmp_path.iterdir()
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-00000001", "step-00000002"]
    assert json.loads((run / "manifest.json").read_text())["status"] == "failed"


def test_other_architecture_and_other_chat_format_are_refused(sft_run: Any, tmp_path: Path) -> None:
    folder = sft_run.manifest.results["model"]
    config = tiny_config(tmp_path, "model.family=llama", f"model.path={folder}", "model.init=pretrained")
    with pytest.raises(LwexpError, match=r"architecture 'glm', but model.family=llama"):
        train_in(config, rows=tiny_conversations())
    config = tiny_config(tmp_path, "model.chat=llama31", f"model.path={folder}", "model.tokenizer=from_path")
    with pytest.raises(LwexpError, match="chat format glm4"):
        train_in(config, rows=tiny_conversations())
