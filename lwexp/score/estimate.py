"""Estimates what answering and judging will cost, without making a call."""

from collections.abc import Sequence
from typing import NamedTuple

from lwexp.extend import JudgedMetric
from lwexp.extend.endpoint import AskedJudge, Endpoint, Judge
from lwexp.extend.metric import STANDARD, Metric, metrics_of
from lwexp.llm.price import rates_of
from lwexp.records import Prompt
from lwexp.score.pairwise import PAIR_PROMPT

_TOKENS_PER_WORD = 1.35
_CHARACTERS_PER_TOKEN = 4
_REPLY_TOKENS = 150  # a JSON object with six scores and a sentence
_UNSTATED_WORDS = 1000


class CallEstimate(NamedTuple):
    """Calls and tokens, if each answer has the length that was asked for."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float | None
    """None where no price is known for the model."""


def estimate_answers(writer: Endpoint, prompts: Sequence[Prompt], repeats: int) -> CallEstimate:
    """Expected calls, tokens and dollars for ``repeats`` answers of an API to each prompt."""
    asked = round(repeats * sum(_tokens_of(prompt.text) for prompt in prompts))
    written = round(repeats * sum(map(_answer_tokens, prompts)))
    return CallEstimate(repeats * len(prompts), asked, written, _dollars(writer, asked, written))


def estimate_pairwise(judge: Judge, prompts: Sequence[Prompt], repeats: int) -> CallEstimate:
    """Expected calls, tokens and dollars for comparing ``repeats`` answers to each prompt with another run's, in both
    orders."""
    if not isinstance(judge, AskedJudge):
        return CallEstimate(0, 0, 0, 0.0)
    frame = _tokens_of(PAIR_PROMPT.read_text(encoding="utf-8"))
    tokens = sum(frame + _tokens_of(prompt.text) + 2 * _answer_tokens(prompt) for prompt in prompts)
    calls = 2 * repeats * len(prompts)
    asked, replies = round(2 * repeats * tokens), calls * _REPLY_TOKENS
    return CallEstimate(calls, asked, replies, _dollars(judge, asked, replies))


def estimate_judging(
    judge: Judge, prompts: Sequence[Prompt], repeats: int, *, parts: int, metrics: Sequence[Metric] | None = None
) -> CallEstimate:
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
        return CallEstimate(0, 0, 0, 0.0)
    calls = tokens = 0
    for metric in judged:
        question = _tokens_of(metric.judge_prompt(judge.prompt).text)
        for prompt in prompts:
            answer = _answer_tokens(prompt)
            asked = question + _tokens_of(prompt.text)
            calls += 1
            tokens += round(asked + answer)
            if judge.segments and metric.kind == "quality":  # the parts together are the answer once more
                calls += parts
                tokens += round(parts * asked + answer)
    times = repeats * judge.repeats
    calls, tokens, replies = calls * times, tokens * times, calls * times * _REPLY_TOKENS
    return CallEstimate(calls, tokens, replies, _dollars(judge, tokens, replies))


def _tokens_of(text: str) -> float:
    return len(text) / _CHARACTERS_PER_TOKEN


def _answer_tokens(prompt: Prompt) -> float:
    return (prompt.required_words or _UNSTATED_WORDS) * _TOKENS_PER_WORD


def _dollars(endpoint: Endpoint, prompt_tokens: int, completion_tokens: int) -> float | None:
    rates = rates_of(endpoint)
    return None if rates is None else rates.cost(prompt_tokens, completion_tokens)
