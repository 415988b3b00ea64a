"""Missing answers: no output counts them, no figure draws them, and models are compared on common prompts.

``whole`` answers 4 prompts of 100 words exactly (S_l 100) and 4 of 400 words with half of them (S_l 50): mean 75.
``half`` answers only those of 100 words, with 75: S_l = 100 (1 - (100/75 - 1)/2) = 83.3. So its mean is higher,
although on each prompt that both answered it is worse.
"""

import csv
import re

import pytest

from lwexp.pages.display import quoted
from lwexp.report import compare
from lwexp.report.aggregation import ruler
from lwexp.report.load import load
from tests.report import report_runs

CLAIM = (
    # Four equal differences have a probability of 1/8 under no difference.
    "o model is clearly ahead on 4 of 8 prompts, those with a score for every model: S_l 100.0 for "
    '"whole"; "half" has 83.3, a difference of +16.7 over 4 prompts'
)


def make(root, name, words_of, *, end="stop", count=8):
    """An evaluation of ``count`` prompts; ``words_of`` says how many words come for a length, None that none do."""
    rows = []
    for number in range(count):
        required = 100 if number < count // 2 else 400
        words = words_of(required)
        rows.append(report_runs.response(
            f"p{number}", required=required, words=words or 0, text="tea " * (words or 0), model=name,
            finish_reason="error" if words is None else end,
        ))  # fmt: skip
    path = report_runs.make_run(
        root, f"eval-{name}-00000001", "evaluate", config={"bench": report_runs.bench(), "judge": {"kind": "none"}}
    )
    report_runs.write_jsonl(path / "responses.jsonl", rows)
    scored = [verdict for row in rows for verdict in report_runs.verdicts(row, judge=None)]
    for row, verdict in zip(rows, scored, strict=True):
        verdict |= {"score": None, "unscored_reason": "no_answer"} if row["finish_reason"] == "error" else {}
    report_runs.write_jsonl(path / "verdicts.jsonl", scored)
    return path


