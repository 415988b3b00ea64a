"""The lines of a plan: which of them begin a step, what they count, what they say."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from lwexp.text.stated_lengths import COUNT, UNIT, Count, count_of

# Full-width digits, and the spaces and invisible signs that come with text from web pages.
_PLAIN_SIGNS = str.maketrans("０１２３４５６７８９\u3000", "0123456789 ", "\u200b\u200c\u200d\u2060\ufeff")
_MARKUP = re.compile(r"\*\*|__|`")
_BULLET = re.compile(r"^\s*(?:[-*+•>#|]+\s+|#+\s*)*")

_HAN = "一二三四五六七八九十"
_SPELLED = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII", "XIV", "XV")
_INDEX = rf"(?P<index>\d{{1,4}}|[{_HAN}百零两]{{1,5}}|(?:{'|'.join(_SPELLED)})\b)"
_NUMBERING = r"(?:[(（]?\d{1,4}[.)）、:：]\s*)?"
# In the order of trust: where two kinds of label carry equally many word counts, the first is the plan.
_LABELS = tuple(
    tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)
    for patterns in (
        (
            rf"^{_NUMBERING}(?:paragraph|para\.?)\s*#?{_INDEX}",
            rf"^{_NUMBERING}段落\s*{_INDEX}",
            rf"^{_NUMBERING}第\s*{_INDEX}\s*(?:段落|自然段|段)",
        ),
        (
            rf"^{_NUMBERING}(?:section|part|step|chapter|scene|subtask)\s*#?{_INDEX}",
            rf"^{_NUMBERING}(?:步骤|部分|章节|子任务)\s*{_INDEX}",
            rf"^{_NUMBERING}第\s*{_INDEX}\s*(?:部分|章|节|步|幕)",
        ),
        (
            r"^[(（]?(?P<index>\d{1,4})[.)）、:：]",
            rf"^(?:(?P<index>[{_HAN}]{{1,3}})、|[(（](?P<index2>[{_HAN}]{{1,3}})[)）])",
            r"^(?P<index>[IVX]{1,5})[.)](?=\s)",
        ),
    )
)

_START = r"(?<![\dA-Za-z第零〇一二两三四五六七八九十百千万])(?<!\d[.,])"
_OTHER_UNIT = r"(?!\s*(?:sentences?|lines?|pages?|minutes?|paragraphs?|%|句|行|页|段|分钟))(?![\d%])"
_OR_SO = "(?:左右|上下|以上|以内)?"
_COUNT_NAME = r"(?:word\s*(?:count|target|limit)|words|(?:target\s*)?length|字数|篇幅)"
_NAMED_COUNT = re.compile(
    rf"{_COUNT_NAME}[^\d:：]{{0,24}}[:：]\s*[^\d]{{0,16}}?{COUNT}(?:{UNIT}{_OR_SO}|{_OTHER_UNIT})", re.IGNORECASE
)
_PLAIN_COUNT = re.compile(rf"{_START}{COUNT}{UNIT}{_OR_SO}", re.IGNORECASE)
_IN_BRACKETS = re.compile(rf"[(（\[][^()（）\[\]]*?{COUNT}{UNIT}[^()（）\[\]]*[)）\]]", re.IGNORECASE)
_REMARK = re.compile(
    r"^\W*(?:total|in total|overall|altogether|here|below|sure|总|合计|共计|全文|以下|以上|下面|好的)", re.IGNORECASE
)

_POINT_NAME = re.compile(
    r"(?:main\s*points?|main\s*idea|focus|topic|主要内容|主要观点|要点|内容)\s*[:：]\s*", re.IGNORECASE
)
_EMPTY_BRACKETS = re.compile(
    r"[(（\[]\s*(?:about|around|approximately|approx\.?|word\s*count|字数|约|大约)?\s*[:：]?\s*[)）\]]", re.IGNORECASE
)
_LEFT_OF_A_COUNT = re.compile(r"(?:[-–—,，;；|]|\s)*(?:about|around|roughly|约|大约|不少于)?\s*$", re.IGNORECASE)
_EDGES = " \t~-–—－:：;；,，.。|、"


class Block(NamedTuple):
    """A step's label line, and the indented or bulleted lines that belong to it."""

    head: str
    tail: tuple[str, ...]
    number: int | None
    after_heading: bool  # a heading of another kind stands before it, so its number may start over

    @property
    def stated(self) -> Count | None:
        """The step's word count: a named one ("Word Count: 400") before one in brackets before any other."""
        for pattern in (_NAMED_COUNT, _IN_BRACKETS, _PLAIN_COUNT):
            for line in (self.head, *self.tail):
                # The last match of a line: what stands before it is more likely part of the point.
                if matches := list(pattern.finditer(line)):
                    count = count_of(matches[-1]["low"], matches[-1]["high"])
                    if count.words:
                        return count
        return None

    @property
    def point(self) -> str:
        """The main point: the block's words less label, count and names of fields."""
        label = _match_label(self.head)
        pieces = []
        for line in (self.head[label.end() :] if label else self.head, *self.tail):
            counts = list(_NAMED_COUNT.finditer(line)) or list(_PLAIN_COUNT.finditer(line))
            if counts:
                before = _LEFT_OF_A_COUNT.sub("", line[: counts[-1].start()])
                line = before + " " * bool(before and before[-1].isascii()) + line[counts[-1].end() :]
            line = _EMPTY_BRACKETS.sub("", _POINT_NAME.sub("", line)).strip(_EDGES)
            if line:
                pieces.append(line)
        return "; ".join(pieces) or self.head


