"""examples/arena: three runs rated by the offline judge, from outside the repository."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.report import report_runs

EXAMPLE = Path(__file__).parents[2] / "examples" / "arena"
GOOD = "Part 1 of 1 looks at the history of tea. Farmers know it well. Here the text ends."
TEXTS = {"good": GOOD, "middling": "Tea is old. " * 4, "bad": "word " * 12}


def test_three_runs_are_rated_from_pairs_in_both_orders(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "mine")
    for name, text in TEXTS.items():
        run = report_runs.make_run(tmp_path / "mine", f"eval-{name}-00000001", "evaluate")
        prompt = "Please write about 50 words on the history of tea."
        rows = [report_runs.response(f"p{n}", text=text, prompt=f"{prompt} {n}") for n in range(3)]
        report_runs.write_jsonl(run / "responses.jsonl", rows)
    runs = [f"eval-{name}-00000001" for name in TEXTS]
    command = [sys.executable, "arena.py", *runs, "judge=offline", "out=played"]
    done = subprocess.run(command, cwd=tmp_path / "mine", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len((EXAMPLE / "arena.py").read_text().splitlines()) <= 70
    found = json.loads((tmp_path / "mine" / "played" / "arena.json").read_text())["models"]
    assert (found[0]["model"], found[-1]["model"]) == (runs[0], runs[2])
    assert all(row["interval"][0] <= row["score"] <= row["interval"][1] for row in found)
    assert [row["games"] for row in found] == [6, 6, 6]  # three prompts against each of two others
    pairs = (tmp_path / "mine" / "played" / f"{runs[0]}-vs-{runs[2]}" / "pairwise.jsonl").read_text().splitlines()
    assert [json.loads(line)["shown_first"] for line in pairs] == ["ours", "other"] * 3
    one = subprocess.run([*command[:3]], cwd=tmp_path / "mine", capture_output=True, text=True)
    assert one.returncode == 2
    assert one.stderr.startswith("error: arena: wanted two evaluation runs or more")
