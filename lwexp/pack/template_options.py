"""Named options of a tokenizer's own chat template, written into its text.

The text with the options is what is trained on, exported and served, so a server needs no arguments to render the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from lwexp.records import LwexpError, Message
from lwexp.text.plain import first_difference

Render = Callable[[str, Sequence[Message], bool], str]
"""Template text, messages, and whether the prompt of an answer is wanted -> the rendering."""

GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
"""The mark with which a template says where an answer begins."""

_THINK_BLOCK = re.compile(r"<think>\s*</think>\s*")
_TODAY = "lwexptoday"
_QUESTION, _ANSWER, _SECOND = "lwexpquestion", "lwexpanswer", "lwexpsecond"
_USER = (Message(role="user", content=_QUESTION),)
_BOTH = (*_USER, Message(role="assistant", content=_ANSWER))
_THREE = (*_BOTH, Message(role="user", content=_SECOND))
_SYSTEM = Message(role="system", content="lwexpsystem")


class Options(NamedTuple):
    """The settings of ``pack.formats.own.OwnTemplate`` that change the template's text."""

    default_system: str | None = None
    date: str | None = None
    enable_thinking: bool | None = None
    think_blocks: Literal["keep", "drop"] = "keep"


def with_options(source: str, options: Options, render: Render, controls: Sequence[str], bos: str | None) -> str:
    """The template's text with the options in it; the same text if no option is set.

    Args:
        source: The template's own text.
        options: What to set or leave out.
        render: Renders a text.
        controls: Tokens that only the template may write.
        bos: The tokenizer's begin token.

    Raises:
        LwexpError: If the template writes today's date and no date is set, or an option has nothing to change in it.
    """
    before = _date(source, options.date, render)
    if options.enable_thinking is not None:
        _require("enable_thinking" in source, "enable_thinking", "does not use the variable enable_thinking")
        value = str(options.enable_thinking).lower()
        before += f"{{% if enable_thinking is not defined %}}{{% set enable_thinking = {value} %}}{{% endif %}}\n"
    if options.default_system:
        written = [token for token in controls if token in options.default_system]
        _require(not written, "default_system", f"would write {''.join(written[:1])} in it as that control token")
        message = f"{{'role': 'system', 'content': {_literal(options.default_system)}}}"
        before += (
            f"{{% if messages[0]['role'] != 'system' %}}{{% set messages = [{message}] + messages %}}{{% endif %}}\n"
        )
    removed = []
    if options.default_system == "":
        block = _literal(_default_system(before + source, render, controls, bos))
        removed.append(f"replace({block}, '', 0 if messages[0]['role'] == 'system' else 1)")
    if options.think_blocks == "drop":
        found = _THINK_BLOCK.search(render(before + source, _BOTH, False) + render(before + source, _USER, True))
        _require(found is not None, "think_blocks", "writes no empty think block")
        removed += [f"replace({_literal(found[0])}, '')"] if found else []
    if not removed:
        return before + source
    _require(GENERATION.search(source) is None, "think_blocks", "marks answers with {% generation %}; edit it by hand")
    # Jinja drops the last line break of a template, but not that of a block.
    body = source.removesuffix("\n")
    return f"{before}{{% set rendered %}}{body}{{% endset %}}\n{{{{ rendered.{'.'.join(removed)} }}}}"


def _date(source: str, date: str | None, render: Render) -> str:
    """The lines that set the date. Llama's templates read ``date_string``, or ask ``strftime_now`` for it."""
    if date is None:
        is_of_the_day = "strftime_now" in source and _writes_today(_clock(_TODAY) + source, render)
        wanted = "writes the date of the day; set it, such as model.chat.date='26 Jul 2024'"
        _require(not is_of_the_day, "date", wanted)
        return ""
    set_date = "{{% if date_string is not defined %}}{{% set date_string = {} %}}{{% endif %}}\n"
    probe = set_date.format(_literal(_TODAY)) + _clock(_TODAY) + source
    _require(_writes_today(probe, render), "date", "writes no date")
    return set_date.format(_literal(date)) + _clock(date)


def _clock(date: str) -> str:
    return f"{{% macro strftime_now(format) %}}{{{{ {_literal(date)} }}}}{{% endmacro %}}\n"


def _writes_today(source: str, render: Render) -> bool:
    if _TODAY in render(source, _BOTH, False):
        return True
    try:
        return _TODAY in render(source, (_SYSTEM, *_BOTH), False)
    except LwexpError:  # some templates refuse system messages
        return False


def _default_system(source: str, render: Render, controls: Sequence[str], bos: str | None) -> str:
    """What the template writes before the first question if there is no system message."""
    pieces = re.compile("(" + "|".join(map(re.escape, sorted(controls, key=len, reverse=True))) + ")")
    after_answer = (render(source, messages, False).partition(_ANSWER)[2] for messages in (_BOTH, _THREE))
    shorter, longer = (pieces.split(rendered) for rendered in after_answer)
    same = first_difference(shorter, longer)
    while same % 2 == 0:  # a turn begins with a control token, and every second piece is one
        same += 1
    header = "".join(longer[same:]).partition(_SECOND)[0]
    block, found, _ = render(source, _USER, False).partition(header + _QUESTION)
    if bos and not header.startswith(bos):
        block = block.removeprefix(bos)
    _require(
        bool(block and header and found),
        "default_system",
        "adds no system message of its own, so there is none to leave out",
    )
    return block


def _literal(text: str) -> str:
    """A Jinja string."""
    return json.dumps(text, ensure_ascii=False)


def _require(condition: bool, option: str, problem: str) -> None:
    if not condition:
        raise LwexpError(f"model.chat.{option}: the chat template {problem}")
