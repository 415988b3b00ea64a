"""The page to read a run's texts in: one file, nothing loaded from anywhere, every text on demand.

What a model wrote can run no code in it: blocks are base64, the script sets text nodes only, and the policy lets no
other script run.
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
from lwexp.runs.artifacts import CONVERSATIONS, PAIRS
from lwexp.text.plain import one_line
from lwexp.text.words import score_length

_TEMPLATE = Path(__file__).parent / "templates" / "viewer.html"
_MOST_TEXTS = 10_000  # with their texts; all rows of a larger set count in numbers and pictures (docs/LOG.md)
_TITLE = 180  # characters of an instruction that the list shows
_NOUNS: dict[Kind, tuple[str, str]] = {
    "draft": ("draft", "Drafts by"),
    "conversation": ("conversation", "Imported from"),
    "pair": ("preference pair", "Pairs of"),
}


def write_viewer(run: Run) -> list[Entry]:
    """Write viewer.html into a run's directory; returns its entries without their texts."""
    packer, seen = _pack(run.path)
    labels = dict(enumerate(LANGUAGES.values()))
    page = render(_TEMPLATE, labels=labels, packed=packer.pack(), all_dots=True, **_summary(run, seen))
    write_text(run.path / "viewer.html", page)
    return seen


def _pack(folder: Path) -> tuple[Packer, list[Entry]]:
    packer = Packer(("language", "status"), ("words", "gap"))
    seen: list[Entry] = []
    for entry in entries(folder):
        seen.append(entry.without_texts())
        if len(packer) >= _MOST_TEXTS:
            continue
        measures = {"words": entry.words, "gap": entry.gap}
        packer.add(
            entry.id,
            one_line(entry.title, _TITLE),
            entry.language,
            meta=_meta(entry),
            facets={"language": [entry.language], "status": [entry.status, *entry.notes]},
            measures={name: [value] for name, value in measures.items() if value is not None},
            detail={name: getattr(entry, name) for name in ("ask", "facts", "notice", "groups")} | {"about": []},
        )
    return packer, seen


def _meta(entry: Entry) -> list[list[str]]:
    if entry.status == "failed":
        return [[", ".join(entry.notes), "bad"]]
    words = entry.words or 0
    meta = [[f"{entry.asked:,} asked, {words:,} written" if entry.asked else f"{words:,} words", ""]]
    if entry.status == "pair" and entry.gap is not None:
        meta.append([f"score gap {entry.gap:.1f}", ""])
    return [*meta, *([note, "note"] for note in entry.notes)]


def _summary(run: Run, seen: Sequence[Entry]) -> dict[str, Any]:
    kind = kind_of(run.path)
    kept = [entry for entry in seen if entry.status != "failed"]
    noun, how = _NOUNS[kind]
    source = run.labels.teacher or run.labels.model or run.name
    notes = Counter(note for entry in seen for note in entry.notes)
    statuses = [("failed", "left out", len(seen) - len(kept))] if len(seen) > len(kept) else []
    languages = Counter(entry.language for entry in seen)
    return {
        "run": run.id,
        "eyebrow": f"{how} {source}, {run.manifest.created[:10]}",
        "headline": _headline(kept, noun),
        "tiles": _tiles(kept, run.number("cost_usd"), kind),
        "losses": len(seen) - len(kept),
        "tally": run.tally or "",
        "shown": min(len(seen), _MOST_TEXTS),
        "all": len(seen),
        "figures": with_own_ids(_figures(kept, kind), "f"),
        "choices": [
            ("Language", "language", [(code, name, n) for code, name in LANGUAGES.items() if (n := languages[code])]),
            ("Status", "status", [*statuses, *((note, note, count) for note, count in notes.most_common())]),
        ],
        "gap_order": "largest score gap first" if kind == "pair" else "furthest from its length first",
        "file": PAIRS if kind == "pair" else CONVERSATIONS,
    }


def _headline(kept: Sequence[Entry], noun: str) -> str:
    if not kept:
        return f"No {noun} was kept"
    return f"{plural(len(kept), noun)}, the longest of {max(entry.words or 0 for entry in kept):,} words"


def _tiles(kept: Sequence[Entry], cost: float | None, kind: Kind) -> list[tuple[str, str, str]]:
    words = sorted(entry.words or 0 for entry in kept)
    if not words:
        return []
    what = "chosen answer, median" if kind == "pair" else "words, median"
    tiles = [
        ("words in all", f"{sum(words):,}", "of the chosen answers" if kind == "pair" else ""),
        (what, f"{statistics.median(words):,.0f}", f"{words[0]:,} to {words[-1]:,}"),
    ]
    scores = [score_length(entry.asked, entry.words or 0) for entry in kept if entry.asked]
    if scores:
        tiles.append(("S_l, mean", f"{statistics.mean(scores):.1f}", f"{len(scores):,} state a length"))
    gaps = [entry.gap for entry in kept if entry.status == "pair" and entry.gap is not None]
    if gaps:
        tiles.append(("score gap, median", f"{statistics.median(gaps):.1f}", f"{min(gaps):.1f} to {max(gaps):.1f}"))
    lengths = [entry.length_gap for entry in kept if entry.length_gap is not None]
    if lengths:
        tiles.append(("length gap, median", f"{statistics.median(lengths):+,.0f}", "words, chosen less rejected"))
    if cost is not None:
        tiles.append(("cost", dollars(cost), f"{dollars(cost / len(kept))} each"))
    return tiles


def _figures(kept: Sequence[Entry], kind: Kind) -> list[Picture]:
    if not kept:
        return []
    drawn = [figures.lengths([(entry.words or 0, entry.language) for entry in kept])]
    asked = [(entry.asked, entry.words or 0, entry.language) for entry in kept if entry.asked]
    if kind == "pair":
        gaps = [(e.length_gap or 0, e.gap, e.language) for e in kept if e.gap is not None]
        return [figures.gaps(gaps), *drawn] if gaps else drawn
    return [figures.asked_against_written(asked), *drawn] if asked else drawn
