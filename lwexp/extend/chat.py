"""Chat formats: how messages become pieces of text, and which pieces carry loss.

A control piece is one special token. Whether a piece is a target is known when it is built; no markers are searched for
in the tokens afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from lwexp.extend.registry import Registry
from lwexp.extend.settings import Strict
from lwexp.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Piece(NamedTuple):
    """A stretch of a conversation that is encoded in one go."""

    text: str
    is_control: bool
    is_target: bool


@functools.cache  # a handful of tokens that occur in every document
def control(token: str, *, is_target: bool = False) -> Piece:
    """One special token."""
    return Piece(token, True, is_target)


def text(content: str, *, is_target: bool = False) -> Piece:
    """Text, in which special tokens are not recognised."""
    return Piece(content, False, is_target)


class ChatFormat(Strict):
    """One way of writing messages as tokens."""

    kind: str = ""
    """Name in YAML and in the saved tokenizer."""

    control_tokens: ClassVar[tuple[str, ...]]
    """Special tokens that a tokenizer needs for this format."""
    stop_tokens: ClassVar[tuple[str, ...]]
    """A generated answer ends before the first of these."""
    bos_token: ClassVar[str | None] = None
    eos_token: ClassVar[str]
    pad_token: ClassVar[str]
    template: ClassVar[str]
    """Jinja, for ``tokenizer.apply_chat_template``: the same text as the pieces, joined."""
    generation: ClassVar[tuple[Piece, ...]] = ()
    """Pieces after the prompt that start the assistant's turn."""
    is_own: ClassVar[bool] = False
    """Whether the format is the tokenizer's own template. Then the template is not replaced, and the tokens of every
    conversation are compared with the tokenizer's own encoding of the rendered text."""

    @property
    def identity(self) -> str:
        """Everything about the format that shapes tokens; part of the fingerprint of packs."""
        return self.kind

    def bind(self, tokenizer: PreTrainedTokenizerFast) -> ChatFormat:
        """The format for one tokenizer; most formats are the same for all tokenizers."""
        return self

    def pieces(self, messages: Sequence[Message]) -> Iterator[Piece]:
        """A conversation, including begin and closing tokens. It must begin with the pieces of its prompt."""
        raise NotImplementedError

    def document(self, messages: Sequence[Message], answers: Literal["all", "last"]) -> list[Piece]:
        """The pieces of a conversation to train on, checked to begin with the pieces of its prompt.

        Args:
            messages: In turns that end with an answer.
            answers: Which answers are targets: all but those of weight 0, or the last one.
        """
        pieces = list(self.pieces(messages))
        prompt = [*self.pieces(messages[:-1]), *self.generation]
        for place, piece in enumerate(prompt):
            assert piece.text == pieces[place].text, f"a {self.kind} conversation does not begin with its prompt"
        if answers == "last":
            return [piece._replace(is_target=False) for piece in prompt] + pieces[len(prompt) :]
        for index, message in enumerate(messages):
            if message.weight == 0:
                # An answer's pieces follow those of its prompt; its end token may be the next message's first piece.
                start = len([*self.pieces(messages[:index]), *self.generation])
                stop = len(list(self.pieces(messages[: index + 1])))
                pieces[start:stop] = [piece._replace(is_target=False) for piece in pieces[start:stop]]
        return pieces

    def stop_ids(self, tokenizer: PreTrainedTokenizerFast) -> list[int]:
        """Ids of the stop tokens."""
        return [control_id(tokenizer, token) for token in self.stop_tokens]


def control_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """Id of a special token."""
    found = tokenizer.backend_tokenizer.token_to_id(token)
    assert found is not None, token  # load_tokenizer and train_tokenizer guarantee it
    return int(found)


CHAT_FORMATS: Registry[ChatFormat] = Registry("chat format", ChatFormat, ("lwexp.pack.formats",))
