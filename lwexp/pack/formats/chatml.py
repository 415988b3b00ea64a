"""ChatML."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from lwexp.extend import ChatFormat, Piece, control, register, text
from lwexp.records import Message


@register
class ChatML(ChatFormat):
    """ChatML, as Qwen writes it: ``<|im_end|>`` is a target after an answer, the line break after it is not."""

    kind: Literal["chatml"] = "chatml"

    control_tokens: ClassVar = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
    stop_tokens: ClassVar = ("<|im_end|>", "<|endoftext|>")
    eos_token: ClassVar = "<|im_end|>"
    pad_token: ClassVar = "<|endoftext|>"
    template: ClassVar = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}{{ '\\n' }}{{ message['content'] }}<|im_end|>"
        "{{ '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{% endif %}"
    )
    generation: ClassVar = (control("<|im_start|>"), text("assistant\n"))

    def pieces(self, messages: Sequence[Message]) -> Iterator[Piece]:
        for message in messages:
            answered = message.role == "assistant"
            yield control("<|im_start|>")
            if answered:
                yield text("assistant\n")
                yield text(message.content, is_target=True)
            else:
                yield text(f"{message.role}\n{message.content}")
            yield control("<|im_end|>", is_target=answered)
            yield text("\n")