def plain_lines(text: str) -> list[str]:
    """Lines without markup and with plain digits; one leading space stands for indentation or a bullet."""
    lines = []
    for line in text.translate(_PLAIN_SIGNS).splitlines():
        line = _MARKUP.sub("", line)
        bullet = _BULLET.match(line)
        assert bullet is not None
        rest = line[bullet.end() :].strip()
        if rest:
            lines.append(f" {rest}" if bullet.end() and "#" not in bullet[0] else rest)
    return lines


def find_blocks(lines: Sequence[str]) -> list[Block]:
    """The steps by the kind of label that carries most word counts; without labels, each line with a count."""
    labelled = [_labelled(lines, kind) for kind in range(len(_LABELS))]
    blocks = max(labelled, key=lambda found: sum(block.stated is not None for block in found))
    if any(block.stated for block in blocks):
        return blocks
    bare = [Block(line.strip(), (), None, False) for line in lines if not _is_remark(line)]
    counted = [block for block in bare if block.stated]
    # Labels without a single count are a plan all the same, to be refused as one.
    return counted or next((found for found in labelled if found), [])


def _labelled(lines: Sequence[str], kind: int) -> list[Block]:
    blocks: list[Block] = []
    has_heading = False
    for line in lines:
        bare = line.strip()
        if label := _match_label(bare, kind):
            blocks.append(Block(bare, (), _number(label), has_heading))
            has_heading = False
        elif _match_label(bare):
            has_heading = True
        elif blocks and not _is_remark(line) and (line.startswith(" ") or _is_field(bare)):
            blocks[-1] = blocks[-1]._replace(tail=(*blocks[-1].tail, bare))
    return blocks


def _match_label(line: str, kind: int | None = None) -> re.Match[str] | None:
    kinds = _LABELS if kind is None else (_LABELS[kind],)
    return next((found for patterns in kinds for pattern in patterns if (found := pattern.match(line))), None)


def _number(label: re.Match[str]) -> int | None:
    groups = label.groupdict()
    index = (groups["index"] or groups.get("index2") or "").strip()
    if index.isdigit():
        return int(index)
    for names in (_SPELLED, _ROMAN):
        for number, name in enumerate(names, 1):
            if index.lower() == name.lower():
                return number
    return count_of(index, None).words


def _is_field(line: str) -> bool:
    return bool(_POINT_NAME.match(line) or _NAMED_COUNT.match(line))


def _is_remark(line: str) -> bool:
    """Preambles and sums mention word counts, too."""
    return bool(_REMARK.match(line.strip())) or (line.rstrip().endswith((":", "：")) and not _is_field(line.strip()))
