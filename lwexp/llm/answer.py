"""Outcome of a call: an answer, or a typed reason why there is none; never an error message as text."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from lwexp.llm.ledger import Entry
from lwexp.text.reasoning import split_reasoning

DRAINED = "drained"
"""Reason for a question that was no longer asked, because the run is stopping."""

FINISH_REASONS = ("stop", "length", "content_filter")
"""Finish reasons that the ledger may hold; any other word of a provider means that the text is not finished."""


class Reply(NamedTuple):
    """A provider's answer.

    Attributes:
        text: The text, with characters that cannot be stored replaced.
        finish_reason: One of ``FINISH_REASONS``, or the provider's own word.
        prompt_tokens: Tokens read, ``cached_tokens`` included.
        completion_tokens: Tokens written, those of reasoning included.
        cached_tokens: Tokens of the prompt that the provider had cached.
        replaced: Characters of the text that became U+FFFD.
        reasoning: The model's reasoning; never part of the text.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    replaced: int = 0
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete text from a model, and its cost."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    from_ledger: bool
    attempts: int = 1
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why there is no usable text.

    Attributes:
        reason: Short stable word: length, unfinished_reasoning, content_filter, empty, context_length, bad_request,
            rate_limit, server_error, time_out, connection, unreachable, garbage, authentication, quota, not_found,
            unsupported, unexpected, drained.
        detail: One line for people.
        attempts: Number of tries.
        partial: The text before the cut, for the reason length; without text for unfinished_reasoning.
    """

    reason: str
    detail: str
    attempts: int
    partial: Answer | None = None


class Separated(NamedTuple):
    """A text, its reasoning and its finish reason."""

    text: str
    reasoning: str
    finish_reason: str


def separate(text: str, reasoning: str, finish_reason: str, *, raw: bool) -> Separated:
    """Move reasoning that a server left in a text out of it.

    Args:
        text: The reply's text.
        reasoning: Reasoning that the server itself separated.
        finish_reason: stop, length or content_filter. A text that ends within its reasoning counts as cut in any case.
        raw: Leave finished reasoning in the text.
    """
    split = split_reasoning(text)
    if split.is_finished and (raw or not split.reasoning):
        return Separated(text.strip() if reasoning else text, reasoning, finish_reason)
    both = "\n\n".join(part for part in (reasoning, split.reasoning) if part)
    cut = "length" if finish_reason == "stop" and not split.is_finished else finish_reason
    return Separated(split.answer, both, cut)


def outcome_of(entry: Entry, *, from_ledger: bool, raw: bool = False) -> Answer | NoAnswer:
    """Turn an entry of the ledger into an outcome for the caller.

    Args:
        entry: The entry; earlier versions stored reasoning in the text.
        from_ledger: Whether it was stored before this call.
        raw: As in ``separate``.
    """
    text, reasoning, finish_reason = separate(entry.text, entry.reasoning, entry.finish_reason, raw=raw)
    tokens = entry.completion_tokens
    costs = entry.prompt_tokens, tokens, entry.cost_usd
    answer = Answer(text, finish_reason, *costs, from_ledger, entry.attempts, reasoning)
    if finish_reason == "length" and not text.strip():
        said = f"all of its {tokens:,} tokens went into reasoning; raise max_tokens or ask for less reasoning"
        return NoAnswer("unfinished_reasoning", said, entry.attempts, partial=answer)
    if finish_reason == "length":
        return NoAnswer("length", f"cut at {tokens:,} tokens", entry.attempts, partial=answer)
    if finish_reason == "content_filter":
        return NoAnswer("content_filter", "the provider's filter withheld the answer", entry.attempts)
    return answer


def with_cost_of(first: NoAnswer, second: Answer | NoAnswer) -> Answer | NoAnswer:
    """The second outcome, with the cost of both."""
    assert first.partial is not None
    if isinstance(second, Answer):
        both = second.cost_usd + first.partial.cost_usd
        return replace(second, cost_usd=both, attempts=first.attempts + second.attempts)
    if second.partial is None:
        return second
    partial = replace(second.partial, cost_usd=second.partial.cost_usd + first.partial.cost_usd)
    return replace(second, attempts=first.attempts + second.attempts, partial=partial)
