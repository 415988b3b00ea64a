"""Llama 3.1's chat format."""

import functools
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from lwexp.extend import ChatFormat, Piece, control, register, text
from lwexp.records import Message


@functools.cache
def _header(role: str) -> tuple[Piece, ...]:
    return control("<|start_header_id|>"), text(role), control("<|end_header_id|>")


@register
class Llama31(ChatFormat):
    """Llama 3.1: every message has a header and ends with ``<|eot_id|>``, which is a target after an answer."""

    kind: Literal["llama31"] = "llama31"

    control_tokens: ClassVar = (
        "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
        "<|finetune_right_pad_id|>",
    )  # fmt: skip
    stop_tokens: ClassVar = ("<|eot_id|>", "<|end_of_text|>")
    bos_token: ClassVar = "<|begin_of_text|>"
    eos_token: ClassVar = "<|eot_id|>"
    pad_token: ClassVar = "<|finetune_right_pad_id|>"
    # Unlike Llama-3.1-Instruct's template, this one adds no date and trims nothing: messages are used unchanged.
    template: ClassVar = (
        "<|begin_of_text|>"
        "{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>{{ '\\n\\n' }}"
        "{{ message['content'] }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{{ '\\n\\n' }}{% endif %}"
    )
    generation: ClassVar = (*_header("assistant"), text("\n\n"))

    def pieces(self, messages: Sequence[Message]) -> Iterator[Piece]:
        yield control("<|begin_of_text|>")
        for message in messages:
            answered = message.role == "assistant"
            yield from _header(message.role)
            if answered:
                yield text("\n\n")
                yield text(message.content, is_target=True)
            else:
                yield text("\n\n" + message.content)
            yield control("<|eot_id|>", is_target=answered)
