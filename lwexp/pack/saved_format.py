"""The chat format of a saved tokenizer whose class is not loaded: enough of it for sampling."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lwexp.extend import ChatFormat, Piece, control, text
from lwexp.records import LwexpError, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def saved_format(tokenizer: PreTrainedTokenizerFast) -> ChatFormat:
    """A format that makes a prompt's pieces from the saved template. Which tokens carry loss is not saved.

    The template is rendered with a marker in place of each message, which is put back as text afterwards, so that no
    message can hold a control token.
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
                    f"chat format {self.kind}: a saved tokenizer knows prompts only; to train with it, load its plugin"
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
