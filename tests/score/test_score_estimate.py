"""What a dry run says that answers, verdicts and comparisons will cost."""

from __future__ import annotations

import pytest

from lwexp.config import compose
from lwexp.extend.endpoint import Price
from lwexp.llm.endpoints.none import NoJudge
from lwexp.recipe.lineage import describe_sampling
from lwexp.records import Prompt
from lwexp.score.estimate import estimate_answers, estimate_judging, estimate_pairwise
from lwexp.score.pairwise import PAIR_PROMPT

PROMPTS = [Prompt(id=f"b-{n}", text="x" * 40, language="en", type="t", required_words=100) for n in range(2)]
PRICE = Price(input_per_mtok=10, output_per_mtok=20)


def test_answers_of_an_api_by_hand() -> None:
    """2 prompts of 40 characters, 10 tokens, 3 answers each: 60 tokens in; 6 times 100 words of 1.35 tokens: 810 out.
    60 x $10 and 810 x $20 a million are $0.0168."""
    teacher = compose("teacher=gpt4o").teacher.model_copy(update={"price": PRICE})
    found = estimate_answers(teacher, PROMPTS, 3)
    assert found[:3] == (6, 60, 810)
    assert found.dollars == pytest.approx(0.0168)


def test_a_comparison_asks_twice_about_each_answer() -> None:
    """2 prompts, 3 answers, 2 orders: 12 calls of the frame, 10 tokens of prompt and 2 answers of 135, and 150 out."""
    judge = compose("judge=gpt4o").judge.model_copy(update={"price": PRICE})
    frame = len(PAIR_PROMPT.read_text(encoding="utf-8")) / 4
    tokens = round(12 * (frame + 10 + 270))
    dollars = (tokens * 10 + 12 * 150 * 20) / 1e6
    found = estimate_pairwise(judge, PROMPTS, 3)
    assert found[:3] == (12, tokens, 1800)
    assert found.dollars == pytest.approx(dollars)
    assert estimate_pairwise(NoJudge(kind="none"), PROMPTS, 3).calls == 0
    assert estimate_judging(judge, PROMPTS, 3, parts=4).calls == 6


def test_a_dry_run_prices_engine_judge_and_comparison() -> None:
    config = compose("engine=litellm", "engine.price={input_per_mtok: 10, output_per_mtok: 20}", "judge=gpt4o",
                     "sample.temperature=1.0", "score.pairwise=true")  # fmt: skip
    said = describe_sampling(PROMPTS, config, 3, is_compared=True).splitlines()
    assert said[1] == "engine   6 calls to openai/gpt-4o, 60 tokens in, 810 out, about $0.02"
    assert said[2].startswith("judge    6 calls to openai/gpt-4o-2024-05-13, ")
    assert said[3].startswith("pairwise 12 calls to openai/gpt-4o-2024-05-13, ")
    alone = describe_sampling(PROMPTS, compose("judge=none"), 3).splitlines()
    assert alone[1:] == ["judge    no judge calls"]