@pytest.fixture
def runs(tmp_path):
    return [
        make(tmp_path, "whole", lambda required: required if required == 100 else required // 2),
        make(tmp_path, "half", lambda required: 75 if required == 100 else None),
    ]


def test_four_renderings_say_how_many_came_and_compare_common_prompts(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    compare(runs, tmp_path / "report.html")
    told = " ".join(capsys.readouterr().out.split())
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", (tmp_path / "report.html").read_text()))
    markdown = (tmp_path / "report.md").read_text()
    assert "4 of 8" in told
    assert "| 4 of 8 |" in markdown
    assert "4 of 8 answers, 4 missing; 4 prompts" in page
    both = (
        "The models did not answer the same prompts. They are compared on the 4 of 8 prompts that all of them answered"
    )
    for text in (told, page, markdown):
        assert both in text
    assert CLAIM in told
    assert CLAIM in markdown.replace("\\_", "_")
    with (tmp_path / "report.csv").open(encoding="utf-8-sig") as file:
        table = {(line["model"], line["part"]): line for line in csv.DictReader(file)}
    columns = ("prompts", "answers", "asked", "missing", "empty", "median_words")
    assert [table["half", "all"][name] for name in columns] == ["4", "4", "8", "4", "0", "75.0"]
    assert [table["half", "[400,400]"][name] for name in columns] == ["0", "0", "4", "4", "0", ""]
    means = {model: float(table[model, "common"]["S_l"]) for model in ("whole", "half")}
    assert means == {"whole": 100, "half": pytest.approx(83.3333)}
    assert float(table["whole", "all"]["S_l"]) == 75


def test_half_of_492_answers_is_246_of_492_in_four_renderings(tmp_path, capsys, monkeypatch):
    """As the four-length HelloBench file that has no answer to half of its prompts."""
    monkeypatch.setenv("COLUMNS", "80")
    run = make(tmp_path, "half", lambda required: 75 if required == 100 else None, count=492)
    compare([run], tmp_path / "report.html")
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", (tmp_path / "report.html").read_text()))
    assert "246 of 492" in " ".join(capsys.readouterr().out.split())
    assert "| 246 of 492 |" in (tmp_path / "report.md").read_text()
    assert "246 of 492 answers, 246 missing; 246 prompts" in page
    with (tmp_path / "report.csv").open(encoding="utf-8-sig") as file:
        total = next(line for line in csv.DictReader(file) if line["part"] == "all")
    assert [total[name] for name in ("answers", "asked", "missing", "empty")] == ["246", "492", "246", "0"]


def test_no_figure_has_a_point_for_a_missing_answer(runs):
    half = next(each for each in load(runs).evaluations if each.label == "half")
    assert [(point.required, point.lowest) for point in ruler(half.answers)] == [(100, 75)]
    assert (half.asked, half.total.n_empty, half.total.scores["S_l"].n_unscored) == (100, 0, 0)


def test_an_empty_answer_still_counts_and_is_drawn(tmp_path):
    """Negative control: words 0 is an answer with S_l 0, where finish_reason "error" is none."""
    (each,) = load([make(tmp_path, "empty", lambda required: 100 if required == 100 else 0)]).evaluations
    assert (each.total.n, each.total.n_missing, each.total.n_empty, each.total.scores["S_l"].mean) == (8, 0, 4, 50)
    assert [point.lowest for point in ruler(each.answers)] == [100, 0]


def test_models_that_answered_everything_are_compared_without_a_note(tmp_path):
    paths = [make(tmp_path, name, lambda required, n=n: required - n) for n, name in enumerate(("a", "b"))]
    (group,) = load(paths).groups
    assert group.coverage == ""
    assert " prompts, those with" not in group.findings.headline
    assert "On the prompts that all models answered" not in [part.heading for part in group.parts]


def test_models_without_a_common_prompt_are_not_ranked(tmp_path):
    short = make(tmp_path, "short", lambda required: 100 if required == 100 else None)
    long = make(tmp_path, "long", lambda required: 400 if required == 400 else None)
    (group,) = load([short, long]).groups
    assert quoted(group.findings.headline) == (
        'The models have no prompt in common, so they are not compared: S_l "long" 100.0 over 4, "short" 100.0 over 4.'
    )
    assert group.coverage.startswith("No prompt was answered by all models")
    compare([short, long], tmp_path / "report.html")


def test_a_model_without_answers_does_not_stop_the_comparison_of_the_others(runs, tmp_path, capsys):
    none = make(tmp_path, "none", lambda required: None)
    (group,) = load([*runs, none]).groups
    assert group.coverage.startswith("Every answer of ")
    assert "The others did not answer the same prompts. They are compared on the 4 of 8 prompts" in group.coverage
    (group,) = load([runs[0], none]).groups
    assert quoted(group.coverage) == 'Every answer of "none" is missing.'
    compare([*runs, none], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text() + (tmp_path / "summary.json").read_text()
    assert [mark for mark in ("U+E000", "ue000", "\ue000") if mark in page] == []
    told = " ".join(capsys.readouterr().out.split())
    assert "No prompt was answered" not in told
    assert CLAIM in told


def test_one_model_says_how_many_prompts_its_mean_is_over(runs):
    (group,) = load(runs[1:]).groups
    assert quoted(group.findings.headline).startswith(
        '"half" scores S_l 83.3 (95% interval 83.3 to 83.3) on 4 of 8 prompts'
    )


def test_a_model_without_any_answer_has_no_longest_one(tmp_path, capsys):
    compare([make(tmp_path, "none", lambda required: None)], tmp_path / "report.html")
    told = capsys.readouterr().out
    assert "Every answer is missing." in told
    assert "0 words" not in told + (tmp_path / "report.md").read_text()


def test_an_unknown_end_is_not_shown_as_an_answer_that_was_not_cut(tmp_path):
    (unknown,) = load([make(tmp_path, "x", lambda required: 100, end="unknown")]).evaluations
    (cut,) = load([make(tmp_path, "y", lambda required: 100, end="length")]).evaluations
    assert (unknown.total.n_cut, cut.total.n_cut) == (None, 8)
