"""Text in files that UTF-8 or SQLite refuses is replaced and counted, and never causes a traceback."""

import json
from pathlib import Path
from typing import Any

import pytest

from lwexp.benches.file import FileBench
from lwexp.config import compose
from lwexp.mix.importer import import_conversations
from lwexp.records import Conversation, Prompt, read_rows, write_rows
from lwexp.sample.external_responses import read_responses
from lwexp.score.metrics.quality import QualityMetric

HALF = "tea \ud83d ends"
MENDED = "tea \ufffd ends"


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


ROWS: dict[str, dict[str, Any]] = {
    "an answer": {"instruction": "Tea?", "output": HALF},
    "a question": {"instruction": HALF, "output": "Tea."},
    "a system text": {"instruction": "Tea?", "output": "Tea.", "system": HALF},
    "a NUL": {"instruction": "Tea?", "output": "tea \0 ends"},
    "messages": {"messages": [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": HALF}]},
    "a role": {"messages": [{"role": HALF, "content": "Tea?"}]},
    "a key": {HALF: 1, "instruction": "Tea?", "output": "Tea."},
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_an_imported_row_is_mended_and_counted(
    tmp_path: Path, row: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    source = written(tmp_path / "set.jsonl", row, {"messages": ROWS["messages"]["messages"], **ROWS["an answer"]})
    run = import_conversations(compose(f"root={tmp_path}/runs", "task=import", f"source='{source}'"))
    assert run is not None
    kept = list(read_rows(run.path / "conversations.jsonl", Conversation))
    assert kept[-1].messages[-1].content == MENDED
    assert "2 rows could not be stored as UTF-8" in caplog.text


def test_two_halves_side_by_side_are_the_emoji_and_nothing_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = written(tmp_path / "set.jsonl", {"instruction": "Tea?", "output": "\ud83c\udf75"})
    run = import_conversations(compose(f"root={tmp_path}/runs", "task=import", f"source='{source}'"))
    assert run is not None
    assert next(read_rows(run.path / "conversations.jsonl", Conversation)).messages[-1].content == "\U0001f375"
    assert "stored" not in caplog.text


def test_a_row_that_is_nested_too_deeply_is_a_broken_row(tmp_path: Path) -> None:
    deep = '{"instruction": "Tea?", "output": "x", "meta": ' + "[" * 900 + "]" * 900 + "}"
    source = written(tmp_path / "set.jsonl", ROWS["an answer"])
    provenance = json.dumps("[" * 5_000)
    with source.open("a") as file:
        file.write(f'{deep}\n{{"instruction": "Tea?", "output": "x", "provenance": {provenance}}}\n')
    run = import_conversations(compose(f"root={tmp_path}/runs", "task=import", f"source='{source}'"))
    assert run is not None
    assert {row.id for row in read_rows(run.path / "conversations.jsonl", Conversation)} >= {"set-1", "set-3"}


def test_prompts_of_a_bench_are_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path / "b.jsonl", {"prompt": HALF, "length": 10, "id": HALF, "type": HALF})
    bench = compose("bench=jsonl", f"bench.path='{path}'", "bench.name=mine").bench
    assert isinstance(bench, FileBench)
    (prompt,) = bench.prompts()
    assert (prompt.text, prompt.id, prompt.type) == (MENDED, MENDED, MENDED)
    write_rows(tmp_path / "out.jsonl", [prompt])
    assert "3 characters in 1 prompts could not be stored" in caplog.text


def test_answers_of_others_are_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prompt = Prompt(id=MENDED, text="Tea?", language="en", type="t", required_words=3)
    path = written(tmp_path / "pred.jsonl", {"prompt_id": HALF, "prompt": "Tea?", "response": HALF, "model": HALF})
    (row,) = read_responses(path, [prompt], bench="mine")
    assert (row.text, row.model, row.words) == (MENDED, MENDED, 2)
    write_rows(tmp_path / "out.jsonl", [row])
    assert "3 characters in 1 rows could not be stored" in caplog.text


def test_a_judges_prompt_file_is_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "judge.txt"
    file.write_text("Judge\0 $INST$ $RESPONSE$", encoding="utf-8")
    assert QualityMetric().judge_prompt(str(file)).text == "Judge\ufffd $INST$ $RESPONSE$"
    assert "1 characters could not be stored" in caplog.text
