"""Rows as a run would hold them."""

from __future__ import annotations

from collections.abc import Sequence

from lwexp.records import Conversation, Message, PreferencePair, prompt_sha


def turns(*texts: str, system: str | None = None) -> tuple[Message, ...]:
    """User and assistant in turn."""
    roles = ("user", "assistant")
    first = (Message(role="system", content=system),) if system else ()
    return (*first, *(Message(role=roles[i % 2], content=text) for i, text in enumerate(texts)))


def conversation(id: str, *texts: str, system: str | None = None, words: int = 2, **columns: object) -> Conversation:
    """A row as a run would hold it."""
    messages = turns(*texts, system=system)
    known = {"source": "agentwrite", "language": "en", "prompt_sha": prompt_sha(messages[:-1])} | columns
    return Conversation(id=id, messages=messages, actual_words=words, **known)


def pair(id: str, prompt: Sequence[Message], chosen: str, rejected: str, **columns: object) -> PreferencePair:
    """A pair as a run would hold it; the texts have one word each."""
    known = {"source": "sft-1", "language": "en", "chosen_words": 1, "rejected_words": 1} | columns
    return PreferencePair(id=id, prompt=tuple(prompt), chosen=chosen, rejected=rejected, **known)
