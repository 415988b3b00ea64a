"""A tokenizer's own chat template: transformers renders conversations, and lwexp finds the answers in the result.

An answer begins where a server's prompt ends, and ends with the special token that the template writes after it. Both
places are found by rendering only the beginning of a conversation and comparing it with the whole conversation.

A special token inside a message is replaced by a placeholder before rendering and put back as text afterwards, so only
the template itself can write control tokens.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from lwexp.extend import Piece, control, text
from lwexp.pack.template_options import GENERATION
from lwexp.records import LwexpError, Message
from lwexp.text.plain import first_difference

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_TAG = re.compile(r"</?\w+>")
_BRACKETED = re.compile(r"<\S+>|\[\S+\]")
_OPEN, _CLOSE = "\ue000", "\ue001"  # around the number of a replaced token; private-use characters are in no template
_SHOWN = 40
_NO_SYSTEM = (
    "move the system message into the first question of such rows, or set model.chat to a format with system messages "
    "(chatml, glm4, llama31)"
)

QUESTION, ANSWER = "lwexpquestion", "lwexpanswer"
_PROBE = (Message(role="user", content=QUESTION), Message(role="assistant", content=ANSWER))


class Span(NamedTuple):
    """Where a trained answer is in a rendered conversation: characters from ``start`` up to ``stop``."""

    start: int
    stop: int


def own_template(tokenizer: PreTrainedTokenizerFast) -> str | None:
    """The template that came with a tokenizer, the default one if there are several; None if there is none."""
    try:
        return str(tokenizer.get_chat_template())
    except ValueError:
        return None


def render(tokenizer: PreTrainedTokenizerFast, source: str, messages: Sequence[Message], prompt: bool) -> str:
    """A conversation, or the prompt of its next answer, as transformers renders a template's text.

    Raises:
        LwexpError: If the template fails or refuses.
    """
    import jinja2

    def rendered(messages: Sequence[Message]) -> str:
        return str(
            tokenizer.apply_chat_template(
                [message.model_dump() for message in messages],
                chat_template=source, tokenize=False, add_generation_prompt=prompt,
            )
        )  # fmt: skip

    try:
        return rendered(messages)
    except (jinja2.TemplateError, TypeError) as error:
        roles = ", ".join(message.role for message in messages)
        fix = "fix or drop such rows, or choose another model.chat"
        if messages[0].role == "system":
            with contextlib.suppress(jinja2.TemplateError, TypeError):
                rendered(messages[1:])
                fix = _NO_SYSTEM
        name = tokenizer.name_or_path or "(in memory)"
        raise LwexpError(f"the chat template of {name} fails on messages of {roles}: {error}; {fix}") from None


class ChatTemplate:
    """A template with the tokenizer whose special tokens it writes.

    Args:
        tokenizer: Gives the special tokens and the renderer.
        source: The template's text.
        controls: Tokens that only the template may write; None finds them.
        end: The token after an answer; None finds it.

    Raises:
        LwexpError: If the template cannot be trained on: it fails on a question and an answer, drops or changes the
            answer, writes no special token after it, or does not begin the conversation with its prompt.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        source: str,
        controls: Sequence[str] | None = None,
        end: str | None = None,
    ) -> None:
        self.source = source
        self.has_marks = GENERATION.search(source) is not None
        self._tokenizer = tokenizer
        self._name = tokenizer.name_or_path or "(in memory)"
        self.controls = tuple(controls) if controls is not None else self._find_controls()
        longest_first = sorted(self.controls, key=len, reverse=True)
        self._escaped = [*longest_first, _OPEN]
        self._in_content = re.compile("|".join(map(re.escape, self._escaped)))
        self._in_rendered = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
        self._placeholder = re.compile(f"{_OPEN}(\\d+){_CLOSE}")
        added = {str(token): token for token in tokenizer.added_tokens_decoder.values()}
        self._eats_before = {name for name in self.controls if name in added and added[name].lstrip}
        self._eats_after = {name for name in self.controls if name in added and added[name].rstrip}
        self.end = end if end is not None else self._find_end()

    def prompt(self, messages: Sequence[Message]) -> list[Piece]:
        """The pieces of what a server gives the model before its answer to the last message."""
        return list(self._split(self._render(self._escape(messages), prompt=True), ()))

    def conversation(self, messages: Sequence[Message], answers: Literal["all", "last"]) -> list[Piece]:
        """The pieces of a whole conversation. All answers, or the last one, are targets, unless they have weight 0.

        Raises:
            LwexpError: If a beginning of the conversation is rendered differently alone than within the whole, or no
                answer is a target.
        """
        escaped = self._escape(messages)
        whole = self._render(escaped)
        numbers = [number for number, message in enumerate(messages) if message.role == "assistant"]
        chosen = numbers if answers == "all" else numbers[-1:]
        trained = [number for number in chosen if messages[number].weight is None]
        if not trained:
            raise LwexpError(f"message {chosen[-1] + 1} has weight 0, and no other answer is trained on")
        starts = [self._start(whole, escaped, number) for number in trained]
        if self.has_marks:
            spans = self._marked(whole, escaped, trained, starts)
        else:
            places = zip(trained, starts, strict=True)
            spans = [Span(start, self._stop(whole, escaped, number, start)) for number, start in places]
        return list(self._split(whole, spans))

    def _escape(self, messages: Sequence[Message]) -> list[Message]:
        def placeholder(found: re.Match[str]) -> str:
            return f"{_OPEN}{self._escaped.index(found[0])}{_CLOSE}"

        return [m.model_copy(update={"content": self._in_content.sub(placeholder, m.content)}) for m in messages]

    def _render(self, messages: Sequence[Message], *, prompt: bool = False) -> str:
        return render(self._tokenizer, self.source, messages, prompt)

    def _start(self, whole: str, messages: Sequence[Message], number: int) -> int:
        """Where the answer begins: after the prompt that a server would give."""
        prompt = self._render(messages[:number], prompt=True)
        self._require_beginning(whole, prompt, f"the prompt of message {number + 1}", messages)
        return len(prompt)

    def _stop(self, whole: str, messages: Sequence[Message], number: int, start: int) -> int:
        """Where the answer ends, after its end token; the answer must be rendered as if nothing followed it."""
        until = whole if number + 1 == len(messages) else self._render(messages[: number + 1])
        place = until.find(self.end, start)
        if place < 0:
            raise LwexpError(self._broken(f"message {number + 1} has no {self.end} after it", messages))
        stop = place + len(self.end)
        self._require_beginning(
            whole, until[:stop], f"message {number + 1} as the last one", messages,
            fix="set model.chat.answers=last, model.chat.think_blocks=drop if it is an empty think block, or drop such "
            "rows",
        )  # fmt: skip
        return stop

    def _marked(
        self, whole: str, messages: Sequence[Message], trained: Sequence[int], starts: Sequence[int]
    ) -> list[Span]:
        """The spans inside the template's ``{% generation %}`` marks, from where the prompts end.

        A mark may begin earlier: SmolLM3's includes the header, which a server gives with the prompt.
        """
        from transformers.utils.chat_template_utils import render_jinja_template

        rendered, marks = render_jinja_template(
            [[message.model_dump() for message in messages]], chat_template=self.source,
            return_assistant_tokens_mask=True, **self._tokenizer.special_tokens_map,
        )  # fmt: skip
        assert rendered[0] == whole, self._name
        spans = [Span(*mark) for mark in marks[0]]
        answers = []
        for number, start in zip(trained, starts, strict=True):
            span = next((span for span in spans if span.start <= start < span.stop), None)
            # A mark around several messages says nothing about which of them are answers.
            if span is None or (span.start < start and span.start < len(self._render(messages[:number]))):
                problem = f"no {{% generation %}} begins where the prompt of message {number + 1} ends or at its header"
                raise LwexpError(self._broken(problem, messages))
            if self.end not in whole[start : span.stop]:
                problem = f"the {{% generation %}} of message {number + 1} does not include its {self.end}"
                raise LwexpError(self._broken(problem, messages))
            answers.append(Span(start, span.stop))
        return answers

    def _require_beginning(
        self, whole: str, part: str, what: str, messages: Sequence[Message], fix: str | None = None
    ) -> None:
        if whole.startswith(part):
            return
        at = first_difference(whole, part)
        shown = f"{part[at : at + _SHOWN]!r} instead of {whole[at : at + _SHOWN]!r}"
        raise LwexpError(self._broken(f"{what} is rendered otherwise than in the whole: {shown}", messages, fix))

    def _broken(self, problem: str, messages: Sequence[Message], fix: str | None = None) -> str:
        fix = fix or "drop such rows or choose another model.chat"
        if messages[0].role == "system" and self._can_train(messages[1:]):
            fix = _NO_SYSTEM  # Mistral's template writes it into the last question, wherever that is
        return (
            f"model.chat=own: the chat template of {self._name} cannot be trained on a conversation of "
            f"{len(messages)} messages: {problem}; {fix}"
        )

    def _can_train(self, messages: Sequence[Message]) -> bool:
        try:
            self.conversation(messages, "last")
        except LwexpError:
            return False
        return True

    def _split(self, rendered: str, spans: Sequence[Span]) -> Iterator[Piece]:
        """The rendering as pieces; special tokens that were in messages are put back as text."""
        bounds = sorted({0, len(rendered), *(place for span in spans for place in span)})
        before = ""
        for start, stop in pairwise(bounds):
            is_target = any(span.start <= start and stop <= span.stop for span in spans)
            if is_target:
                before = ""  # a server has encoded the prompt without the answer
            parts = self._in_rendered.split(rendered[start:stop])
            for number, part in enumerate(parts):
                if number % 2:
                    before = part
                    yield control(part, is_target=is_target)
                    continue
                # Some tokens swallow the white space next to them (Phi-3's role tokens).
                if before in self._eats_after:
                    part = part.lstrip()
                if number + 1 < len(parts) and parts[number + 1] in self._eats_before:
                    part = part.rstrip()
                before = "" if part else before
                if part:
                    yield text(self._placeholder.sub(self._original, part), is_target=is_target)

    def _original(self, found: re.Match[str]) -> str:
        return self._escaped[int(found[1])]

    def _find_controls(self) -> tuple[str, ...]:
        """The special tokens, and other added tokens with brackets that the template writes around messages.

        Tags such as ``<think>`` stay ordinary tokens, because an answer may write them, and so does white space, for
        which Gemma has added tokens.
        """
        framing = self._render(_PROBE) + self._render(_PROBE[:1], prompt=True)

        def is_control(name: str) -> bool:
            return name in framing and _BRACKETED.fullmatch(name) is not None and _TAG.fullmatch(name) is None

        added = self._tokenizer.added_tokens_decoder.values()
        return tuple(str(token) for token in added if token.special or is_control(str(token)))

    def _find_end(self) -> str:
        whole = self._render(_PROBE)
        if whole.count(ANSWER) != 1:
            raise LwexpError(self._broken("it drops or changes the answer", _PROBE))
        found = self._in_rendered.search(whole, whole.index(ANSWER))
        if found is None or not found[0]:  # without special tokens the pattern matches nothing, everywhere
            problem = "it writes no special token after the answer, so the model could not learn to stop"
            raise LwexpError(self._broken(problem, _PROBE))
        return found[0]
