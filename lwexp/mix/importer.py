"""Import a set of conversations or pairs: ``python generate_data.py task=import source=<file, folder or hub id>``."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from lwexp.config import Config
from lwexp.config.data import FilterConfig
from lwexp.extend.rows import RawRow
from lwexp.mix.files import read_file, stem
from lwexp.mix.filters import filter_hit, stated_length
from lwexp.mix.hub import hub_fingerprint, read_hub
from lwexp.mix.parse import holds_pairs, parse_conversations, parse_pairs
from lwexp.records import (
    Conversation,
    Failure,
    FileState,
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
from lwexp.text.plain import plural, slug

log = logging.getLogger(__name__)

_LOOK_AHEAD = 100  # rows to look at, at most, to tell conversations from pairs


class _Source(NamedTuple):
    """The data set that ``source`` names, found and fingerprinted; its rows have not been read yet."""

    origin: str
    name: str
    fingerprint: str
    rows: Iterator[RawRow]
    state: FileState | None = None  # of files on this machine, before they were fingerprinted


@dataclass
class _Counts:
    """How many rows were kept, and why the others were lost."""

    conversations: int = 0
    pairs: int = 0
    max_words: int = 0
    reasoned: int = 0  # rows with reasoning, which is kept beside their answers
    lost: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)  # reason -> detail of the first row left out for it

    @property
    def tally(self) -> Tally:
        """Counts that add up: every row is a conversation or a failure."""
        return tally(self.conversations + self.lost.total(), self.conversations, self.lost.elements())


def import_conversations(config: Config) -> RunDirectory | None:
    """Turn a messages, sharegpt, alpaca or preference set into an import run, which mixtures find by its name.

    Rows stream from the source to the run's files: memory holds one batch, however long the set is. Broken rows are
    counted, and listed in import_failures.jsonl with file, row and reason. A preference set also produces pairs.jsonl,
    for ``mixture.pairs``; its conversations are the prompts with their chosen answers.

    Returns:
        The run, or None after a dry run.

    Raises:
        LwexpError: If the set is missing or has no usable row; with on_bad_row=error, at the first broken row.
    """
    source = _open(config)
    if config.dry_run:
        log.info("%s: %s; dry run, nothing written", source.origin, _read(config, source).tally)
        return None
    run = open_run("import", config, default_name=f"import-{source.name}", inputs={"source": source.fingerprint})
    with run:
        if run.is_finished:
            log.info("%s is finished: %s", run.path, run.tally)
            return run
        counts = _write(config, source, run.path)
        if source.state is not None:
            source.state.require_same(Path(source.origin), "source")
        log.info("import of %s: %s", source.origin, counts.tally)
        if counts.reasoned:
            log.info("%s with reasoning, which is kept separately", plural(counts.reasoned, "row"))
        for detail in list(counts.first.values())[:5]:
            log.warning("left out: %s", detail)
        run.finish(
            ImportResults(
                conversations=counts.conversations, pairs=counts.pairs, lost=counts.tally.lost,
                tally=str(counts.tally), max_words=counts.max_words, with_reasoning=counts.reasoned,
            )
        )  # fmt: skip
    return run


def _open(config: Config) -> _Source:
    """Open a file by its ending, or a folder or hub id through ``datasets``; refuse a source that does not exist."""
    assert config.source is not None, "the config gate lets task=import through only with a source"
    path = Path(config.source)
    state = FileState.of(path) if path.exists() else None
    if path.is_dir():
        rows, known_by, name = read_hub(str(path), config.split), fingerprint(path), path.resolve().name
    elif path.is_file() or path.suffix or config.source.count("/") != 1:
        rows, known_by, name = read_file(path), fingerprint(path), stem(path)
    else:
        rows, name = read_hub(config.source, config.split), path.name
        known_by = f"{hub_fingerprint(config.source)}/{config.split}"
    return _Source(config.source, slug(name, "file", longest=53), known_by, rows, state)


def _write(config: Config, source: _Source, folder: Path) -> _Counts:
    """Stream the rows into the files of a run; there is a file of pairs only if the set has pairs."""
    for left_by_a_kill in (IMPORT_FAILURES, PAIRS, "pairs.parquet"):
        (folder / left_by_a_kill).unlink(missing_ok=True)
    with ExitStack() as stack:
        conversations = stack.enter_context(TableWriter(folder, "conversations", Conversation))
        failures = stack.enter_context(RowLog(folder / IMPORT_FAILURES))
        pairs: TableWriter[PreferencePair] | None = None

        def write(row: Conversation | PreferencePair | Failure) -> None:
            nonlocal pairs
            if isinstance(row, Failure):
                failures.append(row)
            elif isinstance(row, Conversation):
                conversations.append(row)
            else:
                pairs = pairs or stack.enter_context(TableWriter(folder, "pairs", PreferencePair))
                pairs.append(row)

        return _read(config, source, write)


def _read(
    config: Config, source: _Source, write: Callable[[Conversation | PreferencePair | Failure], None] = lambda row: None
) -> _Counts:
    """Parse and filter all rows, pass each to ``write``, and count them. For a pair, its conversation is passed too.

    Raises:
        LwexpError: If no row can be used; with on_bad_row=error, at the first broken row.
    """
    counts = _Counts()
    first: deque[RawRow] = deque()
    parse = parse_pairs if holds_pairs(_looked_at(source.rows, first)) else parse_conversations
    for parsed in parse(chain(_let_go(first), source.rows), origin=source.origin, name=source.name):
        if isinstance(parsed, Failure) and config.on_bad_row == "error":
            raise LwexpError(f"{parsed.detail}; fix the row, or leave broken rows out with on_bad_row=skip")
        row = parsed if isinstance(parsed, Failure) else _filtered(parsed, config.filter, source)
        write(row)
        if isinstance(row, Failure):
            counts.lost[row.reason] += 1
            counts.first.setdefault(row.reason, row.detail)
            continue
        has_reasoning = _has_reasoning(row)
        if isinstance(row, PreferencePair):
            counts.pairs += 1
            row = _chosen(row)
            write(row)
        counts.conversations += 1
        counts.reasoned += has_reasoning
        counts.max_words = max(counts.max_words, row.actual_words)
    if not counts.conversations:
        problem = next(iter(counts.first.values()), "the file has no rows")
        raise LwexpError(f"source={source.origin}: no row can be used ({counts.lost.total():,} read); {problem}")
    return counts


def _looked_at(rows: Iterator[RawRow], kept: deque[RawRow]) -> Iterator[object]:
    """The first rows' values; the rows are kept, to be parsed afterwards."""
    for row in islice(rows, _LOOK_AHEAD):
        kept.append(row)
        yield row.value


