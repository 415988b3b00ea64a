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
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from lwexp.extend import CHAT_FORMATS, ChatFormat, Piece, control, text
from lwexp.extend.chat import control_id
from lwexp.records import LwexpError, Message, turn_problem

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast


class Encoded(NamedTuple):
    """The tokens of one conversation, and 1 where a token carries loss."""

    ids: Int32[np.ndarray, " tokens"]
    is_target: UInt8[np.ndarray, " tokens"]


def chat_of(tokenizer: PreTrainedTokenizerFast) -> ChatFormat:
    """The format that a training run saved with its tokenizer.

    Raises:
        LwexpError: If no format is stored in the tokenizer.
    """
    name, folder = tokenizer.init_kwargs.get("lwexp_chat"), tokenizer.name_or_path or "(in memory)"
    if name not in CHAT_FORMATS and name and tokenizer.init_kwargs.get("lwexp_stop_tokens"):
        return _saved_format(tokenizer)
    return chat_format(name, f"tokenizer {folder}: lwexp_chat in its tokenizer_config.json")


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
        answers: Which answers carry loss: all of them, or the last one only, as in preference pairs, where the
            earlier ones belong to the prompt.

    Raises:
        LwexpError: If the turns of a conversation do not alternate or do not end with an answer.
    """
    waiting: deque[tuple[list[list[Piece]], list[str], Future[list[Encoding]]]] = deque()

    def collect_first() -> list[Encoded]:
        pieces, texts, encodings = waiting.popleft()
        return _collect(tokenizer, pieces, texts, encodings.result())

    with ThreadPoolExecutor(1) as worker:
        for conversations in batches:
            pieces = [_pieces(format, messages, answers) for messages in conversations]
            texts = _distinct_texts(pieces)
            waiting.append((pieces, texts, worker.submit(_encode_texts, tokenizer, texts)))
            if len(waiting) == 2:
                yield collect_first()
        while waiting:
            yield collect_first()


def _pieces(format: ChatFormat, messages: Sequence[Message], answers: Literal["all", "last"]) -> list[Piece]:
    """The pieces of one conversation, checked to begin with the pieces of its prompt."""
    _require_turns(messages, "assistant")
    pieces = list(format.pieces(messages))
    prompt = [*format.pieces(messages[:-1]), *format.generation]
    for place, piece in enumerate(prompt):
        assert piece.text == pieces[place].text, f"a {format.kind} conversation does not begin with its prompt"
    if answers == "last":
        return [piece._replace(is_target=False) for piece in prompt] + pieces[len(prompt) :]
    return pieces


def encode_prompt(
    tokenizer: PreTrainedTokenizerFast, format: ChatFormat, messages: Sequence[Message]
) -> Int32[np.ndarray, " tokens"]:
    """Encode the messages before an answer. The encoding with the answer starts with exactly these tokens.

    Raises:
        LwexpError: If the turns do not alternate or do not end with a question.
    """
    _require_turns(messages, "user")
    pieces = [[*format.pieces(messages), *format.generation]]
    texts = _distinct_texts(pieces)
    return _collect(tokenizer, pieces, texts, _encode_texts(tokenizer, texts))[0].ids


def reachable_as_text(tokenizer: PreTrainedTokenizerFast, controls: Sequence[str]) -> list[str]:
    """Control tokens that message text could be encoded as; a tokenizer is usable only if there are none."""
    encoded = zip(controls, _encode_texts(tokenizer, list(controls)), strict=True)
    return [token for token, encoding in encoded if control_id(tokenizer, token) in encoding.ids]


def _require_turns(messages: Sequence[Message], last: Literal["user", "assistant"]) -> None:
    if problem := turn_problem(messages, last=last):
        raise LwexpError(f"cannot encode a conversation of {len(messages)} messages: {problem}; fix or drop it")


def _distinct_texts(conversations: Sequence[Sequence[Piece]]) -> list[str]:
    """All different texts, so that equal ones (roles, the prompt of a preference pair) are tokenised only once."""
    return list(dict.fromkeys(piece.text for pieces in conversations for piece in pieces if not piece.is_control))


def _collect(
    tokenizer: PreTrainedTokenizerFast,
    conversations: Sequence[Sequence[Piece]],
    texts: Sequence[str],
    encodings: Sequence[Encoding],
) -> list[Encoded]:
    """Build the arrays of each conversation from its pieces and the encodings of its texts."""
    every = list(chain.from_iterable(conversations))
    ids_of = {text: encoding.ids for text, encoding in zip(texts, encodings, strict=True)}
    controls = {piece.text for piece in every if piece.is_control}
    control_ids = {token: [control_id(tokenizer, token)] for token in controls}
    ids: list[int] = []
    sizes = []
    for piece in every:
        found = control_ids[piece.text] if piece.is_control else ids_of[piece.text]
        ids += found
        sizes.append(len(found))
    flat_ids = np.array(ids, dtype=np.int32)
    flat_targets = np.repeat(np.array([piece.is_target for piece in every], dtype=np.uint8), sizes)
    piece_ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    bounds = piece_ends[np.concatenate([[0], np.cumsum([len(pieces) for pieces in conversations], dtype=np.int64)])]
    return [Encoded(flat_ids[start:stop], flat_targets[start:stop]) for start, stop in pairwise(bounds)]


def _encode_texts(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[Encoding]:
    """Encode texts with all special tokens switched off.

    Truncation is switched off first: a saved tokenizer.json can enable it, and long outputs would be cut silently.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    before = backend.encode_special_tokens
    backend.encode_special_tokens = True
    try:
        encodings: list[Encoding] = backend.encode_batch_fast(texts, add_special_tokens=False)
        return encodings
    finally:
        backend.encode_special_tokens = before
