"""What a dry run prints: tokens, steps, hours, memory, and which hardware holds it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.config.presets import hardware_preset
from lwexp.records import Conversation, Message
from lwexp.train.data.steps import rank_share
from lwexp.train.model.dimensions import published_models
from lwexp.train.planner.dry_run import describe_plan, few_steps
from lwexp.train.planner.flops import flops_per_token, mean_context, rank_slots, training_hours
from tests.train.tiny_packs import tiny_conversations, tiny_pairs

GLM, LLAMA = published_models()["zai-org/glm-4-9b-hf"].sizes, published_models()["meta-llama/Llama-3.1-8B"].sizes


@pytest.fixture(autouse=True)
def no_hub_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.mark.parametrize("model", ["glm4", "llama31"])
def test_a_plan_needs_no_weights_and_says_what_is_missing_here(model: str) -> None:
    plan = describe_plan(compose(f"model={model}", "hardware=zero3_8x80g"), rows=tiny_conversations())
    assert plan.refusal is None
    assert re.search(r"conversations +24\n", plan.text)
    assert "12A/W" in plan.text
    assert re.search(r"> zero3_8x80g +4\d\.\d of 79 GiB +24\.0 of 1,000 GiB +fits", plan.text)
    assert "not on this machine: weights and tokenizer: " in plan.text
    assert "wants 8 CUDA devices" in plan.text


def test_what_cannot_fit_is_refused_with_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lwexp.train.planner.memory_fit.host_gib", lambda: 23.0)
    plan = describe_plan(compose("model=glm4", "hardware=cpu"))
    assert plan.refusal is not None
    assert "\n" not in plan.refusal
    assert "need 596 GiB a device, there are 23 with hardware=cpu" in plan.refusal
    assert (
        "it fits with hardware=gpu1_141g, hardware=multinode, hardware=zero2_8x80g, hardware=zero3_8x80g"
        in plan.refusal
    )


def test_a_run_of_few_steps_is_warned_about() -> None:
    """24 short rows fill one pack of 32,768 tokens: 4 epochs of one pack, 8 packs a step, are one step."""
    plan = describe_plan(compose("model=tiny_llama", "hardware=cpu"), rows=tiny_conversations())
    assert (
        "1 step in all, from 1 pack: a model hardly changes in so few; for more, lower pack.max_tokens or "
        "objective.global_batch=8, or raise objective.epochs=4"
    ) in plan.text
    objective = compose("objective.global_batch=1", "objective.epochs=10").objective
    assert few_steps(10, 1, objective) is None
    assert few_steps(9, 1, objective) is not None
    assert few_steps(9, 1, compose("objective.max_steps=9").objective) is None


def test_the_miniature_of_dpo() -> None:
    plan = describe_plan(compose("objective=dpo", "hardware=cpu"), rows=tiny_pairs())
    assert re.search(r"preference pairs +8\n", plan.text)
    assert plan.text.endswith("this machine can run it")
    assert "time: not estimated" in plan.text


def test_flops_of_a_token_by_hand() -> None:
    """6 * 8.779B = 52.7 GFLOP and, with one document of 32,768 tokens, 6 * 40 * 4096 * 32768 = 32.2: 84.9 for GLM-4.
    Llama-3.1: 6 * 7.505B = 45.0 and 6 * 32 * 4096 * 32768 = 25.8: 70.8."""
    assert flops_per_token(GLM, 32_768) == pytest.approx(84.9e9, rel=1e-3)
    assert flops_per_token(LLAMA, 32_768) == pytest.approx(70.8e9, rel=1e-3)


def test_flops_agree_with_trl() -> None:
    """TRL counts attention to all T positions; twice our causal count."""
    from transformers import LlamaConfig
    from trl.trainer.utils import compute_flops_per_token

    config = LlamaConfig(
        hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, vocab_size=128_256,
    )  # fmt: skip
    theirs = compute_flops_per_token(config, 32_768)
    assert flops_per_token(LLAMA, 2 * 32_768) == pytest.approx(theirs, rel=0.01)


def test_hours_by_hand() -> None:
    """Packs of 8 documents of 4,096 tokens: c = 4096, 45.03 + 6*32*4096*4096 = 3.22, together 48.25 GFLOP a token.
    834M tokens are 4.024e19 FLOP; 8 * 989e12 * 0.3 = 2.374e15 a second: 16,954 s = 4.71 h."""
    lengths = [4096.0] * 50_903  # 208.5M tokens
    hardware = hardware_preset("zero3_8x80g").model_copy(update={"mfu": 0.3, "peak_tflops": 989.0})
    objective = compose().objective
    assert mean_context(lengths) == 4096
    hours = training_hours(LLAMA, hardware, objective, lengths, steps=3182, tokens_per_step=8 * 32_768)
    assert hours is not None
    assert hours.training == pytest.approx(4.71, rel=0.005)
    assert hours.other == 0


def test_a_dpo_reference_costs_one_forward_of_the_four_parts_of_a_recomputed_step() -> None:
    """Two epochs: training is 2 epochs of 4 parts, the reference one part once: an eighth of it. Two passes run one
    part more in each epoch: 1/8 + 1/4 = 3/8."""
    lengths = [4096.0] * 800
    hardware = hardware_preset("zero3_8x80g")
    for passes, share in ((1, 1 / 8), (2, 3 / 8)):
        hours = training_hours(
            LLAMA, hardware, compose("objective=dpo").objective, lengths, 2, sum(lengths), passes=passes
        )
        assert hours is not None
        assert hours.other == pytest.approx(hours.training * share)


@pytest.mark.parametrize("ranks", [1, 2, 8, 16])
@pytest.mark.parametrize(("packs", "batch"), [(20, 8), (6372, 16), (7, 3), (1, 8), (64, 8)])
def test_hours_count_the_packs_that_each_rank_runs(packs: int, batch: int, ranks: int) -> None:
    """Against the shares that training deals out, pack by pack, fillers included."""
    steps = [range(first, min(first + batch, packs)) for first in range(0, packs, batch)]
    run = [sum(len(rank_share(step, rank, ranks)[0]) for step in steps) for rank in range(ranks)]
    assert len(set(run)) == 1  # the ranks keep step
    assert rank_slots(packs, batch, ranks) == pytest.approx(run[0] * ranks / packs)
    lengths = [4096.0] * 8
    whole, padded = (
        training_hours(LLAMA, hardware_preset("multinode"), compose().objective, lengths, 1, 1e6, slots=slots)
        for slots in (1.0, rank_slots(8, 8, 16))
    )
    assert whole is not None
    assert padded is not None
    assert padded.training == pytest.approx(2 * whole.training)  # 8 packs on 16 ranks: half of them wait


def test_a_conversation_longer_than_a_pack_is_named() -> None:
    """20,000 words of 1.33 tokens are 26,600, over 20,000."""
    row = Conversation(
        id="x", source="s", language="en", actual_words=20_000,
        messages=(Message(role="user", content="Write."), Message(role="assistant", content="word")),
    )  # fmt: skip
    config = compose("model=glm4", "hardware=zero3_8x80g", "pack.max_tokens=20000", "pack.overflow=drop")
    assert re.search(r"too long +1   pack.overflow=drop$", describe_plan(config, rows=[row]).text, re.MULTILINE)
    stops = describe_plan(compose("model=tiny_llama", "hardware=cpu", "pack.max_tokens=2048"), rows=[row]).text
    assert re.search(r"too long +1   pack.overflow=error; raise pack.max_tokens, or leave them out with", stops)
    assert stops.endswith("this machine can run it, but stops at documents that are too long")


def test_the_table_in_the_docs_has_not_drifted_from_the_planner() -> None:
    """The planner wrote it, so this says nothing of its numbers; two rows are from test_train_memory, by hand.

    Remake it with: python -m benchmarks.planner_table.
    """
    from benchmarks.planner_table import PAGE, planner_table, table_in

    table = table_in(PAGE.read_text(encoding="utf-8"))
    assert table == planner_table()
    assert len(table.splitlines()) == 2 + 12
    assert "| GLM-4-9B | 8x80 | none | 32,768 | 45.4 of 79 | 24 of 1000 | fits |" in table
    assert "| GLM-4-9B | gpu1_141g | none | 32,768 | 126.1 of 139 | - | fits |" in table
    assert "| no |" in table
