"""Runs of AgentWrite that are interrupted by faults, the budget or a stop, and are resumed."""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.generate import write_drafts
from lwexp.llm.ledger import Ledger
from lwexp.records import Draft, Failure, LwexpError, read_rows
from lwexp.runs import RunDirectory, find_run
from tests import forked
from tests.generate.draft_runs import outputs, results_of, write


def over_http(url: str, *overrides: str) -> tuple[str, ...]:
    return (
        "teacher=local_openai", f"teacher.base_url={url}", "teacher.limits.timeout_seconds=1.5",
        "teacher.limits.initial_backoff_seconds=0.1", "generate.instructions.count=10",
        "generate.instructions.required_words=[120]", *overrides,
    )  # fmt: skip


def test_faults_on_a_third_of_all_attempts_change_nothing(start_server: Callable[..., str], tmp_path: Path) -> None:
    """429 with and without Retry-After, 500, 502, 503, hang-ups, garbage, empty answers, time-outs: all recover."""
    calm = write(tmp_path, *over_http(start_server()))
    rough = write(tmp_path, *over_http(start_server("--fault-rate", "0.3")))
    texts = [[draft.text for draft in read_rows(run.path / "drafts.jsonl", Draft)] for run in (calm, rough)]
    assert texts[0] == texts[1]
    assert results_of(rough)["tally"] == "10 in = 10 kept"
    with closing(sqlite3.connect(rough.path / "ledger.sqlite")) as ledger, ledger:
        [retried] = ledger.execute("SELECT COUNT(*) FROM answers WHERE attempts > 1").fetchone()
    assert retried > 5


def test_what_never_comes_is_a_failure_and_never_text(start_server: Callable[..., str], tmp_path: Path) -> None:
    rows = [
        {"text": "Write 80 words about tea."},
        {"text": "Write 80 words about bread. [[faults: filter]]"},
        {"text": "Write 80 words about rivers. [[faults: context]]"},
        {"text": "Write 80 words about paper. [[faults: 500, 500, 500, 500]]"},
    ]
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = f"generate.instructions={{kind: file, path: {path}, count: null}}"
    run = write(tmp_path / "runs", "teacher=local_openai", f"teacher.base_url={start_server()}", f"++{source}",
                "~generate.instructions.required_words", "teacher.limits.max_attempts=2",
                "teacher.limits.initial_backoff_seconds=0.1")  # fmt: skip
    failures = list(read_rows(run.path / "draft_failures.jsonl", Failure))
    assert [(row.id, row.stage, row.reason, row.attempts) for row in failures] == [
        ("set-000002", "plan", "content_filter", 1),
        ("set-000003", "plan", "context_length", 1),
        ("set-000004", "plan", "server_error", 2),
    ]
    assert results_of(run)["tally"] == "4 in = 1 kept + 1 content filter + 1 context length + 1 server error"
    assert b"injected" not in (run.path / "drafts.jsonl").read_bytes()
    assert run.manifest.inputs.keys() == {"instructions"}


