"""Text that UTF-8 or SQLite refuses, wherever it enters, is replaced and counted, and no run hangs or crashes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from lwexp.config import compose
from lwexp.generate import write_drafts
from lwexp.generate.prompts import load_templates
from lwexp.llm import pool, transport
from lwexp.llm.client import Client
from lwexp.llm.ledger import Entry, Ledger
from lwexp.llm.pool import NothingRead, ask_all, ask_and_read
from lwexp.records import LwexpError, Preempted
from lwexp.text.encodable import encodable, encodable_json
from tests.llm.providers.runs import STORIES, generate, instruction_file, rows_of, select_from, teacher
from tests.llm.providers.server import Provider

NOVEL = "Write a long novel about {} and the people who care for it over a hundred years."
ENTRY = Entry("text", "stop", 10, 20, 0.25, 1)


@pytest.mark.parametrize(
    ("text", "wanted", "replaced"),
    [
        ("plain", "plain", 0),
        ("tea 茶 \N{TEACUP WITHOUT HANDLE} \ufffd", "tea 茶 \N{TEACUP WITHOUT HANDLE} \ufffd", 0),
        ("half \ud83d end", "half \ufffd end", 1),
        ("other half \ude00", "other half \ufffd", 1),
        ("nul \x00 \ufffd", "nul \ufffd \ufffd", 1),
        # Two halves side by side are one emoji: U+D83D U+DE00 is U+1F600.
        ("pair \ud83d\ude00", "pair \U0001f600", 0),
        ("wrong order \ude00\ud83d", "wrong order \ufffd\ufffd", 2),
    ],
)
def test_what_cannot_be_stored_is_replaced_and_counted(text: str, wanted: str, replaced: int) -> None:
    assert encodable(text) == (wanted, replaced)
    wanted.encode()
    assert encodable_json({text: [text, 1, None]}) == ({wanted: [wanted, 1, None]}, 2 * replaced)


@pytest.mark.parametrize("kind", ["plan", "paragraph"])
def test_half_an_emoji_in_an_answer_loses_nothing(
    kind: str, provider: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = generate(tmp_path, provider, f"broken_{kind}")
    assert run.manifest.results["tally"] == "7 in = 7 kept"
    drafts = rows_of(run, "drafts.jsonl")
    texts = [draft["plan"]["text"] if kind == "plan" else draft["paragraphs"][0] for draft in drafts]
    assert all(text.endswith("\ufffd\ufffd") for text in texts)
    answers = 7 if kind == "plan" else 14
    assert f"teacher: {2 * answers} characters in {answers} answers could not be stored" in caplog.text


def test_one_document_with_half_an_emoji_leaves_the_others_alone(provider: Provider, tmp_path: Path) -> None:
    """Before, this run hung for ever, and again at every restart."""
    run = generate(tmp_path, provider, "broken_for_bakers")
    with_it = [draft["id"] for draft in rows_of(run, "drafts.jsonl") if "\ufffd" in draft["paragraphs"][0]]
    assert run.manifest.results["tally"] == "7 in = 7 kept"
    assert with_it == ["set-000002"]


def test_a_selection_reads_a_verdict_with_half_an_emoji(provider: Provider, tmp_path: Path) -> None:
    texts = [NOVEL.format("a mill"), NOVEL.format("the old bridge")]
    run = select_from(tmp_path, provider, "broken_select", "select.counts={en: 2, zh: 0}", texts=texts)
    assert run.manifest.results["tally"] == "2 in = 2 kept"


def test_half_an_emoji_in_a_file_is_replaced_in_texts_and_ids(
    provider: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The two places where ``generate`` reads text: instructions of a file, and rows of a selection."""
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({"id": "a\ud83d", "text": f"{STORIES[0]} \ud83d", "source": "s\x00"}) + "\n")
    run = write_drafts(
        compose(
            f"root={tmp_path / 'runs'}", "instructions=file", f"generate.instructions.path={path}",
            *teacher(provider, "healthy"),
        )
    )  # fmt: skip
    assert run is not None
    [draft] = rows_of(run, "drafts.jsonl")
    assert (draft["id"], draft["instruction"]["source"]) == ("a\ufffd", "s\ufffd")
    assert draft["instruction"]["text"].endswith("\ufffd")
    assert "own.jsonl: 3 characters in 1 rows could not be stored" in caplog.text
    chosen = select_from(tmp_path, provider, "healthy", texts=[f"{NOVEL.format('a mill')} \udc00"])
    assert rows_of(chosen, "instructions.jsonl")[0]["text"].endswith("\ufffd")


def test_a_template_with_what_no_text_holds_is_refused_in_one_line(tmp_path: Path) -> None:
    from lwexp.generate import prompts

    for source in Path(prompts.__file__).with_name("prompts").glob("*_??.txt"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    config = compose(f"generate.prompts={tmp_path}").generate
    assert load_templates(config)  # the control: complete copies are fine
    whole = (tmp_path / "plan_en.txt").read_bytes()
    for bytes_, said in ((whole + b"\xff", "is not UTF-8"), (whole + b"\0 x", "1 NUL character")):
        (tmp_path / "plan_en.txt").write_bytes(bytes_)
        with pytest.raises(LwexpError, match=said) as error:
            load_templates(config)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("behaviour", "reason"), [("huge_numbers", "no word count"), ("deep_json", "no plan")])
