"""S_l, by hand."""

from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.records import Response, Verdict
from lwexp.score.verdicts import score_responses
from lwexp.text.words import score_length
from tests.score.scripted_judge import response


@pytest.mark.parametrize(
    ("required", "words", "score"),
    [
        (1000, 1000, 100),
        (1000, 500, 50),  # 1 - (2 - 1)/2
        (1000, 2000, 66.6667),  # 1 - (2 - 1)/3
        (1000, 800, 87.5),  # 1 - (1.25 - 1)/2
        (1000, 1300, 90),  # 1 - 0.3/3
        (1000, 3000, 33.3333),
        (900, 300, 0),  # a third
        (1000, 334, 0.2994),  # 1 - (1000/334 - 1)/2
        (1000, 4000, 0),
        (1000, 3999, 0.0333),
        (1000, 40000, 0),
        (1000, 1, 0),
        (1000, 0, 0),
        (1, 1, 100),
    ],
)
def test_length_scores_are_those_of_the_paper(required: int, words: int, score: float) -> None:
    assert score_length(required, words) == pytest.approx(score, abs=5e-5)


def test_too_short_costs_more_than_too_long_by_the_same_factor() -> None:
    for factor in (1.1, 1.5, 2, 2.9):
        assert score_length(1000, round(1000 / factor)) < score_length(1000, round(1000 * factor))


def test_an_empty_answer_scores_zero_and_a_missing_one_stays_unscored(tmp_path: Path) -> None:
    def length_verdict(row: Response) -> Verdict:
        (verdict,) = score_responses([row], compose("judge=none").judge, seed=0, out_dir=tmp_path)
        assert (verdict.kind, verdict.scorer) == ("length", "S_l")
        return verdict

    empty = length_verdict(response(text="", words=0))
    assert (empty.score, empty.unscored_reason) == (0, None)
    missing = length_verdict(response(text="", words=0, finish_reason="error"))
    assert (missing.score, missing.unscored_reason) == (None, "no_answer")
    cut = length_verdict(response(words=5, finish_reason="length"))
    assert cut.score == 50
