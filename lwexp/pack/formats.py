"""Chat formats: how messages become pieces of text, and which pieces carry loss.

A control piece is one special token. Whether a piece is a target is known when it is made; nothing is searched for
in the tokens afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from lwexp.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Piece(NamedTuple):
    """A stretch of a conversation that is encoded in one go."""

    text: str
    is_control: bool
    is_target: bool


@dataclass(frozen=True)
class ChatFormat:
    """One way of writing messages as tokens."""

    name: str
    """Stands in config and in the saved tokenizer."""
    control_tokens: tuple[str, ...]
    """Special tokens that a tokenizer must have to speak this format."""
    stop_tokens: tuple[str, ...]
    """A generated answer ends before the first of these."""
    bos_token: str | None
    eos_token: str
    pad_token: str
    template: str
    """Jinja, for ``tokenizer.apply_chat_template``: the same text as the pieces, joined."""
    pieces: Callable[[Sequence[Message]], Iterator[Piece]]
    """A conversation, begin tokens and closing token included."""
    generation: tuple[Piece, ...]
    """What follows the pieces of a prompt, so that the assistant goes on."""

    def stop_ids(self, tokenizer: PreTrainedTokenizerFast) -> list[int]:
        """Ids of the stop tokens."""
        return [control_id(tokenizer, token) for token in self.stop_tokens]


def control_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """Id of a special token."""
    found = tokenizer.backend_tokenizer.token_to_id(token)
    assert found is not None, token  # load_tokenizer and train_tokenizer have seen to it
    return int(found)


@functools.cache  # a handful of them, in every document
def _control(token: str, *, is_target: bool = False) -> Piece:
    return Piece(token, True, is_target)


def _text(text: str, *, is_target: bool = False) -> Piece:
    return Piece(text, False, is_target)


def _glm4_pieces(messages: Sequence[Message]) -> Iterator[Piece]:
    """GLM-4: an answer ends where the next role token, or ``<|endoftext|>``, comes; that token is learned too.

    Source: THUDM/LongWriter train/pre_tokenize_glm4.py at 3fcfdff, for the targets. It encodes the newline apart
    from the text; here they are one string, which differs only for a message that starts with a line break.
    """
    yield _control("[gMASK]")
    yield _control("<sop>")
    answered = False
    for message in messages:
        yield _control(f"<|{message.role}|>", is_target=answered)
        answered = message.role == "assistant"
        yield _text("\n" + message.content, is_target=answered)
    if answered:
        yield _control("<|endoftext|>", is_target=True)


def _llama31_pieces(messages: Sequence[Message]) -> Iterator[Piece]:
    """Llama 3.1: every message has a header and ends with ``<|eot_id|>``, which is learned after an answer."""
    yield _control("<|begin_of_text|>")
    for message in messages:
        answered = message.role == "assistant"
        yield from _llama31_header(message.role)
        if answered:
            yield _text("\n\n")
            yield _text(message.content, is_target=True)
        else:
            yield _text("\n\n" + message.content)
        yield _control("<|eot_id|>", is_target=answered)


@functools.cache
def _llama31_header(role: str) -> tuple[Piece, ...]:
    return _control("<|start_header_id|>"), _text(role), _control("<|end_header_id|>")


def _longwriter_llama_pieces(messages: Sequence[Message]) -> Iterator[Piece]:
    """What LongWriter-Llama-3.1-8B was released with: ``[INST]`` question ``[/INST]`` answer ``<|end_of_text|>``.

    One begin token only. The brackets are ordinary text, so a message that contains them can imitate a turn; the
    other formats cannot be imitated.

    Source: THUDM/LongWriter train/pre_tokenize_llama3.py. There every turn goes through a tokenizer that may add
        a begin token of its own, which then becomes the first token an answer learns, and of several answers only
        the last is followed by its end token in the input; here each is.
    """
    yield _control("<|begin_of_text|>")
    before = ""
    for message in messages:
        if message.role == "system":
            before = f"<<SYS>>\n{message.content}\n<</SYS>>\n\n"
        elif message.role == "user":
            yield _text(f"{before}[INST]{message.content}[/INST]")
            before = ""
        else:
            yield _text(message.content, is_target=True)
            yield _control("<|end_of_text|>", is_target=True)


def _chatml_pieces(messages: Sequence[Message]) -> Iterator[Piece]:
    """ChatML, as Qwen writes it: ``<|im_end|>`` is learned after an answer, the line break behind it is not."""
    for message in messages:
        answered = message.role == "assistant"
        yield _control("<|im_start|>")
        if answered:
            yield _text("assistant\n")
            yield _text(message.content, is_target=True)
        else:
            yield _text(f"{message.role}\n{message.content}")
        yield _control("<|im_end|>", is_target=answered)
        yield _text("\n")


GLM4 = ChatFormat(
    name="glm4",
    control_tokens=(
        "[gMASK]", "<sop>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>",
    ),
    stop_tokens=("<|endoftext|>", "<|user|>", "<|observation|>"),
    bos_token=None,
    eos_token="<|endoftext|>",
    pad_token="<|endoftext|>",
    template=(
        "[gMASK]<sop>"
        "{% for message in messages %}<|{{ message['role'] }}|>{{ '\\n' }}{{ message['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>"
        "{% elif messages[-1]['role'] == 'assistant' %}<|endoftext|>{% endif %}"
    ),
    pieces=_glm4_pieces,
    generation=(_control("<|assistant|>"),),
)  # fmt: skip

LLAMA31 = ChatFormat(
    name="llama31",
    control_tokens=(
        "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
        "<|finetune_right_pad_id|>",
    ),
    stop_tokens=("<|eot_id|>", "<|end_of_text|>"),
    bos_token="<|begin_of_text|>",
    eos_token="<|eot_id|>",
    pad_token="<|finetune_right_pad_id|>",
    # Unlike the template of Llama-3.1-Instruct, no date and no trimming: what is trained is what is written.
    template=(
        "<|begin_of_text|>"
        "{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>{{ '\\n\\n' }}"
        "{{ message['content'] }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{{ '\\n\\n' }}{% endif %}"
    ),
    pieces=_llama31_pieces,
    generation=(*_llama31_header("assistant"), _text("\n\n")),
)  # fmt: skip

LONGWRITER_LLAMA = ChatFormat(
    name="longwriter_llama",
    control_tokens=("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>"),
    stop_tokens=("<|end_of_text|>",),
    bos_token="<|begin_of_text|>",
    eos_token="<|end_of_text|>",
    pad_token="<|finetune_right_pad_id|>",
    template=(
        "<|begin_of_text|>"
        "{% for message in messages %}"
        "{% if message['role'] == 'system' %}{{ '<<SYS>>\\n' }}{{ message['content'] }}{{ '\\n<</SYS>>\\n\\n' }}"
        "{% elif message['role'] == 'user' %}[INST]{{ message['content'] }}[/INST]"
        "{% else %}{{ message['content'] }}<|end_of_text|>{% endif %}{% endfor %}"
    ),
    pieces=_longwriter_llama_pieces,
    generation=(),
)

CHATML = ChatFormat(
    name="chatml",
    control_tokens=("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
    stop_tokens=("<|im_end|>", "<|endoftext|>"),
    bos_token=None,
    eos_token="<|im_end|>",
    pad_token="<|endoftext|>",
    template=(
        "{% for message in messages %}<|im_start|>{{ message['role'] }}{{ '\\n' }}{{ message['content'] }}<|im_end|>"
        "{{ '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{% endif %}"
    ),
    pieces=_chatml_pieces,
    generation=(_control("<|im_start|>"), _text("assistant\n")),
)

CHAT_FORMATS = {chat.name: chat for chat in (GLM4, LLAMA31, LONGWRITER_LLAMA, CHATML)}
