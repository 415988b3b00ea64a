"""Outcome of a call: an answer, or a typed reason why there is none; never an error message as text."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from lwexp.llm.ledger import Entry
from lwexp.text.reasoning import split_reasoning

DRAINED = "drained"
"""Reason of a question that was not asked any more."""

FINISH_REASONS = ("stop", "length", "content_filter")
"""What the ledger may hold; a provider's other words mean that the text is no finished one."""


class Reply(NamedTuple):
    """A provider's answer.

    Attributes:
        text: As it came, but for characters that cannot be stored.
        finish_reason: One of ``FINISH_REASONS``, or the provider's own word.
        prompt_tokens: Tokens read, ``cached_tokens`` included.
        completion_tokens: Tokens written, those of reasoning included.
        cached_tokens: Tokens of the prompt that the provider had cached.
        replaced: Characters of the text that became U+FFFD.
        reasoning: What the model thought before; never part of the text.
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
    """Text that a model gave in full, and what it cost."""

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
    """Why no usable text came.

    Attributes:
        reason: Short stable word: length, unfinished_reasoning, content_filter, empty, context_length, bad_request,
            rate_limit, server_error, time_out, connection, unreachable, garbage, authentication, quota, not_found,
            unsupported, unexpected, drained.
        detail: One line for people.
        attempts: Tries made.
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
    """Take reasoning that a server left in a text out of it.

    Args:
        text: As it came.
        reasoning: What the server itself told apart.
        finish_reason: stop, length or content_filter. A text that ends within its reasoning is cut, whatever it says.
        raw: Leave finished reasoning where it is.
    """
    split = split_reasoning(text)
    if split.is_finished and (raw or not split.reasoning):
        return Separated(text.strip() if reasoning else text, reasoning, finish_reason)
    both = "\n\n".join(part for part in (reasoning, split.reasoning) if part)
    cut = "length" if finish_reason == "stop" and not split.is_finished else finish_reason
    return Separated(split.answer, both, cut)


def outcome_of(entry: Entry, *, from_ledger: bool, raw: bool = False) -> Answer | NoAnswer:
    """What an entry of the ledger means to the caller.

    Args:
        entry: Stored, perhaps by a version that kept reasoning in the text.
        from_ledger: Whether it was there before this call.
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
    """The second outcome, with what both have cost."""
    assert first.partial is not None
    if isinstance(second, Answer):
        both = second.cost_usd + first.partial.cost_usd
        return replace(second, cost_usd=both, attempts=first.attempts + second.attempts)
    if second.partial is None:
        return second
    partial = replace(second.partial, cost_usd=second.partial.cost_usd + first.partial.cost_usd)
    return replace(second, attempts=first.attempts + second.attempts, partial=partial)
