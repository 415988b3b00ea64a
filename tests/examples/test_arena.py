"""examples/arena: three runs rated by the offline judge, from outside the repository."""

import json
import shutil
import subprocess
import sys
from math import log10
from pathlib import Path

import pytest

from tests.report import report_runs

EXAMPLE = Path(__file__).parents[2] / "examples" / "arena"
GOOD = "Part 1 of 1 looks at the history of tea. Farmers know it well. Here the text ends."
TEXTS = {"good": GOOD, "same": "Tea is old. " * 4, "bad": "word " * 12, "none": ""}


def test_three_runs_are_rated_from_pairs_in_both_orders(tmp_path: Path) -> None:
    """The first wins all three games against either of the others, which tie. With half a win for each side beside,
    its odds are 3.5 to 0.5: 400 log10(7) = 338.0 points."""
    shutil.copytree(EXAMPLE, tmp_path / "mine")
    for name, text in TEXTS.items():
        run = report_runs.make_run(tmp_path / "mine", f"eval-{name}-00000001", "evaluate")
        prompt = "Please write about 50 words on the history of tea."
        ends = {"finish_reason": "stop" if text else "error"}
        rows = [report_runs.response(f"p{n}", text=text, prompt=f"{prompt} {n}", **ends) for n in range(3)]
        report_runs.write_jsonl(run / "responses.jsonl", rows)
    runs = [f"eval-{name}-00000001" for name in TEXTS]
    command = [sys.executable, "arena.py", *runs, "judge=offline", "out=played"]
    done = subprocess.run(command, cwd=tmp_path / "mine", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"not rated: {runs[3]} has no answer" in done.stdout
    assert len((EXAMPLE / "arena.py").read_text().splitlines()) <= 70
    found = json.loads((tmp_path / "mine" / "played" / "arena.json").read_text())["models"]
    assert found[0]["model"] == runs[0]
    assert [row["score"] - found[2]["score"] for row in found] == pytest.approx([400 * log10(7), 0, 0], abs=1e-6)
    assert all(row["interval"][0] <= row["score"] <= row["interval"][1] for row in found)
    assert [row["games"] for row in found] == [6, 6, 6]  # three prompts against each of two others
    pairs = (tmp_path / "mine" / "played" / f"{runs[0]}-vs-{runs[2]}" / "pairwise.jsonl").read_text().splitlines()
    assert [json.loads(line)["shown_first"] for line in pairs] == ["ours", "other"] * 3
    one = subprocess.run([*command[:3]], cwd=tmp_path / "mine", capture_output=True, text=True)
    assert one.returncode == 2
    assert one.stderr.startswith("error: arena: wanted two evaluation runs or more")
