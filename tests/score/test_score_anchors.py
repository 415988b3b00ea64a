"""A judge is believed only if it tells good answers from the same words shuffled."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from lwexp.extend.metric import STANDARD, metrics_of
from lwexp.records import LwexpError
from lwexp.runs.summaries import AnchorPair, JudgeAnchors
from lwexp.score.anchors import ANCHORS, check_judge, separates
from tests.score.scripted_judge import Judge, response

DIMENSIONS = ("relevance", "accuracy", "coherence", "clarity", "breadth_and_depth", "reading_experience")
METRICS = metrics_of(STANDARD)
EN, ZH = response("p#0"), response("q#0", language="zh", text="茶很好。")


def marks(score: int) -> str:
    return json.dumps(dict.fromkeys(DIMENSIONS, score))


def reader(messages: list[dict[str, str]]) -> str:
    """A judge that reads: it knows the good texts and nothing else."""
    return marks(5 if any(anchor.good in messages[0]["content"] for anchor in ANCHORS) else 1)


def test_a_judge_that_reads_is_believed_and_its_scores_are_stored(judge: Judge, tmp_path: Path) -> None:
    judge.say = reader

    found = check_judge(judge.config(anchors="refuse"), METRICS, [EN], seed=0, folder=tmp_path)

    assert found is not None
    assert found.separates
    assert JudgeAnchors.read(tmp_path) == found
    assert [(pair.id, pair.good, pair.salad) for pair in found.pairs] == [("bicycle", 100, 0), ("bread", 100, 0)]
    assert len(judge.seen) == 4


def test_the_anchors_are_in_the_languages_of_the_answers(judge: Judge, tmp_path: Path) -> None:
    judge.say = reader
    found = check_judge(judge.config(), METRICS, [EN, ZH], seed=0, folder=tmp_path)
    assert found is not None
    assert [pair.id for pair in found.pairs] == ["bicycle", "bread", "tides", "reading"]


def test_a_judge_that_says_the_same_of_everything_is_named_with_its_scores(
    judge: Judge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    judge.say = lambda _: marks(4)

    with caplog.at_level(logging.WARNING):
        found = check_judge(judge.config(), METRICS, [EN], seed=0, folder=tmp_path)

    assert found is not None
    assert not found.separates
    (line,) = caplog.messages
    assert "bicycle 75.0 against 75.0, bread 75.0 against 75.0" in line


def test_refuse_stops_before_any_answer_is_judged_and_the_scores_are_kept(judge: Judge, tmp_path: Path) -> None:
    judge.say = lambda _: marks(4)
    with pytest.raises(LwexpError, match="does not tell good answers from shuffled words: bicycle 75") as error:
        check_judge(judge.config(anchors="refuse"), METRICS, [EN], seed=0, folder=tmp_path)
    assert "\n" not in str(error.value)
    stored = JudgeAnchors.read(tmp_path)
    assert stored is not None
    assert not stored.separates


def test_a_judge_that_does_not_answer_is_not_called_a_bad_one(
    judge: Judge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    judge.status = 429
    with caplog.at_level(logging.WARNING, logger="lwexp.score.anchors"):
        found = check_judge(judge.config(), METRICS, [EN], seed=0, folder=tmp_path)

    assert found is not None
    assert found.separates is None
    assert JudgeAnchors.read(tmp_path) == found
    assert "could not be checked: too few of the short test answers have a score (4 rate limit)" in caplog.text
    assert "does not tell" not in caplog.text
    with pytest.raises(LwexpError, match=r"could not be checked.*; run the command again") as refused:
        check_judge(judge.config(anchors="refuse"), METRICS, [EN], seed=0, folder=tmp_path)
    assert "another judge" not in str(refused.value)


def test_nothing_is_asked_where_nothing_could_be_learnt(judge: Judge, tmp_path: Path) -> None:
    """Switched off, without S_q, or without an answer to judge."""
    assert check_judge(judge.config(anchors="off"), METRICS, [EN], seed=0, folder=tmp_path) is None
    assert check_judge(judge.config(), metrics_of(("length",)), [EN], seed=0, folder=tmp_path) is None
    assert check_judge(judge.config(), METRICS, [response(text=" ")], seed=0, folder=tmp_path) is None
    assert not judge.seen
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([(80, 10), (70, 20)], True),
        ([(80, 10), (70, 70)], False),  # one pair is a tie
        ([(50, 40), (60, 50)], False),  # ahead each time, but by less than a step of the scale
        ([(80, 10), (None, 20)], True),  # half of the pairs were read
        ([(None, 10), (None, 20)], None),
        ([(80, 80), (None, 20), (None, 20)], None),  # a tie, but of less than half of the pairs
    ],
)
def test_when_a_judge_separates(scores: list[tuple[float | None, float | None]], expected: bool | None) -> None:
    assert separates([AnchorPair(id="x", good=good, salad=salad) for good, salad in scores]) is expected


@pytest.mark.parametrize("anchor", ANCHORS, ids=lambda anchor: anchor.id)
def test_salad_has_the_same_words_in_no_order(anchor) -> None:
    def parts(text: str) -> list[str]:
        return list(text) if anchor.language == "zh" else text.split()

    assert sorted(parts(anchor.salad)) == sorted(parts(anchor.good))
    kept = sum(a == b for a, b in zip(parts(anchor.salad), parts(anchor.good), strict=True))
    assert kept < len(parts(anchor.good)) / 10
    assert anchor.salad == anchor.salad  # the same in every run
