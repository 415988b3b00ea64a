"""Outcome of a call: an answer, or a typed reason why there is none; never an error message as text."""

from dataclasses import dataclass
from typing import NamedTuple

from lwexp.llm.ledger import Entry

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
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    replaced: int = 0


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


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why no usable text came.

    Attributes:
        reason: Short stable word: length, content_filter, empty, context_length, bad_request, rate_limit,
            server_error, time_out, connection, unreachable, garbage, authentication, quota, not_found, unsupported,
            unexpected, drained.
        detail: One line for people.
        attempts: Tries made.
        partial: The text before the cut, for reason length only.
    """

    reason: str
    detail: str
    attempts: int
    partial: Answer | None = None


def outcome_of(entry: Entry, *, from_ledger: bool) -> Answer | NoAnswer:
    """What an entry of the ledger means to the caller."""
    answer = Answer(*entry[:5], from_ledger, entry.attempts)
    if entry.finish_reason == "length":
        return NoAnswer("length", f"cut at {entry.completion_tokens} tokens", entry.attempts, partial=answer)
    if entry.finish_reason == "content_filter":
        return NoAnswer("content_filter", "the provider's filter withheld the answer", entry.attempts)
    return answer
