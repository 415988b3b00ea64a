"""The chat template that comes with a tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from lwexp.extend import ChatFormat, Piece, register
from lwexp.pack.fitting import advice
from lwexp.pack.template import ChatTemplate, own_template, render
from lwexp.pack.template_options import Options, with_options
from lwexp.records import LwexpError, Message, parse_json
from lwexp.text.plain import first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@register
class OwnTemplate(ChatFormat):
    """The tokenizer's own Jinja template: training uses the text that transformers and vLLM render for the model.

    The settings are written into the text of the template, so the exported model is served with them.
    """

    kind: Literal["own"] = "own"
    default_system: str | None = None
    """System message of conversations that have none; null keeps the template's own, "" leaves it out."""
    date: str | None = None
    """The date that the template writes, such as "26 Jul 2024"; needed if it would write today's date (Llama 3)."""
    enable_thinking: bool | None = None
    """The template's variable of this name (Qwen3): false puts the empty think block into prompts, where it is no
    target; null leaves it unset, and the block is trained as the beginning of an answer."""
    think_blocks: Literal["keep", "drop"] = "keep"
    """drop removes empty think blocks from prompts and conversations."""
    answers: Literal["all", "last"] = "all"
    """last trains only the last answer of a conversation, if the template renders earlier ones differently (Qwen3)."""

    # Known only once there is a tokenizer.
    control_tokens: ClassVar[tuple[str, ...]] = ()
    stop_tokens: ClassVar[tuple[str, ...]] = ()
    eos_token: ClassVar[str] = ""
    pad_token: ClassVar[str] = ""
    template: ClassVar[str] = ""
    is_own: ClassVar[bool] = True

    def bind(self, tokenizer: PreTrainedTokenizerFast) -> ChatFormat:
        """This format with a tokenizer's template, control tokens and stop tokens.

        Raises:
            LwexpError: If the tokenizer has no template, or one that cannot be trained on or lacks what a setting
                changes.
        """
        saved = tokenizer.init_kwargs
        if saved.get("lwexp_chat") == self.kind:  # its template has the settings already
            stops = list(saved["lwexp_stop_tokens"])
            found = ChatTemplate(tokenizer, str(tokenizer.chat_template), saved["lwexp_control_tokens"], stops[0])
            return _bound(self, tokenizer, found, stops)
        source = own_template(tokenizer)
        if source is None:
            raise LwexpError(
                f"model.chat=own: tokenizer {tokenizer.name_or_path or '(in memory)'} has no chat template; "
                f"{advice(tokenizer)}"
            )
        found = ChatTemplate(tokenizer, source)
        options = Options(self.default_system, self.date, self.enable_thinking, self.think_blocks)
        changed = with_options(source, options, partial(render, tokenizer), found.controls, tokenizer.bos_token)
        found = ChatTemplate(tokenizer, changed, found.controls)
        return _bound(self, tokenizer, found, [found.end, *_further_stops(tokenizer, found.end)])


def _bound(
    settings: OwnTemplate, tokenizer: PreTrainedTokenizerFast, found: ChatTemplate, stops: list[str]
) -> ChatFormat:
    class Bound(OwnTemplate):
        control_tokens = found.controls
        stop_tokens = tuple(stops)
        bos_token = tokenizer.bos_token
        eos_token = str(tokenizer.eos_token or found.end)
        pad_token = str(tokenizer.pad_token or "")
        template = found.source

        @property
        def identity(self) -> str:
            return f"{self.model_dump_json()}\n{found.source}"

        def pieces(self, messages: Sequence[Message]) -> Iterator[Piece]:
            is_whole = messages[-1].role == "assistant"
            yield from found.conversation(messages, self.answers) if is_whole else found.prompt(messages)

        def document(self, messages: Sequence[Message], answers: Literal["all", "last"]) -> list[Piece]:
            return found.conversation(messages, "last" if self.answers == "last" else answers)

    return Bound.model_validate(settings.model_dump())


def _further_stops(tokenizer: PreTrainedTokenizerFast, end: str) -> list[str]:
    """The other tokens at which servers stop: the tokenizer's end token, and those of generation_config.json."""
    names = [str(tokenizer.eos_token)] if tokenizer.eos_token else []
    file = Path(tokenizer.name_or_path or "") / "generation_config.json"
    if file.is_file():
        try:
            ids = parse_json(file.read_text(encoding="utf-8")).get("eos_token_id") or []
        except (OSError, ValueError, AttributeError) as error:
            raise LwexpError(f"{file}: cannot be read ({first_line(error)}); copy the model's folder again") from None
        found = tokenizer.convert_ids_to_tokens(ids if isinstance(ids, list) else [ids])
        names += [name for name in found if name is not None]
    return [name for name in dict.fromkeys(names) if name != end]
