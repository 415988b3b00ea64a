"""Where in an answer's text something was found: the next turn, a loop, signs that it addresses the judge; pure."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from lwexp.records import AnswerCheck, Response
from lwexp.text.judge_injection import sign_places
from lwexp.text.loops import end_of_first_passage
from lwexp.text.next_turn import find_next_turn
from lwexp.text.plain import visible


class Place(NamedTuple):
    """A part of a text, in characters; ``kind`` is its CSS class, ``said`` what a reader is told."""

    start: int
    end: int
    kind: str
    said: str


class MarkedText(NamedTuple):
    """A text as a page shows it."""

    text: str
    marks: list[tuple[int, int, str, str]]
    """As ``Place``, in UTF-16 units, as browsers count; they do not overlap. A place that another one interrupts has
    several marks, of which only the first says what it is."""
    left_out: int
    """Characters that are left out in the middle."""


def places(response: Response, check: AnswerCheck | None) -> list[Place]:
    """What was found in an answer; empty for most, and for runs that were not checked."""
    if check is None:
        return []
    text = response.text
    found = []
    if check.clean_words not in (None, response.words):
        turn = find_next_turn(text)
        own = text[: turn.start] if turn else text
        repeats = end_of_first_passage(own)
        found += [Place(repeats, len(own), "loop", "the loop begins to repeat itself")] if repeats is not None else []
        found += [Place(turn.start, len(text), "turn", "the next turn begins")] if turn else []
    if check.directed:
        found += [Place(start, end, "sign", name.replace("_", " ")) for name, start, end in sign_places(text)]
    return found


def shown(text: str, found: Iterable[Place], limit: int) -> MarkedText:
    """The visible text, cut in the middle if it is long, with its marks.

    Args:
        text: As the model wrote it.
        found: Places in it.
        limit: Bytes to keep.
    """
    whole = visible(text)
    stripped = whole.strip()
    lead = len(whole) - len(whole.lstrip())
    cut, left_out, head = cut_middle(stripped, limit)

    def here(at: int) -> int:
        place = min(max(len(visible(text[:at])) - lead, 0), len(stripped))
        if left_out and place > head:
            place = len(cut) - len(stripped) + place if place >= head + left_out else head
        return len(cut[:place].encode("utf-16-le")) // 2

    marks = [(here(start), here(end), kind, said) for start, end, kind, said in _apart(list(found))]
    return MarkedText(cut, [mark for mark in marks if mark[0] < mark[1]], left_out)


def _apart(found: Sequence[Place]) -> list[Place]:
    """The places without overlaps: where several cover a part of the text, the shortest has it."""
    cuts = sorted({end for place in found for end in (place.start, place.end)})
    parts: list[Place] = []
    told: set[Place] = set()
    for start, end in pairwise(cuts):
        covering = [place for place in found if place.start <= start and end <= place.end]
        if covering:
            best = min(covering, key=lambda place: place.end - place.start)
            parts.append(Place(start, end, best.kind, "" if best in told else best.said))
            told.add(best)
    return parts


def cut_middle(text: str, limit: int) -> tuple[str, int, int]:
    """At most about ``limit`` bytes of a text: two thirds from its start, one from its end.

    Returns:
        The text, with a line saying what is missing; the number of characters left out; and the place of that line.
    """
    size = len(text.encode("utf-8", errors="replace"))
    if size <= limit:
        return text, 0, len(text)
    kept = limit * len(text) // size
    start, end = 2 * kept // 3, kept - 2 * kept // 3
    left_out = len(text) - start - end
    note = f"\n\n[ {left_out:,} characters left out here; the whole answer is in responses.jsonl ]\n\n"
    return text[:start] + note + text[len(text) - end :], left_out, start
