"""The prompts of a bench, with ids that never change within a version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lwexp.config.evaluate import Bench, FileBench, RulerBench
from lwexp.llm.offline_text import BENCH_TOPICS, instruction_text
from lwexp.records import LwexpError, Prompt, first_problem
from lwexp.words import language_of

# Of the phrasings. Not the run's seed: two runs that are compared have to be asked the same.
_RULER_SEED = 0

_PUBLISHED = "https://github.com/THUDM/LongWriter/tree/main/evaluation"


def load_bench(bench: Bench) -> list[Prompt]:
    """All prompts of a bench, in its order.

    Raises:
        LwexpError: If the file is missing, or a line of it is not a prompt.
    """
    return _ruler(bench) if isinstance(bench, RulerBench) else _file(bench)


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
    """Lines of {"prompt": text, "length": words, "type": text?}; ids are ``<bench name>-<line>``.

    The language is that of the prompt's letters. LongBench-Write has one prompt in Chinese that asks for English
    (line 49 of its English file): it counts as Chinese here, as English in the paper.
    """
    path = Path(bench.path)
    if not path.is_file():
        raise LwexpError(
            f"bench.path={bench.path}: the file does not exist; THUDM/LongWriter publishes {path.name} at "
            f"{_PUBLISHED}; download it there and set bench.path=<file>"
        )
    prompts = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                prompts.append(_prompt(line, f"{bench.name}-{number}", f"{path} line {number}"))
    if not prompts:
        raise LwexpError(f"bench.path={bench.path}: the file has no prompts; wanted lines with prompt and length")
    return prompts


def _prompt(line: bytes, id: str, where: str) -> Prompt:
    try:
        row: Any = json.loads(line.decode("utf-8-sig"))
    except ValueError as error:
        raise LwexpError(f"{where}: is not JSON: {error}") from None
    missing = [column for column in ("prompt", "length") if not isinstance(row, dict) or column not in row]
    if missing:
        raise LwexpError(f"{where}: {' and '.join(missing)} missing; wanted prompt, length and, if you like, type")
    if not isinstance(row["prompt"], str) or not row["prompt"].strip():
        raise LwexpError(f"{where}: prompt must be text, got {row['prompt']!r:.60}")
    try:
        return Prompt(
            id=id,
            text=row["prompt"],
            language=language_of(row["prompt"]),
            type=str(row.get("type") or "unknown"),
            required_words=row["length"],
        )
    except ValidationError as error:
        raise LwexpError(f"{where}: {first_problem(error)}, got length={row['length']!r}") from None
