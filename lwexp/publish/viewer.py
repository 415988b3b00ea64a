"""The page for reading a run's texts: one file that loads nothing else and unpacks texts on demand.

Model output cannot run code in the page: blocks are base64, the page's script sets text nodes only, and the
content-security policy allows no other script.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lwexp.pages.display import LANGUAGES, dollars, plural
from lwexp.pages.drawing import Picture, with_own_ids
from lwexp.pages.packed import Packer
from lwexp.pages.page import render
from lwexp.publish import figures
from lwexp.publish.texts import Entry, Kind, entries, kind_of
from lwexp.records import write_text
from lwexp.runs import Run
from lwexp.runs.artifacts import CONVERSATIONS, PAIRS, VIEWER
from lwexp.text.plain import one_line

_TEMPLATE = Path(__file__).parent / "templates" / "viewer.html"
_MOST_TEXTS = 10_000  # shown with their text; numbers and figures count all rows (docs/LOG.md)
_TITLE = 180  # characters of an instruction that the list shows
_NOUNS: dict[Kind, tuple[str, str]] = {
    "draft": ("draft", "Drafts by"),
    "conversation": ("conversation", "Imported from"),
    "pair": ("preference pair", "Pairs of"),
}


def write_viewer(run: Run) -> list[Entry]:
    """Write viewer.html into a run's directory; returns its entries."""
    packer = Packer(("language", "status"), ("words", "gap"))
    seen: list[Entry] = []
    for entry, text in entries(run.path):
        seen.append(entry)
        if len(packer) >= _MOST_TEXTS:
            continue
        measures = {"words": None if entry.status == "failed" else entry.words, "gap": entry.gap}
        packer.add(
            text.id,
            one_line(text.title, _TITLE),
            entry.language,
            meta=_meta(entry),
            facets={"language": [entry.language], "status": [entry.status, *entry.notes]},
            measures={name: [value] for name, value in measures.items() if value is not None},
            detail=text.detail,
        )
    labels = dict(enumerate(LANGUAGES.values()))
    page = render(_TEMPLATE, labels=labels, packed=packer.pack(), all_dots=True, **_summary(run, seen))
    write_text(run.path / VIEWER, page)
    return seen


def _meta(entry: Entry) -> list[list[str]]:
    if entry.status == "failed":
        return [[", ".join(entry.notes), "bad"]]
    meta = [[f"{entry.asked:,} asked, {entry.words:,} written" if entry.asked else f"{entry.words:,} words", ""]]
    if entry.status == "pair" and entry.gap is not None:
        meta.append([f"score gap {entry.gap:.1f}", ""])
    return [*meta, *([note, "note"] for note in entry.notes)]


def _summary(run: Run, seen: Sequence[Entry]) -> dict[str, Any]:
    kind = kind_of(run.path)
    kept = [entry for entry in seen if entry.status != "failed"]
    noun, how = _NOUNS[kind]
    longest = f"{plural(len(kept), noun)}, the longest of {max((e.words for e in kept), default=0):,} words"
    notes = Counter(note for entry in seen for note in entry.notes)
    failed = [("failed", "left out", len(seen) - len(kept))] if len(seen) > len(kept) else []
    languages = Counter(entry.language for entry in seen)
    return {
        "run": run.id,
        "eyebrow": f"{how} {run.labels.teacher or run.labels.model or run.name}, {run.manifest.created[:10]}",
        "headline": longest if kept else f"No {noun} was kept",
        "tiles": _tiles(kept, run.number("cost_usd"), kind) if kept else [],
        "losses": len(seen) - len(kept),
        "tally": run.tally or "",
        "shown": min(len(seen), _MOST_TEXTS),
        "all": len(seen),
        "figures": with_own_ids(_figures(kept, kind), "f") if kept else [],
        "choices": [
            ("Language", "language", [(code, name, n) for code, name in LANGUAGES.items() if (n := languages[code])]),
            ("Status", "status", [*failed, *((note, note, count) for note, count in notes.most_common())]),
        ],
        "gap_order": "largest score gap first" if kind == "pair" else "furthest from requested length first",
        "file": PAIRS if kind == "pair" else CONVERSATIONS,
    }


def _tiles(kept: Sequence[Entry], cost: float | None, kind: Kind) -> list[tuple[str, str, str]]:
    words = [entry.words for entry in kept]
    scores = [score for entry in kept if (score := entry.length_score) is not None]
    gaps = [entry.gap for entry in kept if entry.status == "pair" and entry.gap is not None]
    length_gaps = [entry.length_gap for entry in kept if entry.length_gap is not None]
    is_pair = kind == "pair"
    tiles = [
        ("words in all", f"{sum(words):,}", "of the chosen answers" if is_pair else ""),
        ("chosen answer, median" if is_pair else "words, median", f"{statistics.median(words):,.0f}",
         f"{min(words):,} to {max(words):,}"),
    ]  # fmt: skip
    if scores:
        tiles.append(("S_l, mean", f"{statistics.mean(scores):.1f}", f"{len(scores):,} state a length"))
    if gaps:
        tiles.append(("score gap, median", f"{statistics.median(gaps):.1f}", f"{min(gaps):.1f} to {max(gaps):.1f}"))
    if length_gaps:
        tiles.append(("length gap, median", f"{statistics.median(length_gaps):+,.0f}", "words, chosen minus rejected"))
    if cost is not None:
        tiles.append(("cost", dollars(cost), f"{dollars(cost / len(kept))} each"))
    return tiles


def _figures(kept: Sequence[Entry], kind: Kind) -> list[Picture]:
    gaps = [(e.length_gap or 0, e.gap, e.language) for e in kept if e.gap is not None]
    asked = [(e.asked, e.words, e.language) for e in kept if e.asked]
    drawn = [figures.lengths([(entry.words, entry.language) for entry in kept])]
    if kind == "pair":
        return [figures.gaps(gaps), *drawn] if gaps else drawn
    return [figures.asked_against_written(asked), *drawn] if asked else drawn
