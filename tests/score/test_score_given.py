"""Scores of another judge that came with the answers, in the release's judge.jsonl."""

import json
from pathlib import Path
from typing import Any

import pytest

from lwexp import api
from lwexp.records import LwexpError, Verdict, read_rows
from lwexp.score.given_scores import GivenScores, given_verdicts

SCORES = {
    "Relevance": 5, "Accuracy": 4, "Coherence": 4, "Clarity": 5, "Breadth and Depth": 3, "Reading Experience": 3,
    "Analysis": "Well made.",
}  # fmt: skip
# As eval_quality.py appends it: means on 0 to 100, and their mean.
TOTALS = {name: 75.0 for name, value in SCORES.items() if isinstance(value, int)} | {"total": 75.0}


def release_file(folder: Path, scores: dict[str, Any] = SCORES) -> Path:
    """judge.jsonl of two answers, of which the second has no scores, and the line of totals."""
    rows = [{"prompt": f"Write of tea {n}.", "type": "t", "length": 2, "response_length": 3, "response": "It is tea."}
            for n in (1, 2)]  # fmt: skip
    (folder / "bench.jsonl").write_text(
        "".join(json.dumps({k: r[k] for k in ("prompt", "length")}) + "\n" for r in rows)
    )
    path = folder / "judge.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (rows[0] | {"scores": scores}, rows[1], TOTALS)))
    return path


def run_on(folder: Path, responses: Path) -> Path:
    config = api.compose(
        "bench=jsonl",
        f"bench.path={folder / 'bench.jsonl'}",
        "judge=none",
        f"responses={responses}",
        f"root={folder / 'runs'}",
    )
    run = api.evaluate(config)
    assert run is not None
    return run.path


def test_the_releases_scores_are_verdicts_of_another_judge(tmp_path: Path) -> None:
    """Mean of 5 4 4 5 3 3 is 4, so S_q is 75. S_l of 3 words for 2 is 100 (1 - 0.5/3) = 83.33; S-bar 79.17."""
    run = run_on(tmp_path, release_file(tmp_path))
    judged = [row for row in read_rows(run / "verdicts.jsonl", Verdict) if row.kind == "quality"]
    assert [(row.response_id, row.scorer, row.score) for row in judged] == [("jsonl-1#0", "scores in judge.jsonl", 75)]
    assert judged[0].dimensions == {
        "relevance": 5, "accuracy": 4, "coherence": 4, "clarity": 5, "breadth_and_depth": 3, "reading_experience": 3,
    }  # fmt: skip
    summary = json.loads((run / "summary.json").read_text())
    assert summary["judge"] == "scores in judge.jsonl"
    (model,) = summary["models"].values()
    assert (model["S_q"], model["n_unscored"]) == (75, 1)
    assert model["S_bar"] == pytest.approx(79.1667, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"Clarity": 6}, "line 1: scores: clarity must be from 1 to 5, got 6"),
        ({"Clarity": "5"}, "line 1: scores: clarity must be from 1 to 5, got '5'"),
        ({"Clarity": True}, "clarity must be from 1 to 5, got True"),
        ({"Clarity": 5, "clarity": 4}, "it has a key twice"),
    ],
)
def test_scores_that_are_none_are_refused_with_their_line(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    with pytest.raises(LwexpError, match=problem):
        run_on(tmp_path, release_file(tmp_path, SCORES | change))


def test_a_missing_score_is_named_and_a_judge_of_the_row_is_kept() -> None:
    with pytest.raises(LwexpError, match="f line 1: scores: breadth_and_depth, reading_experience missing"):
        given_verdicts({"p#0": GivenScores("f line 1", "j", dict.fromkeys(list(SCORES)[:4], 3))})
    whole = {key: 4.5 for key, value in SCORES.items() if isinstance(value, int)}
    (verdict,) = given_verdicts({"p#0": GivenScores("f line 1", "gpt-4o", whole)})
    assert (verdict.scorer, verdict.score) == ("gpt-4o", 87.5)
