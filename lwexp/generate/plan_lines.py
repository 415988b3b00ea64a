"""Splits a plan into lines and finds its steps: where each begins, its word count and its main point."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from lwexp.text.stated_lengths import COUNT, GAP, START, UNIT, Count, count_of

# Full-width digits, and the spaces and invisible characters that web pages leave in text.
_PLAIN_SIGNS = str.maketrans("０１２３４５６７８９\u3000", "0123456789 ", "\u200b\u200c\u200d\u2060\ufeff")
_MARKUP = re.compile(r"\*\*|__|`")
_BULLET = re.compile(r"^\s*(?:[-*+•>#|]+\s+|#+\s*)*")
_FENCE = re.compile(r"^[^\S\n]*```[\w-]*[^\S\n]*$", re.MULTILINE)

# Columns of a table, or keys of JSON objects.
_TABLE_RULE = re.compile(r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)+\|?\s*$")
_COUNT_COLUMN = re.compile(r"word|length|字数|篇幅", re.IGNORECASE)
_NUMBER_COLUMN = re.compile(
    r"^\W*(?:#|no\.?|number|id|index|(?:paragraph|section|step|part|chapter)(?:[_\s]*(?:number|no\.?|id))?|段落?|序号|编号|部分|章节)?\W*$",
    re.IGNORECASE,
)
_TOTAL_ROW = re.compile(r"^\W*(?:total|sum|overall|合计|总计|总|共计)", re.IGNORECASE)

_SPELLED = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv", "xv")
_HAN = "一二三四五六七八九十"
_INDEX = rf"(?:\d{{1,4}}|[{_HAN}百零两]{{1,5}}|(?:{'|'.join(_SPELLED)})\b)"
_ANY_INDEX = re.compile(rf"{_INDEX}|[IVX]+", re.IGNORECASE)


def _label(english: str, chinese: str, counted: str) -> str:
    """Labels such as "Section 3", "部分三" or "第三章", perhaps with a list number in front."""
    numbering = r"(?:[(（]?\d{1,4}[.)）、:：]\s*)?"
    return rf"^{numbering}(?:(?:{english})\s*#?{_INDEX}|(?:{chinese})\s*{_INDEX}|第\s*{_INDEX}\s*(?:{counted}))"


# Most reliable first: if two kinds of label have equally many word counts, the first kind wins.
_LABELS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        _label(r"paragraph|para\.?", "段落", "段落|自然段|段"),
        _label("section|part|step|chapter|scene|subtask", "步骤|部分|章节|子任务", "部分|章|节|步|幕"),
        rf"^(?:[(（]?\d{{1,4}}[.)）、:：]|[{_HAN}]{{1,3}}、|[(（][{_HAN}]{{1,3}}[)）]|[IVX]{{1,5}}[.)](?=\s))",
    )
)

_NO_OTHER_UNIT = r"(?!\s*(?:sentences?|lines?|pages?|minutes?|paragraphs?|%|句|行|页|段|分钟))(?![\d%])"
_OR_SO = "(?:左右|上下|以上|以内)?"
_COUNT_NAME = r"(?:word\s*(?:count|target|limit)|words|(?:target\s*)?length|字数|篇幅)"
_NAMED_COUNT = re.compile(
    rf"{_COUNT_NAME}[^\d:：]{{0,24}}[:：]{GAP}[^\d]{{0,16}}?{COUNT}(?:{UNIT}{_OR_SO}|{_NO_OTHER_UNIT})",
    re.IGNORECASE,
)
_COUNT_IN_BRACKETS = re.compile(rf"[(（\[][^()（）\[\]]*?{START}{COUNT}{UNIT}[^()（）\[\]]*+[)）\]]", re.IGNORECASE)
_PLAIN_COUNT = re.compile(rf"{START}{COUNT}{UNIT}{_OR_SO}", re.IGNORECASE)
_REMARK = re.compile(
    r"^\W*(?:total|in total|overall|altogether|here|below|sure|总|合计|共计|全文|以下|以上|下面|好的)", re.IGNORECASE
)

# What is left of a line when its count is cut out.
_POINT_NAME = re.compile(
    r"(?:main\s*points?|main\s*idea|focus|topic|主要内容|主要观点|要点|内容)\s*[:：]\s*", re.IGNORECASE
)
_EMPTY_BRACKETS = re.compile(
    r"[(（\[]\s*+(?:about|around|approximately|approx\.?|word\s*+count|字数|约|大约)?\s*+[:：]?\s*+[)）\]]",
    re.IGNORECASE,
)
_LEFT_OF_A_COUNT = re.compile(
    r"(?<![-–—,，;；|\s])[-–—,，;；|\s]*+(?:about|around|roughly|约|大约|不少于)?\s*$", re.IGNORECASE
)
_EDGES = " \t~-–—－:：;；,，.。|、"


class Step(NamedTuple):
    """A step's label line, and the indented or bulleted lines that belong to it."""

    head: str
    tail: tuple[str, ...] = ()
    number: int | None = None
    after_heading: bool = False  # it follows a heading of another kind, so its number may start over

    @property
    def word_count(self) -> Count | None:
        """The step's word count: preferably a named one ("Word Count: 400"), then one in brackets, then any other."""
        for pattern in (_NAMED_COUNT, _COUNT_IN_BRACKETS, _PLAIN_COUNT):
            for line in (self.head, *self.tail):
                # Take the last match of a line; earlier ones are more likely part of the point.
                if matches := list(pattern.finditer(line)):
                    count = count_of(matches[-1]["low"], matches[-1]["high"])
                    if count.words:
                        return count
        return None

    @property
    def point(self) -> str:
        """The main point: the step's text without its label, its count and the names of fields."""
        label = _match_label(self.head)
        pieces = []
        for line in (self.head[label.end() :] if label else self.head, *self.tail):
            if counts := list(_NAMED_COUNT.finditer(line)) or list(_PLAIN_COUNT.finditer(line)):
                before = _LEFT_OF_A_COUNT.sub("", line[: counts[-1].start()])
                line = before + " " * bool(before and before[-1].isascii()) + line[counts[-1].end() :]
            pieces.append(_EMPTY_BRACKETS.sub("", _POINT_NAME.sub("", line)).strip(_EDGES))
        return "; ".join(piece for piece in pieces if piece) or self.head


