"""Conversations and preference pairs that a run of lwexp wrote."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lwexp.extend.registry import register
from lwexp.extend.source import DataSource, Found, PairSource
from lwexp.records import Conversation, LwexpError, PreferencePair, read_rows
from lwexp.text.plan_text import with_plan

log = logging.getLogger(__name__)


@register
class DraftsSource(DataSource):
    """Conversations written by generate_data.py."""

    kind: Literal["drafts"] = "drafts"
    run: str = "newest"
    """A run directory or run name (imports too); "newest" takes the newest finished AgentWrite run under root."""
    with_plan: bool = False
    """Put the teacher's plan before the text, so that the model learns to plan first (the plan-then-write ablation).
    Evaluation counts and judges only the text after the plan."""

    def find(self, key: str, root: Path) -> Found:
        return _find_output(key, self.run, "conversations.jsonl", root, ("data", "import"), "python generate_data.py")

    def rows(self, key: str, found: Found) -> Iterator[Conversation]:
        for row in read_rows(Path(found.path), Conversation):
            yield _plan_first(key, row) if self.with_plan else row


@register
class PairsRunSource(PairSource):
    """Preference pairs built by ``generate_data.py task=pairs``."""

    kind: Literal["built"] = "built"
    run: str = "newest"
    """A run directory or run name; "newest" takes the newest finished pairs run under root."""

    def find(self, key: str, root: Path) -> Found:
        make_it = "python generate_data.py task=pairs"
        return _find_output(key, self.run, "pairs.jsonl", root, ("pairs", "import"), make_it)

    def rows(self, key: str, found: Found) -> Iterator[PreferencePair]:
        return read_rows(Path(found.path), PreferencePair)


def _find_output(key: str, run: str, file: str, root: Path, stages: tuple[str, ...], make_it: str) -> Found:
    """A file of a finished run. An import is found by its name only; "newest" means the first of ``stages``."""
    from lwexp.runs import find_run, fingerprint

    wanted = stages[:1] if run == "newest" else stages
    found = find_run(run, root=root, stages=wanted, key=f"{key}.run", make_it=make_it)
    log.info("%s: %s", key, found.path)
    path = found.path / file
    if not path.is_file():
        raise LwexpError(f"{key}.run={run}: {path} is missing; remove {found.path} and make the run again")
    return Found(str(path), fingerprint(path), found.path)


def _plan_first(key: str, row: Conversation) -> Conversation:
    """The conversation with its plan before its last answer; ``actual_words`` stays that of the text."""
    if not row.plan:
        raise LwexpError(f"{key}.with_plan=true: conversation {row.id} has no plan; AgentWrite's own runs have them")
    *before, last = row.messages
    answer = last.model_copy(update={"content": with_plan(row.plan, last.content)})
    return row.model_copy(update={"messages": (*before, answer)})
