"""The sources of a mixture: found and fingerprinted first, read later."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lwexp.config import Config
from lwexp.config.data import DraftsSource, FileSource, HubSource, PairsFileSource, PairsRunSource
from lwexp.mix.files import hub_fingerprint, read_file, read_hub
from lwexp.mix.parse import parse_conversations, parse_pairs
from lwexp.records import Conversation, Failure, LwexpError, PreferencePair, read_rows
from lwexp.runs import RunDirectory, find_run, fingerprint
from lwexp.text.plan_prefix import with_plan

log = logging.getLogger(__name__)

AnySource = DraftsSource | FileSource | HubSource | PairsRunSource | PairsFileSource


@dataclass(frozen=True)
class Resolved:
    """A source of the mixture, found."""

    name: str
    key: str  # its config key, for messages: "mixture.sources.<name>" or "mixture.pairs.<name>"
    source: AnySource
    path: str  # a file, a folder, or a hub id
    fingerprint: str  # sha256 of the content; for a hub id what ``datasets`` knows its content by
    run: RunDirectory | None  # the run that wrote it, if one did


def resolve_mixture(config: Config) -> list[Resolved]:
    """Find what the objective trains on: ``mixture.sources`` for SFT, ``mixture.pairs`` for DPO.

    Cheap: files are hashed, nothing is parsed. A source with count 0 is left out, and need not exist.

    Raises:
        LwexpError: If a file or run is missing, or no source is left.
    """
    section = "pairs" if config.objective.kind == "dpo" else "sources"
    sources: dict[str, AnySource] = dict(getattr(config.mixture, section))
    found = [
        _resolve(f"mixture.{section}.{name}", name, source, Path(config.root))
        for name, source in sources.items()
        if source.count != 0
    ]
    if not found:
        raise LwexpError(f"mixture.{section}: no source with a count above 0; choose a mixture that has one")
    return found


def read_conversations(item: Resolved) -> Iterator[Conversation | Failure]:
    """All conversations of a source; the ``source`` column of each is the mixture's name for it."""
    source = item.source
    if isinstance(source, DraftsSource):
        for written in read_rows(Path(item.path), Conversation):
            draft = _planned(item.key, written) if source.with_plan else written
            yield draft.model_copy(update={"source": item.name})
        return
    assert isinstance(source, FileSource | HubSource), source
    raw = read_hub(item.path, source.split) if isinstance(source, HubSource) else read_file(Path(item.path))
    for row in parse_conversations(raw, origin=item.path, name=item.name, format=source.format):
        yield row if isinstance(row, Failure) else row.model_copy(update={"source": item.name})


def read_pairs(item: Resolved) -> Iterator[PreferencePair | Failure]:
    """All preference pairs of a source; the ``source`` column of each is the mixture's name for it."""
    if isinstance(item.source, PairsRunSource):
        for row in read_rows(Path(item.path), PreferencePair):
            yield row.model_copy(update={"source": item.name})
        return
    for pair in parse_pairs(read_file(Path(item.path)), origin=item.path, name=item.name):
        yield pair if isinstance(pair, Failure) else pair.model_copy(update={"source": item.name})


def _planned(key: str, row: Conversation) -> Conversation:
    """The conversation with its plan before its last answer; ``actual_words`` stays that of the text."""
    if not row.plan:
        raise LwexpError(f"{key}.with_plan=true: conversation {row.id} has no plan; AgentWrite's own runs have them")
    *before, last = row.messages
    answer = last.model_copy(update={"content": with_plan(row.plan, last.content)})
    return row.model_copy(update={"messages": (*before, answer)})


def _resolve(key: str, name: str, source: AnySource, root: Path) -> Resolved:
    if isinstance(source, DraftsSource):
        # An import is asked for by its name; "newest" means what the teacher wrote.
        stages = ("data",) if source.run == "newest" else ("data", "import")
        run = _find(key, source, root, stages, "python generate_data.py")
        path = _output(run, "conversations.jsonl", f"{key}.run={source.run}")
        return Resolved(name, key, source, str(path), fingerprint(path), run)
    if isinstance(source, PairsRunSource):
        # An import may hold pairs as well, but only its name says so.
        stages = ("pairs",) if source.run == "newest" else ("pairs", "import")
        run = _find(key, source, root, stages, "python generate_data.py task=pairs")
        path = _output(run, "pairs.jsonl", f"{key}.run={source.run}")
        return Resolved(name, key, source, str(path), fingerprint(path), run)
    path = Path(source.path)
    if path.exists():
        return Resolved(name, key, source, source.path, fingerprint(path), None)
    if isinstance(source, HubSource):
        return Resolved(name, key, source, source.path, hub_fingerprint(source.path), None)
    raise LwexpError(f"{key}.path={source.path} does not exist; wanted a .json, .jsonl or .parquet file")


def _find(
    key: str, source: DraftsSource | PairsRunSource, root: Path, stages: tuple[str, ...], make_it: str
) -> RunDirectory:
    run = find_run(source.run, root=root, stages=stages, key=f"{key}.run", make_it=make_it)
    log.info("%s: %s", key, run.path)
    return run


def _output(run: RunDirectory, name: str, asked: str) -> Path:
    """A file that a finished run must hold; somebody may have tidied it away."""
    path = run.path / name
    if not path.is_file():
        raise LwexpError(f"{asked}: {path} is missing; remove {run.path} and make the run again")
    return path
