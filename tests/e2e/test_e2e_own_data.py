"""Training on your own file, as docs/data.md shows it: 40 rows, from the file and through an import."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")


def rows(path: Path) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for number in range(40):
            answer = " ".join(f"word{(number * 7 + place) % 23}" for place in range(20 + number))
            turns = [("user", f"Write {20 + number} words on topic {number}."), ("assistant", answer)]
            row = {"messages": [{"role": role, "content": text} for role, text in turns]}
            file.write(json.dumps(row) + "\n")
    return path


def lwexp(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """A line of the page, typed in a folder of one's own."""
    shown = [line.partition("#")[0].strip() for line in PAGE.split("## Training on your own file")[1].splitlines()]
    assert command in shown
    words = command.removeprefix("lwexp ").split()
    return forked.run([sys.executable, "-m", "lwexp", *words], cwd=folder, timeout=560)


def mixture_of(folder: Path) -> dict:
    (path,) = (folder / "runs").glob("sft-*/mixture.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_file_of_ones_own_is_trained_on(tmp_path):
    rows(tmp_path / "my.jsonl")

    done = lwexp(tmp_path, "lwexp train mixture=file mixture.path=my.jsonl model=tiny_llama")

    assert done.returncode == 0, done.stderr
    assert mixture_of(tmp_path)["tally"] == "40 in = 40 kept"
    (manifest,) = (tmp_path / "runs").glob("sft-tiny_llama-*/manifest.json")
    assert json.loads(manifest.read_text(encoding="utf-8"))["status"] == "finished"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_plain_train_uses_the_import(tmp_path):
    rows(tmp_path / "my.jsonl")
    imported = lwexp(tmp_path, "lwexp generate task=import source=my.jsonl")
    assert imported.returncode == 0, imported.stderr

    done = lwexp(tmp_path, "lwexp train")

    assert done.returncode == 0, done.stderr
    assert "so the newest import is used" in done.stdout + done.stderr
    assert mixture_of(tmp_path)["tally"] == "40 in = 40 kept"
