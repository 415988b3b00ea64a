"""Held-out loss and the length probe: their numbers are right, and they do not change training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lwexp.config.train import Validation
from lwexp.records import LwexpError
from lwexp.runs.summaries import read_metrics
from lwexp.train.data.holdout import hold_out
from tests.train.tiny_packs import tiny_config, tiny_conversations, tiny_pairs, train_in

STEPS = ("objective.max_steps=6", "objective.optimizer.lr=0.01")
HELD = ("training.validation.share=0.3", "training.validation.max_documents=4")


def documents(folder: Path) -> list[str]:
    return [json.loads(line)["name"] for line in (folder / "documents.jsonl").read_text().splitlines()]


def curve(run: Any) -> list[tuple[float, ...]]:
    return [(row["step"], row["loss"], row["grad_norm"]) for row in read_metrics(run.path / "metrics.jsonl")]


def of_two_sources(count: int = 24) -> list[Any]:
    rows = tiny_conversations(count)
    return [row.model_copy(update={"source": "even" if i % 2 == 0 else "odd"}) for i, row in enumerate(rows)]


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    options = (*STEPS, *HELD, "training.validation.every_steps=2")
    return train_in(tiny_config(tmp_path_factory.mktemp("held"), *options), rows=of_two_sources())


def test_held_out_documents_are_never_trained(validated: Any) -> None:
    trained, held = documents(validated.path / "packs"), documents(validated.path / "packs-validation")
    assert len(held) >= 2
    assert set(trained).isdisjoint(held)
    assert sorted(trained + held) == sorted(row.id for row in of_two_sources())
    assert f"24 in = {len(trained)} to train on + {len(held)} held out" in (validated.path / "log.txt").read_text()


def test_validation_loss_is_that_of_plain_transformers_per_source(validated: Any) -> None:
    """At the last step the weights are those exported: mean negative log-prob of each held-out target token."""
    from transformers import AutoModelForCausalLM

    from lwexp.pack.dataset import PackedDataset

    rows = read_metrics(validated.path / "validation.jsonl")
    assert [row["step"] for row in rows] == [2, 4, 6]
    model = AutoModelForCausalLM.from_pretrained(validated.path / "model")
    packs = PackedDataset(validated.path / "packs-validation")
    names, losses = packs.document_names(), dict[str, list[float]]()
    for number in range(packs.num_packs):
        pack = packs[number]
        for place, document in enumerate(pack.document_ids):
            start, stop = pack.cu_seqlens[place], pack.cu_seqlens[place + 1]
            with torch.no_grad():
                logits = torch.log_softmax(model(pack.input_ids[:, start:stop]).logits[0].double(), dim=-1)
            mine = pack.target_documents == place
            at = pack.source_positions[mine] - start
            losses.setdefault(names[document].source, []).extend((-logits[at, pack.target_ids[mine]]).tolist())
    everything = [loss for source in losses.values() for loss in source]
    assert rows[-1]["loss"] == pytest.approx(sum(everything) / len(everything), abs=1e-5)
    assert rows[-1]["target_tokens"] == len(everything)
    for source, values in losses.items():
        assert rows[-1][f"loss/{source}"] == pytest.approx(sum(values) / len(values), abs=1e-5)


def test_who_is_held_out_depends_on_the_id_alone() -> None:
    validation = Validation(share=0.3, max_documents=100, every_steps=1)
    rows = of_two_sources(200)
    held = {row.id for row in hold_out(rows, validation).held_out}
    assert 40 <= len(held) <= 80  # 60 of 200 expected, sd 6.5
    assert {row.id for row in hold_out(rows[::-1], validation).held_out} == held
    fewer = {row.id for row in hold_out(rows[:100], validation).held_out}
    assert fewer == held & {row.id for row in rows[:100]}
    repeated = hold_out([*rows, *rows], validation)
    assert {row.id for row in repeated.held_out}.isdisjoint(row.id for row in repeated.trained)
    assert len(repeated.held_out) == 2 * len(held)


def test_a_share_that_leaves_nothing_of_a_source_is_refused() -> None:
    with pytest.raises(LwexpError, match=r"training.validation.share=0.99: holds out the whole of tiny \(1 document\)"):
        hold_out(tiny_conversations(1), Validation(share=0.99, max_documents=9, every_steps=1))


def answers(model: Any, tokenizer: Any) -> list[dict[str, Any]]:
    """Writes greedily, and draws random numbers on the way, which training must not feel."""
    torch.rand(100)
    prompt = tokenizer("Count to 9.", return_tensors="pt")["input_ids"]
    model.generation_config.pad_token_id = 0
    written = model.generate(prompt, max_new_tokens=8, do_sample=True)
    return [{"requested": 9, "produced": int(written.shape[1] - prompt.shape[1])}]


def test_training_does_not_notice_the_watchers(validated: Any, tmp_path: Path) -> None:
    rarely = tiny_config(tmp_path / "rarely", *STEPS, *HELD, "training.validation.every_steps=100")
    probed = tiny_config(
        tmp_path / "probed", *STEPS, *HELD, "training.validation.every_steps=1", "training.probe.every_steps=2"
    )
    one = train_in(rarely, rows=of_two_sources())
    two = train_in(probed, rows=of_two_sources(), answer=answers)
    assert one.path.name == two.path.name == validated.path.name  # looking is no part of a run's identity
    assert curve(one) == curve(two) == curve(validated)
    rows = read_metrics(two.path / "probe.jsonl")
    assert [(row["step"], row["requested"]) for row in rows] == [(2, 9), (4, 9), (6, 9)]


def test_dpo_is_probed_as_well_and_does_not_notice(sft_run: Any, tmp_path: Path) -> None:
    start = sft_run.path / "model"
    options = ("objective=dpo", "objective.epochs=1", "objective.global_batch=1", "objective.optimizer.lr=0.01")
    plain = tiny_config(tmp_path / "plain", *options, "pack.max_tokens=160")
    probed = tiny_config(tmp_path / "probed", *options, "pack.max_tokens=160", "training.probe.every_steps=2")
    one = train_in(plain, rows=tiny_pairs(), start_from=start)
    two = train_in(probed, rows=tiny_pairs(), start_from=start, answer=answers)
    steps = [step for step, _, _ in curve(one)]
    assert len(steps) > 2
    assert curve(one) == curve(two)
    probes = {row["step"] for row in read_metrics(two.path / "probe.jsonl")}
    assert probes == {step for step in steps if step % 2 == 0} | {steps[-1]}


def test_the_plain_view_has_the_trained_weights_and_logits(tmp_path: Path) -> None:
    """The last probe sees what is exported; transformers' own loading is the witness."""
    from transformers import AutoModelForCausalLM

    seen: list[torch.Tensor] = []
    ids = torch.arange(30)[None]

    def look(model: Any, tokenizer: Any) -> list[dict[str, Any]]:
        with torch.no_grad():
            seen.append(model(ids).logits.clone())
        return [{"requested": 1, "produced": 1}]

    for family in ("glm", "llama"):
        config = tiny_config(tmp_path / family, *STEPS, f"model=tiny_{family}", "training.probe.every_steps=3")
        run = train_in(config, rows=tiny_conversations(), answer=look)
        exported = AutoModelForCausalLM.from_pretrained(run.path / "model")
        with torch.no_grad():
            torch.testing.assert_close(seen[-1], exported(ids).logits, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(seen[-2], seen[-1], atol=1e-3)  # negative control: three steps before


def test_dpo_refuses_to_hold_out(sft_run: Any, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "objective=dpo", *HELD)
    with pytest.raises(LwexpError, match=r"training\.validation"):
        train_in(config, rows=tiny_pairs(), start_from=sft_run.path / "model")
