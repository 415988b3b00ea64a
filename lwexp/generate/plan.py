"""AgentWrite step I: a plan text, as models really write it -> steps, or a reason why it is none.

The original takes every line for a step, so a preamble becomes a paragraph and a refusal a plan
(THUDM/LongWriter agentwrite/write.py:61 at 3fcfdff). Here a step is a label and a word count, or the plan
is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from lwexp.generate.clean import is_refusal, without_reasoning
from lwexp.records import Plan, PlanStep

_WIDE_DIGITS = str.maketrans("０１２３４５６７８９", "0123456789")
_MARKUP = re.compile(r"\*\*|__|`")
_BULLET = re.compile(r"^\s*(?:[-*+•>#|]+\s+|#+\s*)*")

_HAN_NUMBER = "[一二三四五六七八九十百零两]"
_INDEX = rf"(?:\d{{1,4}}|{_HAN_NUMBER}{{1,5}})"
_NUMBERING = r"(?:[(（]?\d{1,4}[.)）、:：]\s*)?"
# In the order of trust: where two kinds of label carry equally many word counts, the first is the plan.
_LABELS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"^{_NUMBERING}(?:(?:paragraph|para\.?)\s*#?{_INDEX}|段落\s*{_INDEX}|第\s*{_INDEX}\s*(?:段落|自然段|段))",
        rf"^{_NUMBERING}(?:(?:section|part|step|chapter|subtask)\s*#?{_INDEX}"
        rf"|(?:步骤|部分|章节|子任务)\s*{_INDEX}|第\s*{_INDEX}\s*(?:部分|章|节|步))",
        rf"^(?:[(（]?\d{{1,4}}[.)）、:：]|{_HAN_NUMBER}{{1,4}}、)",
    )
)

_NUMBER = r"(\d{1,3}(?:[,，\u00a0\u2009\u202f]\d{3})+|\d+(?:\.\d+)?)\s*(k|千)?"
_RANGE = rf"{_NUMBER}(?:\s*(?:[-–—~～－]|to|and|至|到)\s*{_NUMBER})?"
_UNIT = r"\s*-?\s*(?:words?\b|wds\b|个?汉?字(?!母|体)|词(?!语))(?:左右)?"
_NAMED_COUNT = re.compile(
    rf"(?:word\s*count|words|length|字数|篇幅)[^\d:：]{{0,24}}[:：]\s*[^\d]{{0,16}}?{_RANGE}(?:{_UNIT})?", re.IGNORECASE
)
_PLAIN_COUNT = re.compile(rf"{_RANGE}{_UNIT}", re.IGNORECASE)
_REMARK = re.compile(
    r"^\W*(?:total|in total|overall|altogether|here|below|sure|总|合计|共计|全文|以下|下面|好的)", re.IGNORECASE
)

_POINT_NAME = re.compile(r"(?:main\s*points?|main\s*idea|主要内容|主要观点|要点|内容)\s*[:：]\s*", re.IGNORECASE)
_EMPTY_BRACKETS = re.compile(r"[(（\[]\s*(?:about|around|approximately|approx\.?|约|大约)?\s*[)）\]]", re.IGNORECASE)
_EDGES = " \t~-–—－:：;；,，.。|、"


class BadPlan(NamedTuple):
    """A text that is no usable plan. ``reason`` is refusal, no_plan, no_word_count or too_many_steps."""

    reason: str
    detail: str


class _Block(NamedTuple):
    """A step's label line, and the indented or bulleted lines that belong to it."""

    head: str
    tail: tuple[str, ...]

    @property
    def words(self) -> int | None:
        """The step's word count: a named one ("Word Count: 400") before any other."""
        lines = (self.head, *self.tail)
        for pattern in (_NAMED_COUNT, _PLAIN_COUNT):
            for line in lines:
                if words := _match_words(pattern, line):
                    return words
        return None


