"""Import a file of conversations: ``python generate_data.py task=import source=<file>``."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from lwexp.config import Config
from lwexp.mix.files import RawRow, read_file
from lwexp.mix.parse import parse_conversations
from lwexp.records import Conversation, Failure, LwexpError, tally, write_parquet, write_rows
from lwexp.runs import RunDirectory, fingerprint, open_run

log = logging.getLogger(__name__)


def import_conversations(config: Config) -> RunDirectory | None:
    """Turn a messages, sharegpt or alpaca file into an import run, which ``kind: drafts`` sources find.

    Broken rows are counted, and listed in failures.jsonl with file, row and reason.

    Raises:
        LwexpError: If the file is missing, holds preference pairs, or not one usable row.
    """
    assert config.source is not None, "the config gate lets task=import through only with a source"
    source = Path(config.source)
    rows = read_file(source)  # refuses a missing file before a run directory is made
    name = _plain(source.stem)
    if config.dry_run:
        conversations, failures = _parse(config, rows, source, name)
        log.info(
            "%s: %d conversations, %d broken rows; dry run, nothing written", source, len(conversations), len(failures)
        )
        return None
    with open_run("import", config, default_name=f"import-{name}"[:60], inputs={"source": fingerprint(source)}) as run:
        if run.is_finished:
            log.info("%s is finished: %s", run.path, run.manifest["results"]["tally"])
            return run
        conversations, failures = _parse(config, rows, source, name)
        write_rows(run.path / "conversations.jsonl", conversations)
        write_parquet(run.path / "conversations.parquet", conversations)
        write_rows(run.path / "failures.jsonl", failures)
        counts = tally(len(conversations) + len(failures), len(conversations), (f.reason for f in failures))
        log.info("import of %s: %s", source, counts)
        for failure in failures[:3]:
            log.warning("left out: %s", failure.detail)
        run.finish(
            {
                "conversations": len(conversations),
                "lost": counts.lost,
                "tally": str(counts),
                "max_words": max(row.actual_words for row in conversations),
            }
        )
    return run


def _parse(config: Config, rows: Iterable[RawRow], source: Path, name: str) -> tuple[list[Conversation], list[Failure]]:
    """Usable and broken rows; at least one usable, and none broken under on_bad_row=error."""
    conversations: list[Conversation] = []
    failures: list[Failure] = []
    for row in parse_conversations(rows, origin=source, name=name, format="auto"):
        if isinstance(row, Conversation):
            conversations.append(row)
        elif config.on_bad_row == "error":
            raise LwexpError(f"{row.detail}; mend the row, or leave broken rows out with on_bad_row=skip")
        else:
            failures.append(row)
    if not conversations:
        first = failures[0].detail if failures else "the file has no rows"
        raise LwexpError(f"source={source}: not one of {len(failures):,} rows is a conversation; {first}")
    return conversations, failures


def _plain(stem: str) -> str:
    """A file's stem as part of a run's name: other letters than those of a plain folder name become dashes."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem).strip(".-")
    return kept or "file"
