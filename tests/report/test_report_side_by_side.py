"""Judges of the same answers, scatter of lengths, and lengths that a prompt allows, with numbers made by hand."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lwexp.records import Response, write_rows
from lwexp.report import compare
from lwexp.report.load import load
from lwexp.runs.summaries import PairedDifference, RegressionSummary
from lwexp.score.checks import check
from lwexp.score.texts import segments
from tests.report import report_runs

TEXTS = ["one two", "three four five", "six", "seven eight"]


def judged_run(root: Path, name: str, judge: str, scores: list[float], texts: list[str] = TEXTS) -> Path:
    """Four answers with an S_q, and a dimension that both judges score alike."""
    path = report_runs.make_run(
        root, f"eval-{name}", "evaluate", config={"bench": report_runs.bench(), "judge": {"model": judge}}
    )
    rows = [report_runs.response(f"p{n}", text=text, model="m") for n, text in enumerate(texts)]
    found = [
        verdict | ({"dimensions": {"relevance": float(n)}} if verdict["kind"] == "quality" else {})
        for n, (row, score) in enumerate(zip(rows, scores, strict=True))
        for verdict in report_runs.verdicts(row, quality=score, judge=judge)
    ]
    report_runs.write_jsonl(path / "responses.jsonl", rows)
    report_runs.write_jsonl(path / "verdicts.jsonl", found)
    return path


def test_two_judges_of_the_same_answers_stand_side_by_side(tmp_path: Path) -> None:
    """Ranks 1 2 3 4 and 1 3 2 4: rho = 1 - 6 (1 + 1) / (4 x 15) = 0.8. Each pair is 10 apart, the means are equal.

    Differences 10, -10, 10, -10: error 5.7735, times t(3) = 3.18 gives 18.4. One resample in 16 is 10 four times, whose
    error counts as a quarter of that: 10 / 1.4434 = 6.928 errors, or 40.
    """
    runs = [
        judged_run(tmp_path, "a-00000001", "x/strict", [50, 60, 70, 80]),
        judged_run(tmp_path, "b-00000002", "x/mild", [40, 70, 60, 90]),
    ]
    out = compare(runs, tmp_path / "report.html")
    (pair,) = json.loads((tmp_path / "summary.json").read_text())["judges"]
    assert (pair["judges"], pair["n"]) == (["x/strict", "x/mild"], 4)
    assert pair["interval"] == pytest.approx([-40, 40], abs=1e-3)
    quality = pair["agreement"]["S_q"]
    assert quality["means"] == [65, 65]
    assert quality["spearman"] == pytest.approx(0.8)
    assert quality["mean_difference"] == pytest.approx(10)
    # Krippendorff, by hand: observed 4 x 100 / 4 = 100; expected over the 8 values 50 60 70 80 40 70 60 90.
    values = [50, 60, 70, 80, 40, 70, 60, 90]
    expected = sum((x - y) ** 2 for x in values for y in values) / (8 * 7)
    assert quality["alpha"] == pytest.approx(1 - 100 / expected)
    assert pair["agreement"]["relevance"]["spearman"] == pair["agreement"]["relevance"]["alpha"] == 1
    assert "Two judges of the same answers" in out.read_text()
    assert re.search(
        r"\| S\\?_q \| x/strict / x/mild \| +4 \| 65.00 / 65.00 \| +0.80 \|", out.with_suffix(".md").read_text()
    )


def test_a_judge_that_scores_all_alike_has_no_rank_correlation(tmp_path: Path) -> None:
    runs = [
        judged_run(tmp_path, "a-00000001", "x/strict", [50, 60, 70, 80]),
        judged_run(tmp_path, "b-00000002", "x/same", [50, 50, 50, 50]),
    ]
    out = compare(runs, tmp_path / "report.html")
    assert json.loads((tmp_path / "summary.json").read_text())["judges"][0]["agreement"]["S_q"]["spearman"] is None
    assert re.search(r"\| 4 \| 65.00 / 50.00 \| \N{EN DASH} \|", out.with_suffix(".md").read_text())


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        ({}, "No prompt has a score on both sides."),
        ({"all": {"S_l": (1, None)}}, "Both sides share a single prompt, which shows no difference for certain."),
        ({"all": {"S_l": (4, (1.0, 9.0))}}, "this older comparison has no p values"),
    ],
)
def test_a_comparison_without_intervals_says_why(ranges: dict[str, Any], said: str, tmp_path: Path) -> None:
    run = judged_run(tmp_path, "a-00000001", "x/strict", [50, 60, 70, 80])
    cells = {
        part: {
            name: PairedDifference(n=n, ours=60, other=55, difference=5, interval=interval, is_worse=False)
            for name, (n, interval) in scores.items()
        }
        for part, scores in ranges.items()
    }
    RegressionSummary(other="eval-b-00000002", ranges=cells).write(run)
    page = compare([run], tmp_path / "report.html").read_text()
    sentences = ("No prompt has a score on both", "Both sides share a single prompt", "this older comparison has")
    assert [text for text in sentences if text in page] == [text for text in sentences if text in said]
    assert said in page


@pytest.mark.parametrize(("judge", "texts"), [("x/strict", TEXTS), ("x/mild", [text + " more" for text in TEXTS])])
def test_other_texts_or_the_same_judge_are_not_compared(tmp_path: Path, judge: str, texts: list[str]) -> None:
    runs = [
        judged_run(tmp_path, "a-00000001", "x/strict", [50, 60, 70, 80]),
        judged_run(tmp_path, "b-00000002", judge, [40, 70, 60, 90], texts),
    ]
    compare(runs, tmp_path / "report.html")
    assert json.loads((tmp_path / "summary.json").read_text())["judges"] == []


def test_scores_that_came_with_the_answers_stand_beside_the_judge(tmp_path: Path) -> None:
    path = judged_run(tmp_path, "a-00000001", "x/strict", [50, 60, 70, 80])
    with (path / "verdicts.jsonl").open("a") as file:
        for n, score in enumerate([40, 70, 60, 90]):
            file.write(
                json.dumps({"response_id": f"p{n}#0", "kind": "quality", "scorer": "paper", "score": score}) + "\n"
            )
    compare([path], tmp_path / "report.html")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["m"]["S_q"] == 65
    assert summary["judge"] == "x/strict"
    assert summary["judges"][0]["judges"] == ["x/strict", "paper"]
    assert summary["judges"][0]["agreement"]["S_q"]["spearman"] == pytest.approx(0.8)


def test_volatility_is_the_scatter_of_repeated_lengths(tmp_path: Path) -> None:
    """80 and 120 words: sd 28.28 of a mean of 100, 28.28%. 100 and 100: 0%. Mean 14.14%; t(1) reaches far beyond 0."""
    path = report_runs.make_run(tmp_path, "eval-a-00000001", "evaluate", config={"bench": report_runs.bench()})
    rows = [
        report_runs.response(prompt, repeat=repeat, required=100, words=words, model="m")
        for prompt, lengths in (("p1", (80, 120)), ("p2", (100, 100)), ("p3", (0, 0)), ("p4", (70,)))
        for repeat, words in enumerate(lengths)
    ]
    report_runs.write_jsonl(path / "responses.jsonl", rows)
    report_runs.write_jsonl(path / "verdicts.jsonl", [v for row in rows for v in report_runs.verdicts(row, judge=None)])
    out = compare([path], tmp_path / "report.html")
    model = json.loads((tmp_path / "summary.json").read_text())["m"]
    assert model["length_volatility"] == pytest.approx(14.1421, abs=1e-4)
    assert model["length_volatility_interval"] == pytest.approx([0, 14.1421 + 12.7062 * 14.1421], abs=1e-2)
    assert 'Volatility of length from run to run: "m" 14.1%' in out.with_suffix(".md").read_text()
    assert "length_volatility" in out.with_suffix(".csv").read_text(encoding="utf-8-sig").splitlines()[0]
    report_runs.write_jsonl(path / "responses.jsonl", [row for row in rows if row["repeat"] == 0])
    compare([path], out)
    assert "length_volatility" not in json.loads((tmp_path / "summary.json").read_text())["m"]
    assert "olatility" not in out.read_text()


def test_a_length_that_the_prompt_allows_scores_100_beside_s_l(tmp_path: Path) -> None:
    """600 words of 400: S_l 83.33. Obeying: at least 100, at most 83.33, and about 400 written exactly: 100.

    All: S_l (83.33 + 83.33 + 100) / 3 = 88.89; obeying 94.44; LIFEBench (100 + 100 / e + 100) / 3 = 78.93.
    """
    path = report_runs.make_run(tmp_path, "eval-a-00000001", "evaluate", config={"bench": report_runs.bench()})
    asked = [("Write at least 400 words.", 600), ("Write at most 400 words.", 600), ("Write 400 words.", 400)]
    rows = [
        report_runs.response(f"p{n}", required=400, prompt=prompt, text="word " * words, words=words, model="m")
        for n, (prompt, words) in enumerate(asked)
    ]
    report_runs.write_jsonl(path / "responses.jsonl", rows)
    report_runs.write_jsonl(path / "verdicts.jsonl", [v for row in rows for v in report_runs.verdicts(row, judge=None)])
    answers = [Response.model_validate(row) for row in rows]
    write_rows(path / "checks.jsonl", [check(row, segments(row.text, 1)) for row in answers])
    out = compare([path], tmp_path / "report.html")
    model = json.loads((tmp_path / "summary.json").read_text())["m"]
    assert model["S_l"] == pytest.approx(88.8889, abs=1e-4)
    assert model["S_l_obeyed"] == pytest.approx(94.4444, abs=1e-4)
    assert model["life_score"] == pytest.approx(78.9293, abs=1e-4)
    said = "2 of 3 prompts ask for at least, at most or between"
    assert said in out.with_suffix(".md").read_text()
    text = re.sub(r"<[^>]+>", " ", out.read_text())
    assert said in text
    assert re.search(r"at most\s+1\s+83\.3\s+83\.3\s+36\.8\s+50\.0%", text)


def test_a_bench_of_plain_lengths_says_nothing_of_instructions(demo_runs: list[Path]) -> None:
    from lwexp.report.answers.instructions import instruction_note, instruction_rows

    evaluations = load(demo_runs).evaluations
    assert instruction_note(evaluations) == ""
    assert not any(instruction_rows(each) for each in evaluations)