def test_what_may_pass_is_asked_for_again_and_nothing_else(start_server: Callable[..., str], tmp_path: Path) -> None:
    """Two tries a call and start; a plan and one paragraph a document. Attempts that the server sees, by hand:

    First start: 2 for tea, 1 for bread (refused for good), 2 lost on each of the other plans. Second: their plans
    come with 1 each, 2 are lost on each paragraph. Third: 1 for each paragraph. A fourth start asks for nothing.
    """
    faults = {
        "tea": "",
        "bread": "[[faults: filter]]",
        "rivers": "[[faults: 500, 429]]",
        "paper": "[[faults: drop, slow:3]]",
    }
    path = tmp_path / "set.jsonl"
    texts = [f"Write 30 words about {thing}. {fault}" for thing, fault in faults.items()]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    url = start_server()
    command = (f"root={tmp_path / 'runs'}", "instructions=file", f"generate.instructions.path={path}",
               "teacher=local_openai", f"teacher.base_url={url}", "teacher.limits.max_attempts=2",
               "teacher.limits.timeout_seconds=2.5", "teacher.limits.initial_backoff_seconds=0.1")  # fmt: skip
    published: list[str] = []
    seen = []
    for _ in range(4):
        run = write_drafts(compose(*command), publish=lambda run: published.append(run.manifest.status))
        assert run is not None
        with urllib.request.urlopen(url.removesuffix("v1") + "now") as answer:
            attempts = json.load(answer)["attempts"]
        results = results_of(run)
        seen.append((run.manifest.status, run.manifest.reason, results["conversations"], attempts))
        assert find_run("newest", root=tmp_path / "runs", stages=("data",), key="run", make_it="").id == run.id
    missing = "2 missing: 1 rate limit, 1 time out"
    assert seen == [
        ("incomplete", missing, 1, 2 + 1 + 2 + 2),
        ("incomplete", missing, 1, 7 + 3 + 3),
        ("finished", None, 3, 13 + 1 + 1),
        ("finished", None, 3, 15),
    ]
    assert published == ["incomplete", "incomplete", "finished"]
    assert results["tally"] == "4 in = 3 kept + 1 content filter"


def test_a_run_that_ends_early_is_published_too(start_server: Callable[..., str], tmp_path: Path) -> None:
    """200 tokens at $1,000 a million may cost $0.20; a document takes about $0.06, so $0.30 does for some of 20."""
    published: list[int] = []

    def publish(run: RunDirectory) -> None:
        published.append(len(list(read_rows(run.path / "drafts.jsonl", Draft))))

    config = compose(
        f"root={tmp_path}", "teacher=local_openai", f"teacher.base_url={start_server()}", "teacher.max_tokens=200",
        "teacher.price={input_per_mtok: 0.0, output_per_mtok: 1000.0}", "teacher.limits.budget_usd=0.3",
        "teacher.limits.concurrency=1", "generate.instructions.count=20", "generate.instructions.required_words=[30]",
    )  # fmt: skip
    with pytest.raises(LwexpError, match=r"budget_usd=0\.3 is reached"):
        write_drafts(config, publish=publish)
    [drafts] = published
    assert 0 < drafts < 20


def start_run(root: Path, *overrides: str) -> forked.Process:
    script = "import sys; from lwexp.config import compose; from lwexp.generate import write_drafts;" \
             "write_drafts(compose(*sys.argv[1:]))"  # fmt: skip
    command = [sys.executable, "-c", script, f"root={root}", *overrides]
    return forked.Process(command)


def wait_for_answers(root: Path, count: int) -> None:
    for _ in range(600):
        for path in root.glob("*/ledger.sqlite"):
            try:
                with closing(sqlite3.connect(path)) as ledger, ledger:
                    if ledger.execute("SELECT COUNT(*) FROM answers").fetchone()[0] >= count:
                        return
            except sqlite3.OperationalError:
                pass
        time.sleep(0.05)
    raise AssertionError("the run wrote nothing")


STATUS = {signal.SIGKILL: "running", signal.SIGINT: "interrupted", signal.SIGTERM: "preempted"}


@pytest.mark.slow
@pytest.mark.parametrize("number", STATUS)
def test_a_stopped_run_goes_on_to_the_same_bytes(number: signal.Signals, tmp_path: Path) -> None:
    overrides = ("generate.instructions.count=60",)
    process = start_run(tmp_path / "stopped", *overrides)
    wait_for_answers(tmp_path / "stopped", 40)
    process.send_signal(number)
    process.communicate()
    assert process.returncode != 0
    [path] = (tmp_path / "stopped").iterdir()
    stopped = RunDirectory.load(path)
    assert stopped.manifest.status == STATUS[number]
    with Ledger(path / "ledger.sqlite") as ledger:
        paid = ledger.totals().answers
    resumed = write(tmp_path / "stopped", *overrides)
    undisturbed = write(tmp_path / "undisturbed", *overrides)
    assert outputs(resumed) == outputs(undisturbed)
    assert 40 <= paid < results_of(resumed)["calls"] == results_of(undisturbed)["calls"]