def parse_plan(text: str, *, max_steps: int) -> Plan | BadPlan:
    """Read the steps of a plan, English or Chinese.

    Tolerates bold, bullets, numbering, a preamble and a closing remark, points and counts on lines of their
    own, ranges (their middle is taken), thousands separators and full-width digits.
    """
    text = without_reasoning(text).strip()
    lines = [_plain(line) for line in text.splitlines() if line.strip()]
    labelled = [_blocks(lines, label) for label in _LABELS]
    blocks = max(labelled, key=lambda found: sum(block.words is not None for block in found))
    if not any(block.words for block in blocks):
        blocks = [_Block(line.strip(), ()) for line in lines if not _is_remark(line)]
        blocks = [block for block in blocks if block.words]
    if not blocks:
        return _no_steps(text, labelled)
    steps = []
    for number, block in enumerate(blocks, 1):
        if not block.words:
            return BadPlan("no_word_count", f"step {number} of {len(blocks)} states no word count: {block.head[:120]}")
        steps.append(PlanStep(point=_point(block), words=block.words))
    if len(steps) > max_steps:
        return BadPlan("too_many_steps", f"{len(steps)} steps, generate.max_steps={max_steps}")
    return Plan(text=text, steps=tuple(steps))


def _no_steps(text: str, labelled: Sequence[Sequence[_Block]]) -> BadPlan:
    start = " ".join(text.split())[:120]
    if is_refusal(text):
        return BadPlan("refusal", start)
    if any(labelled):
        return BadPlan("no_word_count", f"no step states a word count: {start}")
    return BadPlan("no_plan", f"no line is a step: {start or 'the text is empty'}")


def _plain(line: str) -> str:
    """A line without markup and with plain digits; one leading space stands for indentation or a bullet."""
    line = _MARKUP.sub("", line.translate(_WIDE_DIGITS))
    bullet = _BULLET.match(line)
    assert bullet is not None
    rest = line[bullet.end() :].strip()
    return f" {rest}" if bullet.end() and "#" not in bullet[0] else rest


def _blocks(lines: Sequence[str], label: re.Pattern[str]) -> list[_Block]:
    blocks: list[_Block] = []
    for line in lines:
        bare = line.strip()
        if label.match(bare):
            blocks.append(_Block(bare, ()))
        elif blocks and not _is_remark(line) and (line.startswith(" ") or _is_field(bare)):
            blocks[-1] = blocks[-1]._replace(tail=(*blocks[-1].tail, bare))
    return blocks


def _is_field(line: str) -> bool:
    return bool(_POINT_NAME.match(line) or _NAMED_COUNT.match(line))


def _is_remark(line: str) -> bool:
    """Preambles and sums mention word counts, too."""
    return bool(_REMARK.match(line.strip())) or (line.rstrip().endswith((":", "：")) and not _is_field(line.strip()))


def _match_words(pattern: re.Pattern[str], line: str) -> int | None:
    """The last match in a line: what stands before it is more likely part of the point. A range gives its middle."""
    matches = list(pattern.finditer(line))
    if not matches:
        return None
    low, low_unit, high, high_unit = matches[-1].groups()
    if not high:
        return round(_value(low, low_unit))
    return round((_value(low, low_unit or high_unit) + _value(high, high_unit)) / 2)


def _value(digits: str, unit: str | None) -> float:
    return float(re.sub(r"[^\d.]", "", digits)) * (1000 if unit else 1)


def _point(block: _Block) -> str:
    """The main point: the block's words less label, count and names of fields."""
    label = next((found for pattern in _LABELS if (found := pattern.match(block.head))), None)
    pieces = []
    for line in (block.head[label.end() :] if label else block.head, *block.tail):
        counts = list(_NAMED_COUNT.finditer(line)) or list(_PLAIN_COUNT.finditer(line))
        if counts:
            line = line[: counts[-1].start()] + line[counts[-1].end() :]
        line = _EMPTY_BRACKETS.sub("", _POINT_NAME.sub("", line)).strip(_EDGES)
        if line:
            pieces.append(line)
    return "; ".join(pieces) or block.head
