"""Import a file of conversations: ``python generate_data.py task=import source=<file>``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from lwexp.config import Config
from lwexp.mix.files import RawRow, read_file
from lwexp.mix.parse import holds_pair, parse_conversations, parse_pairs
from lwexp.records import (
    Conversation,
    Failure,
    LwexpError,
    Message,
    PreferencePair,
    Tally,
    tally,
    write_parquet,
    write_rows,
)
from lwexp.runs import RunDirectory, fingerprint, open_run

log = logging.getLogger(__name__)


class _Parsed(NamedTuple):
    """A file's rows. A preference file gives its pairs, and prompt with chosen answer as conversations."""

    conversations: list[Conversation]
    pairs: list[PreferencePair]
    failures: list[Failure]

    @property
    def tally(self) -> Tally:
        """Every row is a conversation or a failure."""
        received = len(self.conversations) + len(self.failures)
        return tally(received, len(self.conversations), (failure.reason for failure in self.failures))


def import_conversations(config: Config) -> RunDirectory | None:
    """Turn a messages, sharegpt, alpaca or preference file into an import run, which mixtures find by its name.

    Broken rows are counted, and listed in failures.jsonl with file, row and reason. A preference file also gives
    pairs.jsonl, for ``mixture.pairs``; its conversations are the prompts with their chosen answers.

    Returns:
        The run, or None after a dry run.

    Raises:
        LwexpError: If the file is missing or holds not one usable row; at the first broken one if on_bad_row=error.
    """
    assert config.source is not None, "the config gate lets task=import through only with a source"
    source = Path(config.source)
    rows = read_file(source)  # refuses a missing file before a run directory is made
    name = _plain(source.stem)
    if config.dry_run:
        log.info("%s: %s; dry run, nothing written", source, _parse(config, rows, source, name).tally)
        return None
    with open_run("import", config, default_name=f"import-{name}"[:60], inputs={"source": fingerprint(source)}) as run:
        if run.is_finished:
            log.info("%s is finished: %s", run.path, run.manifest["results"]["tally"])
            return run
        parsed = _parse(config, rows, source, name)
        write_rows(run.path / "conversations.jsonl", parsed.conversations)
        write_parquet(run.path / "conversations.parquet", parsed.conversations)
        write_rows(run.path / "failures.jsonl", parsed.failures)
        if parsed.pairs:
            write_rows(run.path / "pairs.jsonl", parsed.pairs)
        log.info("import of %s: %s", source, parsed.tally)
        for failure in parsed.failures[:3]:
            log.warning("left out: %s", failure.detail)
        run.finish(
            {
                "conversations": len(parsed.conversations),
                "pairs": len(parsed.pairs),
                "lost": parsed.tally.lost,
                "tally": str(parsed.tally),
                "max_words": max(row.actual_words for row in parsed.conversations),
            }
        )
    return run


def _parse(config: Config, rows: Iterator[RawRow], source: Path, name: str) -> _Parsed:
    """Usable and broken rows; at least one usable, and none broken under on_bad_row=error."""
    first = next(rows, None)
    rows = rows if first is None else chain([first], rows)
    is_preference = first is not None and holds_pair(first.value)
    read = parse_pairs if is_preference else partial(parse_conversations, format="auto")
    parsed = _Parsed([], [], [])
    for row in read(rows, origin=source, name=name):
        if isinstance(row, Failure):
            if config.on_bad_row == "error":
                raise LwexpError(f"{row.detail}; mend the row, or leave broken rows out with on_bad_row=skip")
            parsed.failures.append(row)
        elif isinstance(row, PreferencePair):
            parsed.pairs.append(row)
            parsed.conversations.append(_chosen(row))
        else:
            parsed.conversations.append(row)
    if not parsed.conversations:
        problem = parsed.failures[0].detail if parsed.failures else "the file has no rows"
        raise LwexpError(f"source={source}: not one of {len(parsed.failures):,} rows is a conversation; {problem}")
    return parsed


def _chosen(pair: PreferencePair) -> Conversation:
    """The prompt with its chosen answer."""
    return Conversation(
        id=pair.id,
        source=pair.source,
        language=pair.language,
        messages=(*pair.prompt, Message(role="assistant", content=pair.chosen)),
        required_words=pair.required_words,
        actual_words=pair.chosen_words,
    )


def _plain(stem: str) -> str:
    """A file's stem as part of a run's name: other letters than those of a plain folder name become dashes."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem).strip(".-")
    return kept or "file"
