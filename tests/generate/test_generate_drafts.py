"""Whole runs of AgentWrite: offline, over HTTP with faults, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.generate import write_drafts
from lwexp.llm.ledger import Ledger
from lwexp.records import Conversation, Draft, Failure, LwexpError, read_rows
from lwexp.runs import RunDirectory, find_run
from lwexp.words import count_words

REPOSITORY = Path(__file__).resolve().parents[2]
OUTPUTS = ("drafts.jsonl", "conversations.jsonl", "failures.jsonl")


def write(root: Path, *overrides: str) -> RunDirectory:
    return write_drafts(compose(f"root={root}", *overrides))


def outputs(run: RunDirectory) -> list[bytes]:
    return [(run.path / name).read_bytes() for name in OUTPUTS]


def test_an_offline_run_writes_every_file_in_order(tmp_path: Path) -> None:
    run = write(tmp_path, "generate.instructions.count=12", "teacher.miss=0.0")
    drafts = list(read_rows(run.path / "drafts.jsonl", Draft))
    conversations = list(read_rows(run.path / "conversations.jsonl", Conversation))
    assert run.is_finished
    assert [draft.id for draft in drafts] == [row.id for row in conversations]
    # Six cells (two languages, three lengths), two turns; outputs keep that order though the longest ran first.
    assert [draft.instruction.required_words for draft in drafts] == [50, 50, 100, 100, 200, 200] * 2
    assert [draft.instruction.language for draft in drafts] == ["en", "zh"] * 6
    for draft, row in zip(drafts, conversations, strict=True):
        assert draft.plan.words == pytest.approx(draft.instruction.required_words, abs=len(draft.plan.steps))
        assert row.messages[0].content == draft.instruction.text
        assert row.messages[1].content == draft.text == "\n\n".join(draft.paragraphs)
        assert row.actual_words == count_words(draft.text)
        assert row.actual_words == pytest.approx(draft.plan.words, rel=0.15)
        assert (row.source, row.teacher, row.plan) == ("agentwrite", "offline/teacher", draft.plan.text)
        assert len(draft.paragraphs) == len(draft.plan.steps) == len(draft.finish_reasons)


def test_the_manifest_adds_up(tmp_path: Path) -> None:
    run = write(tmp_path, "generate.instructions.count=12", "generate.min_words=80")
    results = run.manifest["results"]
    kept, dropped = results["conversations"], 12 - results["conversations"]
    assert 0 < kept < 12
    assert results["tally"] == f"12 in = {kept} kept + {dropped} too short"
    assert len(list(read_rows(run.path / "failures.jsonl", Failure))) == dropped
    assert results["words"]["min"] >= 80
    assert results["cost_usd"] == 0.0
    with Ledger(run.path / "ledger.sqlite") as ledger:
        assert results["calls"] == ledger.totals().answers
    assert run.manifest["labels"] == {"teacher": "offline/teacher"}


def test_parquet_holds_the_same_rows(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    run = write(tmp_path, "generate.instructions.count=3")
    rows = [Conversation.model_validate(row) for row in pq.read_table(run.path / "conversations.parquet").to_pylist()]
    assert rows == list(read_rows(run.path / "conversations.jsonl", Conversation))


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    first = write(tmp_path, "generate.instructions.count=3")
    stamps = {path: path.stat().st_mtime_ns for path in first.path.iterdir()}
    again = write(tmp_path, "generate.instructions.count=3", "teacher.limits.concurrency=1")
    assert again.path == first.path
    assert {path: path.stat().st_mtime_ns for path in again.path.iterdir()} == stamps


def test_concurrency_does_not_change_a_byte(tmp_path: Path) -> None:
    one = write(tmp_path / "a", "generate.instructions.count=8", "teacher.limits.concurrency=1")
    many = write(tmp_path / "b", "generate.instructions.count=8", "teacher.limits.concurrency=32")
    assert one.id == many.id
    assert outputs(one) == outputs(many)


def test_parallel_writing_sends_no_text_so_far(tmp_path: Path) -> None:
    """Sequential prompts grow with the text; parallel ones do not, and nothing else differs between the modes."""
    tokens = {}
    for mode in ("sequential", "parallel"):
        run = write(tmp_path, "generate.instructions.count=6", f"generate.mode={mode}")
        tokens[mode] = run.manifest["results"]["prompt_tokens"]
    assert tokens["parallel"] < tokens["sequential"]


def test_direct_writing_asks_once_a_document(tmp_path: Path) -> None:
    """Six documents, six calls, no plan; the stand-in, told to miss by nothing, writes what was asked for."""
    run = write(tmp_path, "generate.instructions.count=6", "generate.mode=direct", "teacher.miss=0.0")

    drafts = list(read_rows(run.path / "drafts.jsonl", Draft))
    assert run.manifest["results"]["calls"] == 6
    assert [len(draft.plan.steps) for draft in drafts] == [1] * 6
    assert {draft.plan.text for draft in drafts} == {""}
    for draft in drafts:
        assert count_words(draft.text) == pytest.approx(draft.instruction.required_words, rel=0.1)


def test_a_dry_run_asks_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lengths = ("generate.instructions.count=4", "generate.instructions.required_words=[5000]")
    assert write(tmp_path, "teacher=gpt4o", "dry_run=true", *lengths) is None
    shown = capsys.readouterr().out
    # 5,000 words in paragraphs of 500 are 10 steps, and a plan: 11 calls, four times.
    assert "calls         44" in shown
    assert "2 en x 5,000 words, 2 zh x 5,000 words" in shown
    # Sent again, at 1.35 (en) and 1 (zh) tokens a word: 2 * (6,750 + 5,000) * 9 / 2
    assert "of which 105,750 are text sent again" in shown
    assert "$" in shown
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("task", [[], ["task=select", "source=chat.jsonl"]])
def test_a_missing_key_is_one_line_and_leaves_nothing_behind(tmp_path: Path, task: list[str]) -> None:
    """As a user types it: exit code 2, one line, no run directory."""
    (tmp_path / "chat.jsonl").write_text('{"prompt": "Write a 3000-word essay about the history of tea."}\n')
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    command = [sys.executable, REPOSITORY / "generate_data.py", "teacher=gpt4o", *task, f"root={tmp_path / 'runs'}"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.endswith("type: export OPENAI_API_KEY=<your key>")
    assert not (tmp_path / "runs").exists()


def test_a_run_that_keeps_nothing_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match=r"no draft was kept .* 3 too short"):
        write(tmp_path, "generate.instructions.count=3", "generate.min_words=100000")
    [path] = tmp_path.iterdir()
    assert RunDirectory.load(path).manifest["status"] == "failed"


def long_paragraphs(*overrides: str) -> tuple[str, ...]:
    """Two documents of two paragraphs of 150 words each; the stand-in's token is a word."""
    return ("generate.instructions.count=2", "generate.instructions.required_words=[300]",
            "teacher.paragraph_words=150", "teacher.miss=0.0", *overrides)  # fmt: skip


