"""Finished runs with known rows, made without a teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.records import Conversation, Failure, PreferencePair, TableWriter, tally, write_rows
from lwexp.runs import RunDirectory, open_run
from lwexp.runs.artifacts import Artifact

MakeRun = Callable[..., RunDirectory]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A finished run that holds these rows."""

    def make(
        stage: str = "import",
        conversations: Sequence[Conversation] = (),
        pairs: Sequence[PreferencePair] = (),
        failures: Sequence[Failure] = (),
    ) -> RunDirectory:
        config = compose(f"root={tmp_path}/runs", "name=set")
        run = open_run(stage, config, default_name="set", inputs={"source": "0"}, labels={"teacher": "t/model"})
        with run:
            for stem, row_type, rows in (
                ("conversations", Conversation, conversations),
                ("pairs", PreferencePair, pairs),
            ):
                if rows:
                    with TableWriter(run.path, stem, row_type) as table:
                        for row in rows:
                            table.append(row)
            write_rows(run.path / "draft_failures.jsonl", failures)
            kept = len(conversations) or len(pairs)
            counts = tally(kept + len(failures), kept, (failure.reason for failure in failures))
            run.finish(Artifact(tally=str(counts), cost_usd=1.25))
        return run

    return make
