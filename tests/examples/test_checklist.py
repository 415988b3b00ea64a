"""examples/checklist: a bench with a metric of its own and prompts without lengths, from outside the repository."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lwexp.records import Judgement, Verdict, read_rows
from tests import forked
from tests.score.scripted_judge import Judge

EXAMPLE = Path(__file__).parents[2] / "examples" / "checklist"
# Answers name the checks that they pass; "seeds" is empty.
ANSWERS = {"ferry": "passes 1 2 4", "seeds": "", "letter": "passes 1", "recipe": "passes 1"}


def reply(messages: list[dict[str, str]]) -> str:
    """Yes to the checks whose number stands in the answer; the letter is unreadable at first, then for good."""
    text = messages[0]["content"]
    answer = re.search(r"<response-\w+>\n(.*)\n</response", text, re.S)
    assert answer is not None
    if "邻居" in text:
        return '{"replies": [{"reason": "短", "answer": "yes"}]}'  # one of two
    checks = re.findall(r"^(\d)\. ", text.split("yes or no.")[1], re.M)
    said = {check: "yes" if check in answer[1] else "no" for check in checks}
    return json.dumps({"replies": [{"reason": f"Says {check}.", "answer": said[check]} for check in checks]})


@pytest.fixture
def judge() -> Iterator[Judge]:
    made = Judge()
    made.say = reply
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLE, tmp_path / "mine")
    rows = [{"bench": "checklist", "prompt_id": id, "response": text} for id, text in ANSWERS.items()]
    (tmp_path / "mine" / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "mine"


def evaluate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lwexp", "evaluate", "plugins=[checklist.py]", "bench=checklist"]
    return forked.run([*command, "responses=answers.jsonl", *words], cwd=folder)


def test_answers_are_scored_by_the_checks_of_their_prompts(folder: Path, judge: Judge) -> None:
    """3 of 4 checks are 75, the empty answer 0, 1 of 1 is 100; the letter is unscored. Mean of 75, 0 and 100: 58.3."""
    url = f"judge.base_url=http://127.0.0.1:{judge.server.server_port}/v1"
    done = evaluate(folder, "judge=server", url)
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "runs").iterdir()
    verdicts = list(read_rows(run / "verdicts.jsonl", Verdict))
    assert {v.response_id: (v.kind, v.score, v.unscored_reason) for v in verdicts} == {
        "ferry#0": ("checklist", 75, None),
        "seeds#0": ("checklist", 0, None),
        "letter#0": ("checklist", None, "unreadable"),
        "recipe#0": ("checklist", 100, None),
    }
    judged = {row.response_id: row for row in read_rows(run / "judgements.jsonl", Judgement)}
    assert {row.kind for row in judged.values()} == {"checklist"}
    assert judged["ferry#0"].dimensions == {"check_1": 1, "check_2": 1, "check_3": 0, "check_4": 1}
    check = json.loads((EXAMPLE / "prompts.jsonl").read_text().splitlines()[0])["checks"][2]
    assert judged["ferry#0"].reasons["check_3"] == f"{check}: Says 3."
    # The empty answer was not sent; the unreadable one was asked about twice, with what was wrong.
    assert len(judge.seen) == 2 + 2
    assert any("it has 1 entries, wanted 2" in messages[-1]["content"] for messages in judge.seen)
    summary = json.loads((run / "summary.json").read_text())
    (model,) = summary["models"].values()
    assert (model["passed"], model["n"], model["n_unscored"]) == (pytest.approx(175 / 3), 4, 1)
    with (run / "report.csv").open(encoding="utf-8-sig") as file:
        lines = {line["part"]: line for line in csv.DictReader(file)}
    assert {part: line["passed"] for part, line in lines.items()} == {"all": "58.3333", "en": "58.3333", "zh": ""}
    page = (run / "report.html").read_text()
    assert "checks passed, per cent" in page
    for name in ("summary.json", "report.csv", "report.html", "report.md"):
        text = (run / name).read_text()
        assert "passed" in text
        for absent in ("S_l", "S_q", "S_bar", "S-bar", "S<sub>", "words asked for"):
            assert absent not in text, f"{file} speaks of {absent}"


def test_what_does_not_fit_is_one_line(folder: Path) -> None:
    for words, said in (
        (["judge=none"], "all metrics of bench=checklist need a judge"),
        (["bench.metrics=[length]"], "bench.ranges"),
        (["bench.metrics=[length]", "bench.ranges=[{low: 0, high: 9, closed: true}]"], "no prompt asks for a length"),
        (["judge=offline", "judge.prompt=mine.txt"], "checklist asks its own question"),
        (["judge=offline", "judge.segments=true"], "parts are scored by S_q"),
    ):
        done = evaluate(folder, "dry_run=true", *words)
        assert (done.returncode, said in done.stderr) == (2, True), (words, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_dry_run_says_nothing_of_lengths(folder: Path) -> None:
    done = evaluate(folder, "dry_run=true", "judge=offline")
    assert done.returncode == 0, done.stderr
    assert "answers  4, at most" in done.stdout
