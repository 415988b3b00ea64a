"""GLM-4's chat format."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from lwexp.extend import ChatFormat, Piece, control, register, text
from lwexp.records import Message


@register
class Glm4(ChatFormat):
    """GLM-4: an answer ends with the next role token or ``<|endoftext|>``; that token is a target too.

    Source: THUDM/LongWriter train/pre_tokenize_glm4.py at 3fcfdff, for the targets. The original encodes the newline
        separately from the text; here they are one string, which differs only for a message that starts with a line
        break.
    """

    kind: Literal["glm4"] = "glm4"

    control_tokens: ClassVar = (
        "[gMASK]", "<sop>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>",
    )  # fmt: skip
    stop_tokens: ClassVar = ("<|endoftext|>", "<|user|>", "<|observation|>")
    eos_token: ClassVar = "<|endoftext|>"
    pad_token: ClassVar = "<|endoftext|>"
    template: ClassVar = (
        "[gMASK]<sop>"
        "{% for message in messages %}<|{{ message['role'] }}|>{{ '\\n' }}{{ message['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>"
        "{% elif messages[-1]['role'] == 'assistant' %}<|endoftext|>{% endif %}"
    )
    generation: ClassVar = (control("<|assistant|>"),)

    def pieces(self, messages: Sequence[Message]) -> Iterator[Piece]:
        yield control("[gMASK]")
        yield control("<sop>")
        answered = False
        for message in messages:
            yield control(f"<|{message.role}|>", is_target=answered)
            answered = message.role == "assistant"
            yield text("\n" + message.content, is_target=answered)
        if answered:
            yield control("<|endoftext|>", is_target=True)
