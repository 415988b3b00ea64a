"""The chat format of the released LongWriter-Llama."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from lwexp.extend import ChatFormat, Piece, control, register, text
from lwexp.records import Message


@register
class LongWriterLlama(ChatFormat):
    """The format of the released LongWriter-Llama-3.1-8B: ``[INST]`` question ``[/INST]`` answer ``<|end_of_text|>``.

    There is only one begin token. The brackets are ordinary text, so a message that contains them can imitate a
    turn. In the other formats this is not possible.

    Source: THUDM/LongWriter train/pre_tokenize_llama3.py. There every turn goes through a tokenizer that may add
        a begin token, which then becomes the first target of an answer, and only the last of several answers is
        followed by its end token in the input; here every answer is.
    """

    kind: Literal["longwriter_llama"] = "longwriter_llama"

    control_tokens: ClassVar = ("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>")
    stop_tokens: ClassVar = ("<|end_of_text|>",)
    bos_token: ClassVar = "<|begin_of_text|>"
    eos_token: ClassVar = "<|end_of_text|>"
    pad_token: ClassVar = "<|finetune_right_pad_id|>"
    template: ClassVar = (
        "<|begin_of_text|>"
        "{% for message in messages %}"
        "{% if message['role'] == 'system' %}{{ '<<SYS>>\\n' }}{{ message['content'] }}{{ '\\n<</SYS>>\\n\\n' }}"
        "{% elif message['role'] == 'user' %}[INST]{{ message['content'] }}[/INST]"
        "{% else %}{{ message['content'] }}<|end_of_text|>{% endif %}{% endfor %}"
    )

    def pieces(self, messages: Sequence[Message]) -> Iterator[Piece]:
        yield control("<|begin_of_text|>")
        before = ""
        for message in messages:
            if message.role == "system":
                before = f"<<SYS>>\n{message.content}\n<</SYS>>\n\n"
            elif message.role == "user":
                yield text(f"{before}[INST]{message.content}[/INST]")
                before = ""
            else:
                yield text(message.content, is_target=True)
                yield control("<|end_of_text|>", is_target=True)
