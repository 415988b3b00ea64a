"""Conversations that a run of lwexp wrote."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lwexp.extend.registry import register
from lwexp.extend.source import DataSource, Found
from lwexp.mix.sources.runs import find_output
from lwexp.records import Conversation, LwexpError, read_rows
from lwexp.text.plan_text import with_plan


@register
class DraftsSource(DataSource):
    """Conversations written by generate_data.py."""

    kind: Literal["drafts"] = "drafts"
    run: str = "newest"
    """A run directory or run name (imports too); "newest" takes the newest finished AgentWrite run under root."""
    with_plan: bool = False
    """The teacher's plan stands before the text, and the model learns to plan first: the plan-then-write ablation.
    Evaluation counts and judges the text after the plan alone."""

    def find(self, key: str, root: Path) -> Found:
        return find_output(
            key, self.run, "conversations.jsonl", root=root, stages=("data", "import"),
            make_it="python generate_data.py",
        )  # fmt: skip

    def rows(self, key: str, found: Found) -> Iterator[Conversation]:
        for row in read_rows(Path(found.path), Conversation):
            yield _plan_first(key, row) if self.with_plan else row


def _plan_first(key: str, row: Conversation) -> Conversation:
    """The conversation with its plan before its last answer; ``actual_words`` stays that of the text."""
    if not row.plan:
        raise LwexpError(f"{key}.with_plan=true: conversation {row.id} has no plan; AgentWrite's own runs have them")
    *before, last = row.messages
    answer = last.model_copy(update={"content": with_plan(row.plan, last.content)})
    return row.model_copy(update={"messages": (*before, answer)})
