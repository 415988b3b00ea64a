"""``lwexp runs``: the contents of its table and of its JSON."""

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lwexp.commands.runs import main
from lwexp.config.folders import REPOSITORY
from lwexp.records import LwexpError
from tests.made_runs import make_run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four kinds in two folders: drafts, a training from them, its evaluation, and one that was killed."""
    root = tmp_path / "runs"
    drafts = {"tally": "x", "conversations": 24, "calls": 1, "prompt_tokens": 1, "completion_tokens": 1}
    make_run(root, "data-gpt-1", "data", "finished", results=drafts | {"cost_usd": 12.345}, end="2020-01-01")
    results = {"steps": 3, "final_loss": 1.23456, "target_tokens": 1, "seconds": 1, "max_train_words": 1, "model": "m"}
    parents = [{"id": "data-gpt-1"}]
    make_run(root / "demo", "sft-2", "train", "finished", results=results, parents=parents, end="2020-01-02")
    scored = make_run(root / "demo", "eval-3", "evaluate", "finished", parents=[{"id": "sft-2"}], end="2020-01-03")
    model = {"S_l": 88.74, "S_l_interval": [80, 90], "S_q": None, "S_q_interval": None, "n": 4}
    (scored / "summary.json").write_text(json.dumps({"models": {"sft": model}}))
    make_run(root / "demo", "cut-4", "train", "running", labels={"model": "glm4"})
    return root


def test_a_row_for_each_run_with_its_numbers(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"root={root}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["kind", "run", "state", "age", "result", "dollars", "made", "from"]
    rows = {line.split()[1]: " ".join(line.split()) for line in lines[1:]}
    assert set(rows) == {"data-gpt-1", "sft-2", "eval-3", "cut-4"}
    assert "finished" in rows["data-gpt-1"]
    assert rows["data-gpt-1"].endswith("24 conversations 12.35")
    assert rows["sft-2"].endswith("loss 1.235 data-gpt-1")
    assert rows["eval-3"].endswith("S_l 88.7 sft-2")
    assert "train cut-4 stopped" in rows["cut-4"]


def test_running_is_a_run_that_a_process_holds(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (root / "demo" / "cut-4" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        main([f"root={root}", "cut"])
    assert "train  cut-4  running" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "ids"),
    [(["train"], ["cut-4", "sft-2"]), (["train", "glm4"], ["cut-4"]), (["demo"], []), (["stopped"], ["cut-4"])],
)
def test_filters_by_kind_and_text_and_json(
    root: Path, capsys: pytest.CaptureFixture[str], words: list[str], ids: list[str]
) -> None:
    main([f"root={root}", "--json", *words])
    rows = json.loads(capsys.readouterr().out)
    assert sorted(row["id"] for row in rows) == ids


def test_json_has_the_numbers_as_they_are(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([f"root={root}", "--json"])
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["data-gpt-1"]["cost_usd"] == 12.345
    assert (rows["sft-2"]["loss"], rows["sft-2"]["parents"]) == (1.23456, ["data-gpt-1"])
    assert (rows["eval-3"]["scores"], rows["eval-3"]["loss"]) == ({"S_l": 88.74}, None)


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match="runs: kind=train: no such option"):
        main(["kind=train"])
    done = subprocess.run(
        [sys.executable, "-m", "lwexp", "runs"],
        cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "error: runs: there is no folder runs; set root=<folder>\n")
