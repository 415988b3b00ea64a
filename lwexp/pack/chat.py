"""Turns messages into tokens, and marks those that carry loss.

A chat format turns messages into pieces: special tokens, and text that is encoded with every special token switched
off, so that ``<|user|>`` inside a message is encoded as eight ordinary characters.

    glm4, user "Hi", assistant "Yo" (targets marked by ^):

        [gMASK] <sop> <|user|> \\n Hi <|assistant|> \\n Yo <|endoftext|>
                                                    ^  ^  ^

All text between two control tokens is encoded as one string, just as a server encodes a rendered template. The
only other boundary is where generation starts, because the model continues from there.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Int32

from lwexp.extend import CHAT_FORMATS, ChatFormat, Piece, control, text
from lwexp.pack.encoding import (
    Encoded,
    Rendered,
    collect,
    distinct_texts,
    encode_rendered,
    encode_texts,
    require_rendered,
)
from lwexp.records import LwexpError, Message, turn_problem
from lwexp.text.plain import one_line

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast


_PROBE = (Message(role="user", content="Hi there"),)


def chat_of(tokenizer: PreTrainedTokenizerFast) -> ChatFormat:
    """The format that a training run saved with its tokenizer.

    Raises:
        LwexpError: If no format is stored in the tokenizer, or what is stored is damaged.
    """
    saved = tokenizer.init_kwargs
    where = f"tokenizer {tokenizer.name_or_path or '(in memory)'}"
    try:
        name = saved.get("lwexp_chat")
        if name not in CHAT_FORMATS and name and saved.get("lwexp_stop_tokens"):
            return _saved_format(tokenizer)
        format = chat_format(name, f"{where}: lwexp_chat in its tokenizer_config.json")
        return type(format).model_validate({"kind": name, **saved.get("lwexp_chat_settings", {})}).bind(tokenizer)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LwexpError(
            f"{where}: the chat format in its tokenizer_config.json is damaged ({one_line(str(error), 200)}); copy the "
            f"model's folder again"
        ) from None


def _saved_format(tokenizer: PreTrainedTokenizerFast) -> ChatFormat:
    """Rebuild a format whose plugin is not loaded. It can only encode prompts, because the saved template has no
    targets.

    The template is rendered with a marker in place of each message; the messages are inserted as text afterwards, so
    that none of them can become a control token.
    """
    saved = tokenizer.init_kwargs
    markers = re.compile("\ue000(\\d+)\ue001")
    controls = re.compile("(" + "|".join(map(re.escape, saved["lwexp_control_tokens"])) + ")")

    class Saved(ChatFormat):
        control_tokens = tuple(saved["lwexp_control_tokens"])
        stop_tokens = tuple(saved["lwexp_stop_tokens"])
        bos_token = tokenizer.bos_token
        eos_token = str(tokenizer.eos_token)
        pad_token = str(tokenizer.pad_token)
        template = str(tokenizer.chat_template)

        def pieces(self, messages: Sequence[Message]) -> Iterator[Piece]:
            if messages[-1].role == "assistant":
                raise LwexpError(
                    f"chat format {self.kind}: a saved tokenizer only encodes prompts; "
                    "to train with it, load its plugin"
                )
            marked = [{"role": m.role, "content": f"\ue000{n}\ue001"} for n, m in enumerate(messages)]
            rendered = str(tokenizer.apply_chat_template(marked, tokenize=False, add_generation_prompt=True))
            if [int(n) for n in markers.findall(rendered)] != list(range(len(messages))):
                raise LwexpError(f"chat format {self.kind}: its template changes messages; load its plugin")
            for number, part in enumerate(controls.split(rendered)):
                if number % 2:
                    yield control(part)
                elif part:
                    yield text(markers.sub(lambda found: messages[int(found[1])].content, part))

    return Saved(kind=saved["lwexp_chat"])


def chat_format(name: str | None, where: str) -> ChatFormat:
    """A registered format by name, such as "glm4". ``where`` begins the error message for an unknown name."""
    if name is None or name not in CHAT_FORMATS:
        raise LwexpError(
            f"{where} is {name!r}, wanted one of {', '.join(CHAT_FORMATS)}; use the folder that a training run "
            f"exported, or load the plugin that has the format"
        )
    return CHAT_FORMATS[name]()


def encode_stream(
    tokenizer: PreTrainedTokenizerFast,
    format: ChatFormat,
    batches: Iterable[Sequence[Sequence[Message]]],
    *,
    answers: Literal["all", "last"] = "all",
) -> Iterator[list[Encoded]]:
    """Encode batches of conversations for training, in order; two batches are in memory at a time.

    The tokenizer runs without Python's global lock: while it encodes one batch, the ids of the previous batch become
    arrays and the next batch is read.

    Args:
        tokenizer: A tokenizer with the special tokens of ``format``.
        format: How messages become tokens.
        batches: Messages of each conversation; each batch is one call of the tokenizer.
        answers: Which answers carry loss: all of them but those of weight 0, or the last one only, as in preference
            pairs, where the earlier ones belong to the prompt.

    Raises:
        LwexpError: If the turns of a conversation do not alternate or do not end with an answer.
    """
    waiting: deque[tuple[list[list[Piece]], list[str], Future[tuple[list[Encoding], list[Rendered]]]]] = deque()

    is_encoding = Lock()  # special tokens are switched off and on in the tokenizer itself

    def collect_first() -> list[Encoded]:
        pieces, texts, future = waiting.popleft()
        encodings, rendered = future.result()
        encoded = collect(tokenizer, pieces, texts, encodings)
        with is_encoding:
            require_rendered(tokenizer, format, encoded, rendered)
        return encoded

    def encode(pieces: list[list[Piece]], texts: list[str]) -> tuple[list[Encoding], list[Rendered]]:
        with is_encoding:
            encodings = encode_texts(tokenizer, texts)
            return encodings, encode_rendered(tokenizer, format, pieces) if format.is_own else []

    with ThreadPoolExecutor(1) as worker:
        for conversations in batches:
            pieces = [_pieces(format, number, messages, answers) for number, messages in enumerate(conversations)]
            texts = distinct_texts(pieces)
            waiting.append((pieces, texts, worker.submit(encode, pieces, texts)))
            if len(waiting) == 2:
                yield collect_first()
        while waiting:
            yield collect_first()


class UnencodableError(LwexpError):
    """A conversation that the chat format refuses; ``number`` is its place in its batch."""

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(problem)
        self.number = number


def _pieces(
    format: ChatFormat, number: int, messages: Sequence[Message], answers: Literal["all", "last"]
) -> list[Piece]:
    _require_turns(messages, "assistant")
    try:
        return format.document(messages, answers)
    except LwexpError as error:
        raise UnencodableError(number, str(error)) from None


def encode_prompt(
    tokenizer: PreTrainedTokenizerFast, format: ChatFormat, messages: Sequence[Message]
) -> Int32[np.ndarray, " tokens"]:
    """Encode the messages before an answer. The encoding with the answer starts with exactly these tokens.

    Raises:
        LwexpError: If the turns do not alternate or do not end with a question, or if a server would encode the
            tokenizer's own template otherwise.
    """
    return _encode_prompt(tokenizer, format, messages, is_compared=format.is_own)


def require_served_tokens(tokenizer: PreTrainedTokenizerFast, format: ChatFormat) -> None:
    """Refuse a tokenizer that encodes the texts of a prompt otherwise than a server, which encodes them as one string.

    One question is enough: such a tokenizer puts a space before each text, or before the first one only.

    Raises:
        LwexpError: With the first token that differs.
    """
    _encode_prompt(tokenizer, format, _PROBE, is_compared=True)


def _encode_prompt(
    tokenizer: PreTrainedTokenizerFast, format: ChatFormat, messages: Sequence[Message], *, is_compared: bool
) -> Int32[np.ndarray, " tokens"]:
    _require_turns(messages, "user")
    pieces = [[*format.pieces(messages), *format.generation]]
    texts = distinct_texts(pieces)
    encoded = collect(tokenizer, pieces, texts, encode_texts(tokenizer, texts))
    if is_compared:
        require_rendered(tokenizer, format, encoded, encode_rendered(tokenizer, format, pieces))
    return encoded[0].ids


def _require_turns(messages: Sequence[Message], last: Literal["user", "assistant"]) -> None:
    if problem := turn_problem(messages, last=last):
        raise LwexpError(f"cannot encode a conversation of {len(messages)} messages: {problem}; fix or drop it")