def test_a_paragraph_that_stays_cut_is_kept_and_flagged(tmp_path: Path) -> None:
    """60 tokens, then 120: both too few for 150 words."""
    run = write(tmp_path, *long_paragraphs("teacher.max_tokens=60"))
    drafts = list(read_rows(run.path / "drafts.jsonl", Draft))
    assert {reason for draft in drafts for reason in draft.finish_reasons} == {"length"}
    assert run.manifest["results"]["cut_at_max_tokens"] == 2
    assert run.manifest["results"]["cut_and_asked_again"] == 4
    assert all(count_words(paragraph) == 120 for draft in drafts for paragraph in draft.paragraphs)


def test_a_cut_paragraph_is_whole_with_more_room(tmp_path: Path) -> None:
    """100 tokens, then 200: each of four paragraphs is asked for twice, and two plans once."""
    run = write(tmp_path, *long_paragraphs("teacher.max_tokens=100"))
    drafts = list(read_rows(run.path / "drafts.jsonl", Draft))
    assert {reason for draft in drafts for reason in draft.finish_reasons} == {"stop"}
    assert run.manifest["results"]["cut_and_asked_again"] == 4
    assert run.manifest["results"]["calls"] == 2 + 2 * 4
    plain = write(tmp_path, *long_paragraphs("teacher.max_tokens=100", "generate.retry_room=null"))
    assert plain.manifest["results"]["calls"] == 2 + 4


def over_http(url: str, *overrides: str) -> tuple[str, ...]:
    return (
        "teacher=local_openai", f"teacher.base_url={url}", "teacher.limits.timeout_seconds=1.5",
        "generate.instructions.count=10", "generate.instructions.required_words=[120]", *overrides,
    )  # fmt: skip


