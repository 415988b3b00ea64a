"""Conversations and preference pairs that a run of lwexp wrote."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from lwexp.extend.registry import register
from lwexp.extend.settings import Key
from lwexp.extend.source import DataSource, Found, PairSource
from lwexp.records import Conversation, FileState, LwexpError, PreferencePair, read_rows
from lwexp.text.plan_text import with_plan

log = logging.getLogger(__name__)


@register
class DraftsSource(DataSource):
    """Conversations written by generate_data.py."""

    kind: Literal["drafts"] = "drafts"
    run: str = "newest"
    """A run directory or run name (imports too); "newest" takes the newest finished AgentWrite run under root, or the
    newest import where there is no AgentWrite run."""
    plan_first: Annotated[bool, Key(formerly="with_plan")] = False
    """Put the teacher's plan before the text, so that the model learns to plan first (the plan-then-write ablation).
    Evaluation counts and judges only the text after the plan."""

    def find(self, key: str, root: Path) -> Found:
        return _find_output(key, self.run, "conversations.jsonl", root, ("data", "import"), "python generate_data.py")

    def rows(self, key: str, found: Found) -> Iterator[Conversation]:
        for row in read_rows(Path(found.path), Conversation):
            yield _plan_first(key, row) if self.plan_first else row


@register
class PairsRunSource(PairSource):
    """Preference pairs built by ``generate_data.py task=pairs``."""

    kind: Literal["built"] = "built"
    run: str = "newest"
    """A run directory or run name; "newest" takes the newest finished pairs run under root, or the newest
    import where there is no pairs run."""

    def find(self, key: str, root: Path) -> Found:
        make_it = "python generate_data.py task=pairs"
        return _find_output(key, self.run, "pairs.jsonl", root, ("pairs", "import"), make_it)

    def rows(self, key: str, found: Found) -> Iterator[PreferencePair]:
        return read_rows(Path(found.path), PreferencePair)


def _find_output(key: str, run: str, file: str, root: Path, stages: tuple[str, ...], make_it: str) -> Found:
    """A file of a finished run of one of these stages."""
    from lwexp.runs import find_run, fingerprint

    wanted, stages = _newest(key, file, root, stages) if run == "newest" else (run, stages)
    # Hydra adds ``mixture.sources={...}`` to the sources of the chosen mixture, so this one may not be wanted at all.
    make_it += f"; or leave this source out: '~{key}'"
    found = find_run(wanted, root=root, stages=stages, key=f"{key}.run", make_it=make_it)
    log.info("%s: %s", key, found.path)
    path = found.path / file
    if not path.is_file():
        raise LwexpError(f"{key}.run={run}: {path} is missing; remove {found.path} and make the run again")
    state = FileState.of(path)
    return Found(str(path), fingerprint(path), found.path, state)


def _newest(key: str, file: str, root: Path, stages: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The run and stages that "newest" means: the first stage, or an import where that stage has no run.

    If an import is newer than that run, the log names it, because the user may have meant it.
    """
    from lwexp.runs.find import list_runs

    runs = [run for run in list_runs(root) if run.is_usable]
    made = [number for number, run in enumerate(runs) if run.stage == stages[0]]
    imports = [number for number, run in enumerate(runs) if run.stage in stages[1:] and _has_rows(run.path / file)]
    if not imports or (made and made[-1] > imports[-1]):
        return "newest", stages[:1]
    newest = runs[imports[-1]].id
    if not made:
        log.info("%s: there is no %s run under %s, so the newest import is used", key, stages[0], root)
        return newest, stages
    log.info("%s: the import %s is newer and is not used; to use it, add %s.run=%s", key, newest, key, newest)
    return "newest", stages[:1]


def _has_rows(path: Path) -> bool:
    """Whether the file exists and is not empty; an import of conversations has no pairs."""
    return path.is_file() and path.stat().st_size > 0


def _plan_first(key: str, row: Conversation) -> Conversation:
    """The conversation with its plan before its last answer; ``actual_words`` still counts only the text."""
    if not row.plan:
        raise LwexpError(f"{key}.plan_first=true: conversation {row.id} has no plan; AgentWrite's own runs have them")
    *before, last = row.messages
    answer = last.model_copy(update={"content": with_plan(row.plan, last.content)})
    return row.model_copy(update={"messages": (*before, answer)})
