"""The prompts of a bench, with ids that never change within a version, and the part of them that is asked."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lwexp.config.evaluate import Bench, FileBench, RulerBench, Selection, parse_range
from lwexp.llm.offline.text import BENCH_TOPICS, instruction_text
from lwexp.records import LwexpError, Prompt, first_problem
from lwexp.sample.locate import locate
from lwexp.text.words import language_of

# Of the phrasings. Not the run's seed: two runs that are compared have to be asked the same.
_RULER_SEED = 0


def load_bench(bench: Bench) -> list[Prompt]:
    """The selected prompts of a bench, in its order.

    Raises:
        LwexpError: If a file is missing or is not the one that the config names, a line is not a prompt, an id comes
            twice, or nothing is selected.
    """
    return select(_ruler(bench) if isinstance(bench, RulerBench) else _file(bench), bench)


def select(prompts: Sequence[Prompt], wanted: Selection) -> list[Prompt]:
    """Those of the required lengths, language and type; of these, a seeded draw, still in order.

    Which prompts a draw takes depends on their ids alone, so adding prompts to a bench moves few of them.

    Raises:
        LwexpError: If nothing is left, or fewer than ``subset``.
    """
    kept = list(prompts)
    if wanted.range is not None:
        lengths = parse_range(wanted.range)
        kept = [prompt for prompt in kept if prompt.required_words in lengths]
    if wanted.language is not None:
        kept = [prompt for prompt in kept if prompt.language == wanted.language]
    if wanted.type is not None:
        kept = [prompt for prompt in kept if prompt.type == wanted.type]
    if not kept:
        there = [prompt.required_words for prompt in prompts if prompt.required_words is not None]
        asked = f"of {min(there):,} to {max(there):,} words" if there else "that ask for no length"
        raise LwexpError(
            f"bench: no prompt has range={wanted.range} language={wanted.language} type={wanted.type}; there are "
            f"{len(prompts)} {asked}, in {_listed(p.language for p in prompts)}, of "
            f"type {_listed(p.type for p in prompts)}"
        )
    if wanted.subset is None:
        return kept
    if wanted.subset > len(kept):
        raise LwexpError(f"bench.subset={wanted.subset}: the selection has only {len(kept)} prompts; set that or less")
    drawn = {p.id for p in sorted(kept, key=lambda prompt: _rank(prompt.id, wanted.subset_seed))[: wanted.subset]}
    return [prompt for prompt in kept if prompt.id in drawn]


def _rank(id: str, seed: int) -> float:
    return random.Random(f"{seed}|{id}").random()


def _listed(values: Any) -> str:
    return ", ".join(sorted(set(values)))


def _ruler(bench: RulerBench) -> list[Prompt]:
    """Languages x topics x lengths. ``ruler-en-3-200`` is the third English topic, asked for in 200 words."""
    return [
        Prompt(
            id=f"ruler-{language}-{number}-{words}",
            text=instruction_text(topic=topic, words=words, language=language, seed=_RULER_SEED),
            language=language,
            type="ruler",
            required_words=words,
        )
        for language in bench.languages
        for number, topic in enumerate(BENCH_TOPICS[language][: bench.topics], start=1)
        for words in bench.required_words
    ]


def _file(bench: FileBench) -> list[Prompt]:
    """Lines of {"prompt": text, "length": words, "type"?, "id"?, "language"?}; ids are ``<bench name>-<line>``.

    With ``bench.english``, a prompt is English where that file has it and Chinese where not. So the one prompt of
    LongBench-Write that asks in Chinese for English text (line 94) counts as English, as in the paper.
    """
    path = locate(bench, bench.filename)
    _refuse_another_file(path, bench)
    english = None
    if bench.english is not None:
        english = {row["prompt"] for _, row in _rows(locate(bench, bench.english))}
    prompts = [_prompt(row, f"{bench.name}-{number}", f"{path} line {number}", english) for number, row in _rows(path)]
    if not prompts:
        raise LwexpError(f"bench.path={bench.path}: the file has no prompts; wanted lines with prompt and length")
    lines: dict[str, int] = {}
    for number, prompt in enumerate(prompts, start=1):
        if lines.setdefault(prompt.id, number) != number:
            raise LwexpError(f"{path}: prompt id {prompt.id} comes twice; give every line an id of its own, or none")
    return prompts


def _refuse_another_file(path: Path, bench: FileBench) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if bench.sha256 is not None and found != bench.sha256:
        raise LwexpError(
            f"{path} is not {bench.name} v{bench.version}: sha256 {found[:12]}..., wanted {bench.sha256[:12]}...; get "
            f"the published file, or use yours with bench=jsonl bench.path={path}"
        )


def _rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Line number and row of every line that is not blank."""
    rows = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                rows.append((number, _row(line, f"{path} line {number}")))
    return rows


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row: Any = json.loads(line.decode("utf-8-sig"))
    except ValueError as error:
        raise LwexpError(f"{where}: is not JSON: {error}") from None
    missing = [column for column in ("prompt", "length") if not isinstance(row, dict) or column not in row]
    if missing:
        raise LwexpError(f"{where}: {' and '.join(missing)} missing; wanted prompt, length and, if you like, type")
    if not isinstance(row["prompt"], str) or not row["prompt"].strip():
        raise LwexpError(f"{where}: prompt must be text, got {row['prompt']!r:.60}")
    return dict(row)


def _prompt(row: dict[str, Any], id: str, where: str, english: set[str] | None) -> Prompt:
    language = row.get("language") or language_of(row["prompt"])
    if english is not None:
        language = "en" if row["prompt"] in english else "zh"
    try:
        return Prompt(
            id=str(row.get("id") or id),
            text=row["prompt"],
            language=language,
            type=str(row.get("type") or "unknown"),
            required_words=row["length"],
        )
    except ValidationError as error:
        raise LwexpError(f"{where}: {first_problem(error)}, got length={row['length']!r}") from None
