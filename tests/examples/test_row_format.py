"""examples/row_format: rows of a shape that lwexp does not know, from outside the repository."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lwexp.records import Conversation, Failure, read_rows
from tests import forked

EXAMPLE = Path(__file__).parents[2] / "examples" / "row_format"
ROWS = [{"turns": [f"Write about tea {n}", "word " * 40, "And coffee?", "word " * (n + 1)]} for n in range(8)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLE, tmp_path / "mine")
    lines = [*ROWS, {"turns": ["Only a question"]}, {"turns": ["Hi", 7]}]
    (tmp_path / "mine" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    return tmp_path / "mine"


def lwexp(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return forked.run([sys.executable, "-m", "lwexp", *words], cwd=folder)


def test_an_import_reads_the_rows_and_names_broken_ones(folder: Path) -> None:
    done = lwexp(folder, "generate", "plugins=[turns.py]", "task=import", "source=rows.jsonl", "name=mine")
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "runs").glob("mine-*")
    rows = list(read_rows(run / "conversations.jsonl", Conversation))
    assert [[message.content for message in row.messages] for row in rows] == [row["turns"] for row in ROWS]
    assert [message.role for message in rows[0].messages] == ["user", "assistant"] * 2
    assert [failure.detail for failure in read_rows(run / "import_failures.jsonl", Failure)] == [
        "rows.jsonl line 9: ends with user, wanted assistant at the end",
        "rows.jsonl line 10: turns[1].text is a number, wanted text",
    ]


def test_a_model_is_trained_on_them(folder: Path) -> None:
    done = lwexp(
        folder, "train", "plugins=[turns.py]", "mixture=turns", "model=tiny_glm", "model.shape.num_hidden_layers=1",
        "hardware=cpu", "pack.max_tokens=512", "objective.global_batch=2", "objective.max_steps=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (table,) = (folder / "runs").glob("*/mixture.json")
    assert (
        json.loads(table.read_text())["table"][0] | {"source": "mine", "available": 8, "taken": 8}
        == (json.loads(table.read_text())["table"][0])
    )


def test_without_the_plugin_the_format_is_unknown(folder: Path) -> None:
    """Negative control: it is the plugin that reads them."""
    done = lwexp(
        folder, "train", "experiment=smoke", "+mixture.sources.mine={kind: file, path: rows.jsonl, format: turns}"
    )
    assert done.returncode == 2
    assert "mixture.sources.mine.format" in done.stderr
    assert "alpaca" in done.stderr
    done = lwexp(folder, "generate", "task=import", "source=rows.jsonl")
    assert done.returncode == 2
    assert "messages, conversations or instruction is missing" in done.stderr
