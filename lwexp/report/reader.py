"""Every answer of a report, to search and read: an index and compressed blocks, unpacked one at a time in the page.

One entry is a prompt and repeat of a bench, with the answer of every model. The page stays usable at 120 prompts
x 2 models x 20,000 words because a text is unpacked only when it is opened or searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from lwexp.pages.packed import pack, pack_text, spelled_out
from lwexp.report.diagnostics import signs
from lwexp.report.findings import Row
from lwexp.report.samples import cut_middle
from lwexp.report.tables import Answer
from lwexp.report.view import GroupView
from lwexp.text.plain import one_line, visible

# Bytes of all answers together, before compression (a third to a half of it after): beyond it each answer is cut
# in its middle to an equal share, and says so. 2 models x 120 answers of 20,000 English words take 29 MB.
TEXT_BUDGET = 32_000_000
_BLOCK_CHARACTERS = 200_000  # unpacking one takes about 2 ms
_TITLE = 160


class Packed(NamedTuple):
    """What the page's script reads. ``choices`` are filter name -> value -> how many entries have it."""

    listing: str
    blocks: tuple[str, ...]
    choices: dict[str, dict[str, int]]
    n_entries: int
    n_answers: int
    n_shortened: int


def pack_answers(views: Sequence[GroupView]) -> Packed:
    """All answers of all groups, prompt by prompt in bench order."""
    total = sum(len(row.evaluation.answers) for view in views for row in view.rows)
    limit = TEXT_BUDGET // max(1, total)
    lines: list[list[Any]] = []
    blocks: list[str] = []
    waiting: list[str] = []
    choices: dict[str, dict[str, int]] = {name: {} for name in ("bench", "range", "language", "type", "sign")}
    n_shortened = 0
    for view in views:
        for entry in _entries(view):
            line, answers, shortened = _entry(view, entry, limit)
            n_shortened += shortened
            for name, values in zip(choices, ([line[1]], [line[2]], [line[3]], [line[4]], line[8]), strict=True):
                for value in values:
                    choices[name][value] = choices[name].get(value, 0) + 1
            lines.append([*line, len(blocks), len(waiting)])
            waiting.append(answers)
            if sum(map(len, waiting)) >= _BLOCK_CHARACTERS:
                blocks.append(pack_text(f"[{','.join(waiting)}]"))
                waiting = []
    if waiting:
        blocks.append(pack_text(f"[{','.join(waiting)}]"))
    return Packed(pack(lines), tuple(blocks), choices, len(lines), total, n_shortened)


def _entries(view: GroupView) -> list[list[tuple[Row, Answer]]]:
    found: dict[tuple[str, int], list[tuple[Row, Answer]]] = {}
    for row in view.rows:
        for answer in row.evaluation.answers:
            found.setdefault((answer.response.prompt_id, answer.response.repeat), []).append((row, answer))
    return list(found.values())


def _entry(view: GroupView, entry: list[tuple[Row, Answer]], limit: int) -> tuple[list[Any], str, int]:
    """A line of the index, the entry's texts as JSON, and how many of them were shortened."""
    import json

    row, first = entry[0]
    asked = first.response
    part = next((p.label for p in row.evaluation.ranges if asked.required_words in p), "other lengths")
    brief, full, shortened = [], [], 0
    found: dict[str, None] = {}
    for row, answer in entry:
        text, left_out = cut_middle(visible(answer.response.text).strip(), limit)
        shortened += left_out > 0
        marks = signs(answer, row.evaluation.diagnostics)
        found.update(dict.fromkeys(marks))
        check = row.evaluation.diagnostics.checks.get(answer.response.id)
        scores = [_rounded(answer.scores.get(name)) for name in ("S_l", "S_q", "S_bar")]
        brief.append([row.place, answer.response.words, *scores, marks])
        full.append({"text": text, "reason": answer.reason, "directed": list(check.directed) if check else []})
    name = f"{asked.prompt_id}" + (f", repeat {asked.repeat + 1}" if asked.repeat else "")
    line = [
        visible(name), view.group.bench, part, asked.language, one_line(asked.type, 60), asked.required_words,
        one_line(asked.prompt, _TITLE), brief, list(found),
    ]  # fmt: skip
    texts = {"ask": asked.prompt, "answers": full}
    return line, json.dumps(spelled_out(texts), ensure_ascii=False, separators=(",", ":")), shortened


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