def _let_go(rows: deque[RawRow]) -> Iterator[RawRow]:
    """Each row once. A row may have hundreds of megabytes, so none is kept until the end."""
    while rows:
        yield rows.popleft()


def _filtered(
    row: Conversation | PreferencePair, limits: FilterConfig, source: _Source
) -> Conversation | PreferencePair | Failure:
    """The row, or a failure that says why it is dropped. With ``min_length_score``, the row stores its stated
    length."""
    conversation = _chosen(row) if isinstance(row, PreferencePair) else row
    if (hit := filter_hit(conversation, limits)) is not None:
        detail = f"{source.origin}, row {row.id}: {hit.detail}"
        return Failure(id=row.id, stage="filter", reason=hit.reason, detail=detail, attempts=1)
    if limits.min_length_score is not None and row.required_words is None:
        return row.model_copy(update={"required_words": stated_length(conversation)})
    return row


def _has_reasoning(row: Conversation | PreferencePair) -> bool:
    if isinstance(row, Conversation):
        return row.reasoning is not None
    return bool(row.chosen_reasoning or row.rejected_reasoning)


def _chosen(pair: PreferencePair) -> Conversation:
    earlier = ["" for message in pair.prompt if message.role == "assistant"]
    return Conversation(
        id=pair.id, source=pair.source, language=pair.language,
        messages=(*pair.prompt, Message(role="assistant", content=pair.chosen)),
        required_words=pair.required_words, actual_words=pair.chosen_words, prompt_sha=prompt_sha(pair.prompt),
        reasoning=(*earlier, pair.chosen_reasoning) if pair.chosen_reasoning else None,
    )  # fmt: skip
