"""Import a set of conversations or pairs: ``python generate_data.py task=import source=<file, folder or hub id>``."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from lwexp.config import Config
from lwexp.config.data import FilterConfig
from lwexp.extend.rows import RawRow
from lwexp.mix.files import hub_fingerprint, read_file, read_hub
from lwexp.mix.filters import filter_hit, stated_length
from lwexp.mix.parse import holds_pair, parse_conversations, parse_pairs
from lwexp.records import (
    Conversation,
    Failure,
    LwexpError,
    Message,
    PreferencePair,
    RowLog,
    TableWriter,
    Tally,
    prompt_sha,
    tally,
)
from lwexp.runs import RunDirectory, fingerprint, open_run
from lwexp.runs.artifacts import IMPORT_FAILURES, PAIRS, ImportResults
from lwexp.text.plain import slug

log = logging.getLogger(__name__)


class _Source(NamedTuple):
    """What ``source`` names, found and fingerprinted; its rows have not been read."""

    origin: str
    name: str
    fingerprint: str
    rows: Iterator[RawRow]


class _Kept(NamedTuple):
    """A usable row. A preference file gives pairs, and prompt with chosen answer as conversations."""

    conversation: Conversation
    pair: PreferencePair | None


class _Counts:
    """What became of the rows so far."""

    def __init__(self) -> None:
        self.conversations = self.pairs = self.max_words = 0
        self.reasons: Counter[str] = Counter()
        self.first: dict[str, str] = {}  # reason -> the first row that was left out for it

    def note(self, item: _Kept | Failure) -> None:
        """Count one row."""
        if isinstance(item, Failure):
            self.reasons[item.reason] += 1
            self.first.setdefault(item.reason, item.detail)
            return
        self.conversations += 1
        self.pairs += item.pair is not None
        self.max_words = max(self.max_words, item.conversation.actual_words)

    @property
    def tally(self) -> Tally:
        """Every row is a conversation or a failure."""
        return tally(self.conversations + self.reasons.total(), self.conversations, self.reasons.elements())


def import_conversations(config: Config) -> RunDirectory | None:
    """Turn a messages, sharegpt, alpaca or preference set into an import run, which mixtures find by its name.

    Rows stream from the source to the run's files: memory holds one batch, however long the set is. Broken rows are
    counted, and listed in import_failures.jsonl with file, row and reason. A preference set also gives
    pairs.jsonl, for ``mixture.pairs``; its conversations are the prompts with their chosen answers.

    Returns:
        The run, or None after a dry run.

    Raises:
        LwexpError: If the set is missing or holds not one usable row; at the first broken one if on_bad_row=error.
    """
    source = _open(config)
    if config.dry_run:
        counts = _Counts()
        for item in _parse(config, source):
            counts.note(item)
        _refuse_nothing(source, counts)
        log.info("%s: %s; dry run, nothing written", source.origin, counts.tally)
        return None
    run = open_run("import", config, default_name=f"import-{source.name}", inputs={"source": source.fingerprint})
    with run:
        if run.is_finished:
            log.info("%s is finished: %s", run.path, run.tally)
            return run
        counts = _write(config, source, run.path)
        log.info("import of %s: %s", source.origin, counts.tally)
        for detail in list(counts.first.values())[:5]:
            log.warning("left out: %s", detail)
        run.finish(
            ImportResults(
                conversations=counts.conversations, pairs=counts.pairs, lost=counts.tally.lost,
                tally=str(counts.tally), max_words=counts.max_words,
            )
        )  # fmt: skip
    return run


def _open(config: Config) -> _Source:
    """A file by its ending, a local folder or a hub id through ``datasets``; a missing one is refused here."""
    assert config.source is not None, "the config gate lets task=import through only with a source"
    path = Path(config.source)
    if path.is_dir():
        rows, known_by, name = read_hub(str(path), config.split), fingerprint(path), path.resolve().name
    elif path.is_file() or path.suffix or config.source.count("/") != 1:
        rows, known_by, name = read_file(path), fingerprint(path), path.stem
    else:
        rows, name = read_hub(config.source, config.split), path.name
        known_by = f"{hub_fingerprint(config.source)}/{config.split}"
    return _Source(config.source, slug(name, "file", longest=53), known_by, rows)


def _write(config: Config, source: _Source, folder: Path) -> _Counts:
    """Stream the rows into the files of a run."""
    counts = _Counts()
    for left_by_a_kill in (IMPORT_FAILURES, PAIRS, "pairs.parquet"):
        (folder / left_by_a_kill).unlink(missing_ok=True)
    with ExitStack() as stack:
        conversations = stack.enter_context(TableWriter(folder, "conversations", Conversation))
        failures = stack.enter_context(RowLog(folder / IMPORT_FAILURES))
        pairs: TableWriter[PreferencePair] | None = None
        for item in _parse(config, source):
            counts.note(item)
            if isinstance(item, Failure):
                failures.append(item)
                continue
            conversations.append(item.conversation)
            if item.pair is not None:
                pairs = pairs or stack.enter_context(TableWriter(folder, "pairs", PreferencePair))
                pairs.append(item.pair)
        _refuse_nothing(source, counts)
    return counts


def _refuse_nothing(source: _Source, counts: _Counts) -> None:
    if counts.conversations:
        return
    problem = next(iter(counts.first.values()), "the file has no rows")
    raise LwexpError(f"source={source.origin}: not one of {counts.reasons.total():,} rows can be used; {problem}")


def _parse(config: Config, source: _Source) -> Iterator[_Kept | Failure]:
    """Usable and broken rows in order; under on_bad_row=error the first broken one stops the import."""
    first = next(source.rows, None)
    rows = source.rows if first is None else chain([first], source.rows)
    read = parse_pairs if first is not None and holds_pair(first.value) else parse_conversations
    for row in read(rows, origin=source.origin, name=source.name):
        if isinstance(row, Failure):
            if config.on_bad_row == "error":
                raise LwexpError(f"{row.detail}; mend the row, or leave broken rows out with on_bad_row=skip")
            yield row
        else:
            yield _filtered(row, config.filter, source)


def _filtered(row: Conversation | PreferencePair, limits: FilterConfig, source: _Source) -> _Kept | Failure:
    """The row, or why the filter leaves it out. Where lengths decide, the row keeps the one that it states."""
    conversation = _chosen(row) if isinstance(row, PreferencePair) else row
    if (out := filter_hit(conversation, limits)) is not None:
        detail = f"{source.origin}, row {row.id}: {out.detail}"
        return Failure(id=row.id, stage="filter", reason=out.reason, detail=detail, attempts=1)
    if limits.min_length_score is not None and conversation.required_words is None:
        asked = {"required_words": stated_length(conversation)}
        conversation = conversation.model_copy(update=asked)
        row = row.model_copy(update=asked)
    return _Kept(conversation, row if isinstance(row, PreferencePair) else None)


def _chosen(pair: PreferencePair) -> Conversation:
    """The prompt with its chosen answer."""
    return Conversation(
        id=pair.id,
        source=pair.source,
        language=pair.language,
        messages=(*pair.prompt, Message(role="assistant", content=pair.chosen)),
        required_words=pair.required_words,
        actual_words=pair.chosen_words,
        prompt_sha=prompt_sha(pair.prompt),
    )