def test_a_reply_that_cannot_be_read_is_no_crash(
    behaviour: str, reason: str, provider: Provider, tmp_path: Path
) -> None:
    """Before, the ledger replayed the crash at every start."""
    for _ in range(2):
        with pytest.raises(LwexpError, match=rf"no draft was kept \(7 in = 0 kept \+ 7 {reason}\)"):
            generate(tmp_path, provider, behaviour)
        with pytest.raises(LwexpError, match=r"\(1 in = 0 kept \+ 1 unreadable\)"):
            select_from(tmp_path, provider, behaviour, texts=[NOVEL.format("a mill")])
    assert provider.kinds() == {"plan": 14, "select": 2}


@pytest.mark.parametrize("crash", [ValueError("5,000 digits"), RecursionError("deep"), KeyError("clarity")])
def test_whatever_a_reader_raises_is_an_unreadable_reply(crash: Exception, offline: Any, tmp_path: Path) -> None:
    def read(_: str) -> str:
        raise crash

    async def run() -> None:
        with Ledger(tmp_path / "l.sqlite", power_safe=False) as ledger:
            async with Client(offline(), ledger) as client:
                await ask_and_read(client, "Write 30 words about tea.", read, str, seed=1)

    with pytest.raises(NothingRead) as caught:
        asyncio.run(run())
    assert caught.value.reason == "unreadable"


def test_token_counts_that_no_column_holds_are_stored(provider: Provider, tmp_path: Path) -> None:
    run = generate(tmp_path, provider, "huge_usage")
    assert run.manifest.results["tally"] == "7 in = 7 kept"


def settle_together(ledger: Ledger, *entries: Entry) -> list[Any]:
    """Each entry under its place as its key, all at once; the outcomes, errors included."""

    async def run() -> list[Any]:
        waiting = (ledger.settle(str(i), entry, model="m", call=None) for i, entry in enumerate(entries))
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "poison",
    [
        ENTRY._replace(text="\ud83d"),
        ENTRY._replace(prompt_tokens=1 << 63),
        Entry(*cast(Any, (object(), *ENTRY[1:]))),
        Entry(*cast(Any, ("text", None, *ENTRY[2:]))),
    ],
    ids=["surrogate", "2^63", "object", "null"],
)
def test_an_entry_that_cannot_be_stored_fails_alone_and_the_ledger_goes_on(poison: Entry, tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        first, failed, last = settle_together(ledger, ENTRY, poison, ENTRY._replace(text="last"))
        assert (first, last.text) == (ENTRY, "last")
        assert isinstance(failed, LwexpError)
        assert "could not be stored" in str(failed)
        assert "\n" not in str(failed)
        assert settle_together(ledger, ENTRY) == [ENTRY]
        assert ledger.totals().answers == 2


def test_a_writer_that_breaks_wakes_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:

        def broken(_: object) -> None:
            raise RuntimeError("the thread is gone")

        monkeypatch.setattr(ledger, "_commit_each", broken)
        outcomes = settle_together(ledger, ENTRY, ENTRY, ENTRY)
    assert [type(outcome) for outcome in outcomes] == [LwexpError] * 3
    assert "the thread is gone" in str(outcomes[0])


def test_a_ledger_damaged_or_of_another_program_is_one_line(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "l.sqlite")) as other, other:
        other.execute("CREATE TABLE answers (x)")
    with Ledger(tmp_path / "l.sqlite") as ledger, pytest.raises(LwexpError, match="cannot be read"):
        ledger.totals()


def test_sigterm_ends_a_run_within_the_time_of_a_call(provider: Provider, tmp_path: Path) -> None:
    """Two calls hang for 8 s, a call may take 2: SLURM's SIGTERM must not end in its SIGKILL."""
    script = "import sys; from lwexp.config.cli import run_script; from lwexp.generate import write_drafts;" \
             "run_script('generate', write_drafts)"  # fmt: skip
    command = [
        sys.executable, "-c", script, f"root={tmp_path / 'runs'}", "instructions=file",
        f"generate.instructions.path={instruction_file(tmp_path)}",
        *teacher(provider, "hangs", "teacher.limits.timeout_seconds=2", "teacher.limits.max_attempts=50"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if len(provider.calls) > 3:
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    started = time.monotonic()
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 143
    assert time.monotonic() - started < 2 + 5
    assert "Traceback" not in said


def test_sigterm_ends_calls_that_outlive_their_time_out(
    offline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network layer that never gives up."""

    async def never(*_: object, **__: object) -> None:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        await asyncio.Event().wait()

    async def work(client: Client, text: str) -> None:
        await client.ask([{"role": "user", "content": text}], seed=1)

    monkeypatch.setattr(transport, "send", never)
    monkeypatch.setattr(pool, "_GRACE", 0.2)
    started = time.monotonic()
    with Ledger(tmp_path / "l.sqlite", power_safe=False) as ledger, pytest.raises(Preempted):
        ask_all(["Write 30 words about tea."], offline(concurrency=1, timeout_seconds=0.5), ledger, work)
    assert 0.9 <= time.monotonic() - started < 5
