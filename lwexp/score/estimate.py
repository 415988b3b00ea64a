"""Estimates what judging will cost, without making a call."""

from collections.abc import Sequence
from typing import NamedTuple

from lwexp.extend import JudgedMetric
from lwexp.extend.endpoint import AskedJudge, Judge
from lwexp.extend.metric import STANDARD, Metric, metrics_of
from lwexp.llm.price import rates_of
from lwexp.records import Prompt

_TOKENS_PER_WORD = 1.35
_CHARACTERS_PER_TOKEN = 4
_REPLY_TOKENS = 150  # a JSON object with six scores and a sentence
_UNSTATED_WORDS = 1000


class JudgeEstimate(NamedTuple):
    """Calls and tokens, if each answer has the length that was asked for."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float | None
    """None where no price is known for the judge."""


def estimate_judging(
    judge: Judge, prompts: Sequence[Prompt], repeats: int, *, parts: int, metrics: Sequence[Metric] | None = None
) -> JudgeEstimate:
    """Expected calls, tokens and dollars for judging ``repeats`` answers to each prompt.

    Args:
        judge: With kind none, nothing is asked.
        prompts: The prompts that are answered.
        repeats: Answers to each prompt.
        parts: ``score.segments``, into which an answer is cut if ``judge.segments`` is set.
        metrics: None means the paper's three, as in ``score_responses``.
    """
    judged = [item for item in (metrics_of(STANDARD) if metrics is None else metrics) if isinstance(item, JudgedMetric)]
    if not isinstance(judge, AskedJudge) or not judged:
        return JudgeEstimate(0, 0, 0, 0.0)
    calls = tokens = 0
    for metric in judged:
        question = len(metric.judge_prompt(judge.prompt).text) / _CHARACTERS_PER_TOKEN
        for prompt in prompts:
            answer = (prompt.required_words or _UNSTATED_WORDS) * _TOKENS_PER_WORD
            asked = question + len(prompt.text) / _CHARACTERS_PER_TOKEN
            calls += 1
            tokens += round(asked + answer)
            if judge.segments and metric.kind == "quality":  # the parts together are the answer once more
                calls += parts
                tokens += round(parts * asked + answer)
    times = repeats * judge.repeats
    calls, tokens, replies = calls * times, tokens * times, calls * times * _REPLY_TOKENS
    rates = rates_of(judge)
    return JudgeEstimate(calls, tokens, replies, None if rates is None else rates.cost(tokens, replies))
