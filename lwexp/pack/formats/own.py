"""The chat template that comes with a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from lwexp.extend import ChatFormat, Piece, register
from lwexp.pack.template import ChatTemplate
from lwexp.records import LwexpError, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@register
class OwnTemplate(ChatFormat):
    """The tokenizer's own Jinja template: what is trained is what transformers and vLLM render for the model."""

    kind: Literal["own"] = "own"

    # Known only once there is a tokenizer.
    control_tokens: ClassVar[tuple[str, ...]] = ()
    stop_tokens: ClassVar[tuple[str, ...]] = ()
    eos_token: ClassVar[str] = ""
    pad_token: ClassVar[str] = ""
    template: ClassVar[str] = ""
    is_checked: ClassVar[bool] = True

    def bind(self, tokenizer: PreTrainedTokenizerFast) -> ChatFormat:
        """This format with the template, the control tokens and the ends of a tokenizer.

        Raises:
            LwexpError: If the tokenizer has no template, or one that cannot be trained on.
        """
        saved, where = tokenizer.init_kwargs, tokenizer.name_or_path or "(in memory)"
        if saved.get("lwexp_chat") == self.kind:
            stops = list(saved["lwexp_stop_tokens"])
            found = ChatTemplate(tokenizer, str(tokenizer.chat_template), saved["lwexp_control_tokens"], stops[0])
        else:
            try:
                source = str(tokenizer.get_chat_template())
            except ValueError:
                raise LwexpError(
                    f"model.chat=own: tokenizer {where} has no chat template; set model.chat to a format of lwexp"
                ) from None
            found = ChatTemplate(tokenizer, source)
            stops = [found.end, *_further_stops(tokenizer, found.end)]
        return _bound(self, tokenizer, found, stops)


def _bound(
    settings: OwnTemplate, tokenizer: PreTrainedTokenizerFast, found: ChatTemplate, stops: list[str]
) -> ChatFormat:
    class Bound(OwnTemplate):
        control_tokens = found.controls
        stop_tokens = tuple(stops)
        bos_token = tokenizer.bos_token
        eos_token = str(tokenizer.eos_token or found.end)
        pad_token = str(tokenizer.pad_token or tokenizer.eos_token or found.end)
        template = found.source

        @property
        def identity(self) -> str:
            return f"{self.model_dump_json()}\n{found.source}"

        def pieces(self, messages: Sequence[Message]) -> Iterator[Piece]:
            is_whole = messages[-1].role == "assistant"
            yield from found.conversation(messages, "all") if is_whole else found.prompt(messages)

        def document(self, messages: Sequence[Message], answers: Literal["all", "last"]) -> list[Piece]:
            return found.conversation(messages, answers)

    return Bound.model_validate(settings.model_dump())


def _further_stops(tokenizer: PreTrainedTokenizerFast, end: str) -> list[str]:
    """The other tokens at which servers stop: the tokenizer's end token, and those of generation_config.json."""
    names = [str(tokenizer.eos_token)] if tokenizer.eos_token else []
    file = Path(tokenizer.name_or_path or "") / "generation_config.json"
    if file.is_file():
        ids = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id") or []
        found = tokenizer.convert_ids_to_tokens(ids if isinstance(ids, list) else [ids])
        names += [name for name in found if name is not None]
    return [name for name in dict.fromkeys(names) if name != end]