def test_faults_on_a_third_of_all_attempts_change_nothing(start_server: Callable[..., str], tmp_path: Path) -> None:
    """429 with and without Retry-After, 500, 502, 503, hang-ups, garbage, empty answers, time-outs: all recover."""
    calm = write(tmp_path, *over_http(start_server()))
    rough = write(tmp_path, *over_http(start_server("--fault-rate", "0.3")))
    texts = [[draft.text for draft in read_rows(run.path / "drafts.jsonl", Draft)] for run in (calm, rough)]
    assert texts[0] == texts[1]
    assert rough.manifest["results"]["tally"] == "10 in = 10 kept"
    with sqlite3.connect(rough.path / "ledger.sqlite") as ledger:
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
                "~generate.instructions.required_words", "teacher.limits.max_attempts=2")  # fmt: skip
    failures = list(read_rows(run.path / "failures.jsonl", Failure))
    assert [(row.id, row.stage, row.reason, row.attempts) for row in failures] == [
        ("set-000002", "plan", "content_filter", 1),
        ("set-000003", "plan", "context_length", 1),
        ("set-000004", "plan", "server_error", 2),
    ]
    assert run.manifest["results"]["tally"] == "4 in = 1 kept + 1 content filter + 1 context length + 1 server error"
    assert b"injected" not in (run.path / "drafts.jsonl").read_bytes()
    assert run.manifest["inputs"].keys() == {"instructions"}


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
               "teacher.limits.timeout_seconds=2.5", "teacher.limits.first_pause_seconds=0.1")  # fmt: skip
    published: list[str] = []
    seen = []
    for _ in range(4):
        run = write_drafts(compose(*command), publish=lambda run: published.append(run.manifest["status"]))
        assert run is not None
        with urllib.request.urlopen(url.removesuffix("v1") + "now") as answer:
            attempts = json.load(answer)["attempts"]
        results = run.manifest["results"]
        seen.append((run.manifest["status"], run.manifest.get("reason"), results["conversations"], attempts))
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


def start_run(root: Path, *overrides: str) -> subprocess.Popen[str]:
    script = "import sys; from lwexp.config import compose; from lwexp.generate import write_drafts;" \
             "write_drafts(compose(*sys.argv[1:]))"  # fmt: skip
    command = [sys.executable, "-c", script, f"root={root}", *overrides]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for_answers(root: Path, count: int) -> None:
    for _ in range(600):
        for path in root.glob("*/ledger.sqlite"):
            try:
                with sqlite3.connect(path) as ledger:
                    if ledger.execute("SELECT COUNT(*) FROM answers").fetchone()[0] >= count:
                        return
            except sqlite3.OperationalError:
                pass
        time.sleep(0.05)
    raise AssertionError("the run wrote nothing")


STATUS = {signal.SIGKILL: "running", signal.SIGINT: "interrupted", signal.SIGTERM: "preempted"}


@pytest.mark.parametrize("number", STATUS)
def test_a_stopped_run_goes_on_to_the_same_bytes(number: signal.Signals, tmp_path: Path) -> None:
    overrides = ("generate.instructions.count=60",)
    process = start_run(tmp_path / "stopped", *overrides)
    wait_for_answers(tmp_path / "stopped", 40)
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    [path] = (tmp_path / "stopped").iterdir()
    stopped = RunDirectory.load(path)
    assert stopped.manifest["status"] == STATUS[number]
    with Ledger(path / "ledger.sqlite") as ledger:
        paid = ledger.totals().answers
    resumed = write(tmp_path / "stopped", *overrides)
    undisturbed = write(tmp_path / "undisturbed", *overrides)
    assert outputs(resumed) == outputs(undisturbed)
    assert 40 <= paid < resumed.manifest["results"]["calls"] == undisturbed.manifest["results"]["calls"]


def test_a_dry_run_prices_the_text_that_is_sent_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1,000 documents of 1,000 words in two paragraphs, by hand, at 1.35 tokens a word and 60 a line of the plan.

    Prompts: the plan's (1 word of template, 4 of instruction: 6.75), two of 4 + 4 words, a plan of 120 and a step of
    60 (190.8 each), and the first paragraph once more (675): 1,063. Completion: 120 + 1,350 = 1,470.
    GPT-4o at 2.50, 1.25 (cached) and 10 dollars a million: 2.6575 + 14.70 = 17.36, less 675,000 * 1.25 = 0.84.
    """
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    for language in ("en", "zh"):
        (prompts / f"plan_{language}.txt").write_text("$INST$")
        (prompts / f"write_{language}.txt").write_text("$INST$ $PLAN$ $TEXT$ $STEP$")
    path = tmp_path / "set.jsonl"
    path.write_text('{"text": "Write 1000 words about tea."}\n' * 1000)
    source = ("instructions=file", f"generate.instructions.path={path}", f"generate.prompts={prompts}")
    assert write(tmp_path / "runs", "teacher=gpt4o", "dry_run=true", *source) is None
    shown = capsys.readouterr().out
    assert "calls         3,000" in shown
    assert "prompt        1,063,000 tokens, of which 675,000 are text sent again" in shown
    assert "completion    1,470,000 tokens" in shown
    assert "about $17.36, $16.51 if the provider caches what is sent again" in shown
