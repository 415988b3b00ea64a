"""A judge that did not tell good texts from shuffled words is named wherever its scores stand."""

import csv
import json
import re

import pytest

from lwexp.report import compare
from lwexp.report.load import load
from tests.report import report_runs

JUDGE = "openai/judge"
SAID = f"The judge {JUDGE} did not tell good answers from the same words shuffled, so S_q and S-bar mean little."


def make(root, name, separates, judge=JUDGE):
    """An evaluation by ``judge`` whose check of JUDGE ended so; "missing" writes no check."""
    path = report_runs.evaluation(
        root, f"eval-{name}-00000001", None, report_runs.noisy(0.1), lengths=(50, 100), repeats=1, judge=judge
    )
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"name": name}))
    if separates != "missing":
        pairs = [{"id": "bicycle", "good": 75.0, "salad": 75.0}]
        check = {"model": JUDGE, "least_gap": 20.0, "separates": separates, "pairs": pairs}
        (path / "judge_anchors.json").write_text(json.dumps(check))
    return path


def test_terminal_page_markdown_and_csv_say_that_the_judge_failed(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    compare([make(tmp_path, "a", False)], tmp_path / "report.html")
    assert SAID in " ".join(capsys.readouterr().out.split())
    assert SAID in (tmp_path / "report.md").read_text().replace("\\_", "_")
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", (tmp_path / "report.html").read_text()))
    assert page.count(SAID.replace("S_q", "Sq")) == 2  # above the scores, and above their table
    with (tmp_path / "report.csv").open(encoding="utf-8-sig") as file:
        assert {line["judge_check"] for line in csv.DictReader(file)} == {
            "did not tell good answers from shuffled words"
        }
    assert SAID in json.loads((tmp_path / "summary.json").read_text())["notes"]


@pytest.mark.parametrize("separates", [True, None, "missing"])
def test_a_judge_that_passed_or_was_not_checked_is_not_accused(tmp_path, separates):
    compare([make(tmp_path, "a", separates)], tmp_path / "report.html")
    for name in ("report.md", "report.html", "report.csv", "summary.json"):
        text = (tmp_path / name).read_text()
        assert "shuffled" not in text
        assert "judge_check" not in text


def test_scores_by_another_judge_are_not_accused(tmp_path):
    """The check is that of the configured judge; the scores shown came with the answers."""
    (group,) = load([make(tmp_path, "a", False, judge="other/judge")]).groups
    assert group.judge_check == ""


def test_of_two_models_the_one_whose_judging_failed_is_named(tmp_path):
    (group,) = load([make(tmp_path, "a", False), make(tmp_path, "b", True)]).groups
    assert group.judge_check.endswith("so S_q and S-bar of \ue000a\ue001 mean little.")
