"""Paths that exist and cannot be used, at every door: one line, exit code 2, and no waiting."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lwexp import commands

LONG = "a" * 300
DOORS = {
    "mixture": "train experiment=own_data dry_run=true mixture.path={}.jsonl",
    "plugin": "train plugins=[{}.py]",
    "answers": "evaluate judge=none responses={}.jsonl",
    "judge prompt": "evaluate experiment=smoke judge=offline judge.prompt={}",
    "instructions": "generate teacher=offline instructions=file generate.instructions.path={}.jsonl",
    "import": "generate task=import source={}.jsonl",
    "run": "export run={}",
    "runs": "runs root={}",
    "report": "report {}",
    "page": "watch {}",
    "gguf": "convert gguf={} out=x",
    "model": "chat model={}",
    "sweep": "sweep status {}",
    "rerun": "rerun {}",
}


@pytest.mark.parametrize("door", DOORS)
def test_a_name_that_is_too_long_is_one_line(
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lwexp", *DOORS[door].format(LONG).split()])
    with pytest.raises(SystemExit) as left:
        commands.main()
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert (left.value.code, len(errors)) == (2, 1)
    assert LONG[:50] in errors[0]


@pytest.mark.parametrize("special", ["pipe.jsonl", "/dev/zero"])
@pytest.mark.parametrize("door", ["mixture", "answers", "judge prompt", "import"])
def test_a_pipe_or_a_device_is_refused_instead_of_read(door: str, special: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    words = DOORS[door].replace("{}.jsonl", special).replace("{}", special).split()
    done = subprocess.run(
        [sys.executable, "-m", "lwexp", *words, "root=runs"], cwd=tmp_path, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, len(errors)) == (2, 1)
    assert f"{special} is a pipe or a device; wanted a file" in errors[0]


def test_a_name_that_is_not_utf8_is_refused_as_such(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lwexp", *DOORS["mixture"].format(os.fsdecode(b"\xff")).split()])
    with pytest.raises(SystemExit) as left:
        commands.main()
    assert left.value.code == 2
    assert "has bytes that are not UTF-8; rename the file" in capsys.readouterr().err