def find_steps(text: str) -> list[Step]:
    """The steps, by the kind of label that has most word counts; without labels, each line with a count."""
    lines = list(_plain_lines(text))
    labelled = [_labelled(lines, kind) for kind in _LABELS]
    most = max(labelled, key=lambda steps: sum(step.word_count is not None for step in steps))
    if any(step.word_count for step in most):
        return most
    counted = [step for line in lines if not _is_remark(line) and (step := Step(line.strip())).word_count]
    # Labels without any count are still a plan; it is refused as a plan without word counts.
    return counted or next((steps for steps in labelled if steps), [])


def _labelled(lines: Sequence[str], kind: re.Pattern[str]) -> list[Step]:
    steps: list[Step] = []
    has_heading = False
    for line in lines:
        bare = line.strip()
        if label := kind.match(bare):
            steps.append(Step(bare, (), _number(label[0]), has_heading))
            has_heading = False
        elif _match_label(bare):
            has_heading = True
        elif steps and not _is_remark(line) and (line.startswith(" ") or _is_field(bare)):
            steps[-1] = steps[-1]._replace(tail=(*steps[-1].tail, bare))
    return steps


def _match_label(line: str) -> re.Match[str] | None:
    return next((found for kind in _LABELS if (found := kind.match(line))), None)


def _number(label: str) -> int | None:
    index: str = _ANY_INDEX.findall(label)[-1].lower()
    for names in (_SPELLED, _ROMAN):
        if index in names:
            return names.index(index) + 1
    return count_of(index, None).words


def _is_field(line: str) -> bool:
    return bool(_POINT_NAME.match(line) or _NAMED_COUNT.match(line))


def _is_remark(line: str) -> bool:
    """Whether the line is a preamble or a total, which also mention word counts."""
    return bool(_REMARK.match(line.strip())) or (line.rstrip().endswith((":", "：")) and not _is_field(line.strip()))


def _plain_lines(text: str) -> Iterator[str]:
    """Lines without markup and with ASCII digits; a leading space marks indentation or a bullet."""
    bare = _FENCE.sub("", text).strip()
    lines = _json_lines(bare) if bare.startswith(("[", "{")) else []
    for line in lines or _without_tables(bare.splitlines()):
        line = _MARKUP.sub("", line.translate(_PLAIN_SIGNS))
        bullet = _BULLET.match(line)
        assert bullet is not None
        if rest := line[bullet.end() :].strip():
            yield f" {rest}" if bullet.end() and "#" not in bullet[0] else rest


def _json_lines(text: str) -> list[str]:
    """One line for each object of the first list of objects in the text."""
    import json_repair

    rows = next(_lists_of_objects(json_repair.loads(text)), [])
    return [_row_line(number, row.items()) for number, row in enumerate(rows, 1)]


def _lists_of_objects(value: Any) -> Iterator[list[dict[str, Any]]]:
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _lists_of_objects(item)


def _without_tables(lines: Sequence[str]) -> Iterator[str]:
    """The lines, with each row of a table (header, rule, rows) turned into one line."""
    header: list[str] = []
    number = 0
    for line, following in zip_longest(lines, lines[1:], fillvalue=""):
        cells = [cell.strip() for cell in line.strip().strip("|").replace("**", "").split("|")]
        if "|" not in line:
            header = []
            yield line
        elif _TABLE_RULE.match(following):
            header = cells
        elif not header:
            yield line
        elif any(cells) and not _TABLE_RULE.match(line) and not any(_TOTAL_ROW.match(cell) for cell in cells[:2]):
            number += 1
            yield _row_line(number, zip(header, cells, strict=False))


def _row_line(number: int, row: Iterable[tuple[str, Any]]) -> str:
    """A table row as a step in the paper's form."""
    count, points = None, []
    for name, value in row:
        if _COUNT_COLUMN.search(name):
            count = value if count is None else count
        elif isinstance(value, str) and value and not _NUMBER_COLUMN.match(name):
            points.append(value)
    line = f"Paragraph {number} - Main Point: {': '.join(points) or '(no point given)'}"
    return line if count in (None, "") else f"{line} - Word Count: {count}"
