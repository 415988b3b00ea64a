"""Turns pieces into token ids: texts with all special tokens switched off, control tokens by their ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from lwexp.extend import ChatFormat, Piece
from lwexp.extend.chat import control_id
from lwexp.records import LwexpError
from lwexp.text.plain import first_difference

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast


class Encoded(NamedTuple):
    """The tokens of one conversation, and 1 where a token carries loss."""

    ids: Int32[np.ndarray, " tokens"]
    is_target: UInt8[np.ndarray, " tokens"]


def reachable_as_text(tokenizer: PreTrainedTokenizerFast, controls: Sequence[str]) -> list[str]:
    """Control tokens that message text could be encoded as; a tokenizer is usable only if there are none."""
    encoded = zip(controls, encode_texts(tokenizer, list(controls)), strict=True)
    return [token for token, encoding in encoded if control_id(tokenizer, token) in encoding.ids]


def distinct_texts(conversations: Sequence[Sequence[Piece]]) -> list[str]:
    """All different texts, so that equal ones (roles, the prompt of a preference pair) are tokenised only once."""
    return list(dict.fromkeys(piece.text for pieces in conversations for piece in pieces if not piece.is_control))


def collect(
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


def encode_texts(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[Encoding]:
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


class Rendered(NamedTuple):
    """One conversation of a batch as a server encodes it."""

    number: int
    ids: list[int]
    segments: list[str]
    """Its text, cut where answers begin."""


def encode_rendered(
    tokenizer: PreTrainedTokenizerFast, format: ChatFormat, conversations: Sequence[Sequence[Piece]]
) -> list[Rendered]:
    """Encode whole conversations as a server encodes them, to compare with the encodings of their pieces.

    Conversations with a control token in a message are left out: a server reads it as that token.
    """
    controls = re.compile("|".join(map(re.escape, format.control_tokens)))
    compared = [
        (number, _segments(pieces))
        for number, pieces in enumerate(conversations)
        if not any(controls.search(piece.text) for piece in pieces if not piece.is_control)
    ]
    ids = _encode_whole(tokenizer, ["".join(segments) for _, segments in compared])
    return [Rendered(number, found, segments) for (number, segments), found in zip(compared, ids, strict=True)]


def _encode_whole(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    """Encode rendered text, in which special tokens are recognised."""
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [encoding.ids for encoding in encodings]


def _segments(pieces: Sequence[Piece]) -> list[str]:
    """A conversation's text, cut where an answer begins, because the model continues from the prompt's tokens there."""
    segments = [pieces[0].text]
    for before, piece in pairwise(pieces):
        if piece.is_target and not before.is_target:
            segments.append("")
        segments[-1] += piece.text
    return segments


def require_rendered(
    tokenizer: PreTrainedTokenizerFast, format: ChatFormat, encoded: Sequence[Encoded], rendered: Sequence[Rendered]
) -> None:
    """Refuse a tokenizer that encodes a text differently alone than within a rendered conversation.

    The encodings may differ only where one token would hold the end of a prompt and the beginning of its answer: there
    the answer is encoded by itself, because a model continues the tokens of the prompt.

    Raises:
        LwexpError: With the first token that differs.
    """
    for number, whole, segments in rendered:
        ours, theirs = encoded[number].ids.tolist(), whole
        if ours == whole:
            continue
        prompts = ["".join(segments[:count]) for count in range(1, len(segments))]
        if any(whole[: len(prompt)] != prompt for prompt in _encode_whole(tokenizer, prompts)):
            theirs = list(chain.from_iterable(_encode_whole(tokenizer, segments)))
            if ours == theirs:
                continue
        at = first_difference(ours, theirs)
        one, other = (
            repr(tokenizer.convert_ids_to_tokens(ids[at])) if at < len(ids) else "its end" for ids in (ours, theirs)
        )
        raise LwexpError(
            f"model.chat={format.kind}: tokenizer {tokenizer.name_or_path or '(in memory)'} encodes text differently "
            f"by itself than in a rendered conversation: token {at} is {one} "
            f"and {other}; choose another model.chat or another tokenizer"
        )
