"""The page to read a run's texts in: one file, nothing loaded from anywhere, every text on demand.

The texts stand in the page as compressed blocks, and its script unpacks the one that is asked for. So a page of
6,000 long drafts is no larger than a third of its texts and opens in a second or two (docs/LOG.md). What a
model wrote can do nothing: blocks are base64, the script sets text nodes only, and the policy lets no other script run.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from lwexp.pages.display import dollars
from lwexp.pages.packed import hash_source, pack, pack_text, spelled_out
from lwexp.publish import figures
from lwexp.publish.texts import Entry, Kind, entries, kind_of
from lwexp.records import write_text
from lwexp.runs import Run
from lwexp.runs.artifacts import CONVERSATIONS, PAIRS
from lwexp.text.plain import visible
from lwexp.text.words import score_length

_TEMPLATES = Path(__file__).parent / "templates"
_BLOCK_CHARACTERS = 200_000  # of texts; unpacking one takes about 2 ms
_MOST_TEXTS = 10_000  # with their texts; all rows of a larger set count in numbers and pictures (docs/LOG.md)
_LANGUAGE_NAMES = {"en": "English", "zh": "Chinese"}
_NOUNS: dict[Kind, tuple[str, str]] = {
    "draft": ("draft", "Drafts by"),
    "conversation": ("conversation", "Imported from"),
    "pair": ("preference pair", "Pairs of"),
}


def write_viewer(run: Run) -> list[Entry]:
    """Write viewer.html into a run's directory; returns its entries without their texts."""
    page, seen = render(run)
    write_text(run.path / "viewer.html", page)
    return seen


def render(run: Run) -> tuple[str, list[Entry]]:
    """The page as text, and its entries without their texts."""
    index, blocks, seen = _pack(run.path)
    style, script = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("viewer.css", "viewer.js"))
    policy = (
        f"default-src 'none'; script-src '{hash_source(script)}'; style-src '{hash_source(style)}'; "
        f"base-uri 'none'; form-action 'none'"
    )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page: str = environment.get_template("viewer.html").render(
        policy=Markup(policy),  # ours, like the next two; escaped, the hashes would not fit
        style=Markup(style),
        script=Markup(script),
        index=Markup(index),  # base64
        blocks=[Markup(block) for block in blocks],
        **_summary(run, seen),
    )
    return page, seen


def _pack(folder: Path) -> tuple[str, list[str], list[Entry]]:
    """The packed list, the packed texts, and the entries without their texts."""
    lines: list[list[Any]] = []
    blocks: list[str] = []
    seen: list[Entry] = []
    waiting: list[str] = []
    for entry in entries(folder):
        # Without its texts an entry is about 150 bytes: 200,000 imported rows stay near 30 MB.
        seen.append(replace(entry, id="", title="", detail={}))
        if len(lines) >= _MOST_TEXTS:
            continue
        lines.append(
            [
                visible(entry.id), entry.language, entry.status, entry.asked, entry.words, entry.title,
                list(entry.notes), entry.gap, len(blocks), len(waiting),
            ]
        )  # fmt: skip
        waiting.append(json.dumps(spelled_out(entry.detail), ensure_ascii=False, separators=(",", ":")))
        if sum(map(len, waiting)) >= _BLOCK_CHARACTERS:
            blocks.append(pack_text(f"[{','.join(waiting)}]"))
            waiting = []
    if waiting:
        blocks.append(pack_text(f"[{','.join(waiting)}]"))
    return pack(lines), blocks, seen


def _summary(run: Run, seen: list[Entry]) -> dict[str, Any]:
    """Everything on the page that is not a text."""
    kind = kind_of(run.path)
    kept = [entry for entry in seen if entry.status != "failed"]
    noun, how = _NOUNS[kind]
    source = run.labels.teacher or run.labels.model or run.name
    notes = Counter(note for entry in seen for note in entry.notes)
    statuses = [("failed", "left out", len(seen) - len(kept))] if len(seen) > len(kept) else []
    return {
        "run": run.id,
        "eyebrow": f"{how} {source}, {run.manifest.created[:10]}",
        "headline": _headline(kept, noun),
        "tiles": _tiles(kept, run.number("cost_usd"), kind),
        "losses": len(seen) - len(kept),
        "tally": run.tally or "",
        "shown": min(len(seen), _MOST_TEXTS),
        "all": len(seen),
        "figures": _figures(kept, kind),
        "languages": [
            (code, name, sum(entry.language == code for entry in seen))
            for code, name in _LANGUAGE_NAMES.items()
            if any(entry.language == code for entry in seen)
        ],
        "statuses": [*statuses, *((note, note, count) for note, count in notes.most_common())],
        "orders": [("gap", "largest score gap first" if kind == "pair" else "furthest from its length first")],
        "search_hint": "in instructions, ids and reasons",
        "file": PAIRS if kind == "pair" else CONVERSATIONS,
    }


def _headline(kept: list[Entry], noun: str) -> str:
    if not kept:
        return f"No {noun} was kept"
    longest = max(entry.words or 0 for entry in kept)
    return f"{len(kept):,} {noun}{'s' if len(kept) > 1 else ''}, the longest of {longest:,} words"


def _tiles(kept: list[Entry], cost: float | None, kind: Kind) -> list[tuple[str, str, str]]:
    """Label, number, and a remark."""
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


def _figures(kept: list[Entry], kind: Kind) -> list[figures.Figure]:
    if not kept:
        return []
    drawn = [figures.lengths([(entry.words or 0, entry.language) for entry in kept])]
    asked = [(entry.asked, entry.words or 0, entry.language) for entry in kept if entry.asked]
    if kind == "pair":
        gaps = [(e.length_gap or 0, e.gap, e.language) for e in kept if e.gap is not None]
        return [figures.gaps(gaps), *drawn] if gaps else drawn
    return [figures.asked_against_written(asked), *drawn] if asked else drawn
