"""Short ways to write conversations and pairs, and a byte-like tokenizer text for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from transformers import PreTrainedTokenizerFast

from lwexp.extend import ChatFormat
from lwexp.pack.chat import encode_stream
from lwexp.pack.encoding import Encoded
from lwexp.records import Conversation, Message, PreferencePair

TEXT = [
    "Write a story of about 800 words. Part 1 of 16 looks at the sea.\n\nMany people know it well.",
    "system user assistant Hello there, how are you? I am well.",
    "one\n\n\ntwo\n\n\nthree\n\n\nfour",
    "请写一篇关于大海的文章，要求800字。大海是蓝色的，人们喜欢它。",
] * 3


def turns(*texts: str, system: str | None = None) -> tuple[Message, ...]:
    """Messages of user and assistant in turn, behind a system message if given."""
    first = [Message(role="system", content=system)] if system is not None else []
    roles = ("user", "assistant")
    return (*first, *(Message(role=roles[i % 2], content=text) for i, text in enumerate(texts)))


def conversation(name: str, *texts: str, source: str = "made") -> Conversation:
    """A conversation of these turns."""
    return Conversation(id=name, source=source, language="en", messages=turns(*texts), actual_words=1)


def pair(name: str, prompt: tuple[Message, ...], chosen: str, rejected: str) -> PreferencePair:
    """A preference pair."""
    return PreferencePair(
        id=name,
        source="made",
        language="en",
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        chosen_words=1,
        rejected_words=1,
    )


def encode_many(
    tokenizer: PreTrainedTokenizerFast,
    format: ChatFormat,
    conversations: Sequence[Sequence[Message]],
    answers: Literal["all", "last"] = "all",
) -> list[Encoded]:
    """One batch through the stream that training packs are made by."""
    return next(encode_stream(tokenizer, format, [conversations], answers=answers))


def encode_conversation(tokenizer: PreTrainedTokenizerFast, format: ChatFormat, messages: Sequence[Message]) -> Encoded:
    """A batch of one."""
    return encode_many(tokenizer, format, [messages])[0]
