"""Whole runs of AgentWrite, offline: their files, modes, cuts and prices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.generate import write_drafts
from lwexp.llm.ledger import Ledger
from lwexp.records import Conversation, Draft, Failure, LwexpError, read_rows
from lwexp.runs import RunDirectory
from lwexp.text.words import count_words
from tests.generate.draft_runs import outputs, results_of, write

REPOSITORY = Path(__file__).resolve().parents[2]


def test_an_offline_run_writes_every_file_in_order(tmp_path: Path) -> None:
    run = write(tmp_path, "generate.instructions.count=12", "teacher.length_noise=0.0")
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
    results = results_of(run)
    kept, dropped = results["conversations"], 12 - results["conversations"]
    assert 0 < kept < 12
    assert results["tally"] == f"12 in = {kept} kept + {dropped} too short"
    assert len(list(read_rows(run.path / "draft_failures.jsonl", Failure))) == dropped
    assert results["words"]["min"] >= 80
    assert results["cost_usd"] == 0.0
    with Ledger(run.path / "ledger.sqlite") as ledger:
        assert results["calls"] == ledger.totals().answers
    assert dict(run.labels.items()) == {"teacher": "offline/teacher"}


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
        tokens[mode] = results_of(run)["prompt_tokens"]
    assert tokens["parallel"] < tokens["sequential"]


def test_direct_writing_asks_once_a_document(tmp_path: Path) -> None:
    """Six documents, six calls, no plan; the stand-in, told to miss by nothing, writes what was asked for."""
    run = write(tmp_path, "generate.instructions.count=6", "generate.mode=direct", "teacher.length_noise=0.0")

    drafts = list(read_rows(run.path / "drafts.jsonl", Draft))
    assert results_of(run)["calls"] == 6
    assert [len(draft.plan.steps) for draft in drafts] == [1] * 6
    assert {draft.plan.text for draft in drafts} == {""}
    for draft in drafts:
        assert count_words(draft.text) == pytest.approx(draft.instruction.required_words, rel=0.1)


def test_a_dry_run_asks_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lengths = ("generate.instructions.count=4", "generate.instructions.required_words=[5000]")
    assert write_drafts(compose(f"root={tmp_path}", "teacher=gpt4o", "dry_run=true", *lengths)) is None
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
    command = [
        sys.executable,
        str(REPOSITORY / "generate_data.py"),
        "teacher=gpt4o",
        *task,
        f"root={tmp_path / 'runs'}",
    ]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.endswith("type: export OPENAI_API_KEY=<your key>")
    assert not (tmp_path / "runs").exists()


def test_a_run_that_keeps_nothing_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match=r"no draft was kept .* 3 too short"):
        write(tmp_path, "generate.instructions.count=3", "generate.min_words=100000")
    [path] = tmp_path.iterdir()
    assert RunDirectory.load(path).manifest.status == "failed"


def long_paragraphs(*overrides: str) -> tuple[str, ...]:
    """Two documents of two paragraphs of 150 words each; the stand-in's token is a word."""
    return ("generate.instructions.count=2", "generate.instructions.required_words=[300]",
            "teacher.paragraph_words=150", "teacher.length_noise=0.0", *overrides)  # fmt: skip


def test_a_paragraph_that_stays_cut_is_kept_and_flagged(tmp_path: Path) -> None:
    """60 tokens, then 120: both too few for 150 words."""
    run = write(tmp_path, *long_paragraphs("teacher.max_tokens=60"))
    drafts = list(read_rows(run.path / "drafts.jsonl", Draft))
    assert {reason for draft in drafts for reason in draft.finish_reasons} == {"length"}
    assert results_of(run)["cut_at_max_tokens"] == 2
    assert results_of(run)["cut_and_asked_again"] == 4
    assert all(count_words(paragraph) == 120 for draft in drafts for paragraph in draft.paragraphs)


def test_a_cut_paragraph_is_whole_with_more_room(tmp_path: Path) -> None:
    """100 tokens, then 200: each of four paragraphs is asked for twice, and two plans once."""
    run = write(tmp_path, *long_paragraphs("teacher.max_tokens=100"))
    drafts = list(read_rows(run.path / "drafts.jsonl", Draft))
    assert {reason for draft in drafts for reason in draft.finish_reasons} == {"stop"}
    assert results_of(run)["cut_and_asked_again"] == 4
    assert results_of(run)["calls"] == 2 + 2 * 4
    plain = write(tmp_path, *long_paragraphs("teacher.max_tokens=100", "generate.retry_max_tokens_factor=null"))
    assert results_of(plain)["calls"] == 2 + 4


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
    assert write_drafts(compose(f"root={tmp_path / 'runs'}", "teacher=gpt4o", "dry_run=true", *source)) is None
    shown = capsys.readouterr().out
    assert "calls         3,000" in shown
    assert "prompt        1,063,000 tokens, of which 675,000 are text sent again" in shown
    assert "completion    1,470,000 tokens" in shown
    assert "about $17.36, $16.51 if the provider caches what is sent again" in shown
