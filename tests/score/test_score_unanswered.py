"""Unusable replies of a judge: shown with an example, requested again, and a reason to stop if there are many."""

import json
import re
from pathlib import Path

import pytest

from lwexp.records import LwexpError, Response, Verdict
from lwexp.runs.summaries import JudgeFailure, JudgeFailures
from lwexp.score.verdicts import score_responses
from tests.score.scripted_judge import Judge, response

NAMES = ("relevance", "accuracy", "coherence", "clarity", "breadth_and_depth", "reading_experience")
FOURS = json.dumps(dict.fromkeys(NAMES, 4))
PROSE = "A fine text,\nI would say."


def numbered(count: int) -> list[Response]:
    return [response(f"p{n}#0", text=f"Answer number {n}.", words=2) for n in range(count)]


def number_in(messages: list[dict[str, str]]) -> int:
    found = re.search(r"Answer number (\d+)\.", messages[0]["content"])
    assert found is not None
    return int(found[1])


def scored(verdicts: list[Verdict]) -> int:
    return sum(verdict.score is not None for verdict in verdicts if verdict.kind == "quality")


def start(judge: Judge, folder: Path, count: int, **changes: object) -> int:
    """How many are scored."""
    config = judge.config(concurrency=1, **changes)
    return scored(score_responses(numbered(count), config, seed=0, out_dir=folder))


def test_ten_unusable_replies_in_a_row_stop_the_run_and_the_same_command_goes_on(judge: Judge, tmp_path: Path) -> None:
    """Each is asked twice, so 20 calls, not 60. Mended, all 30 are asked once: no old reply is replayed."""
    judge.say = lambda messages: PROSE
    with pytest.raises(LwexpError) as caught:
        start(judge, tmp_path, 30)
    said = str(caught.value)
    assert len(judge.seen) == 20
    assert said.startswith("judge hosted_vllm/judge: 10 replies in a row could not be used; the last one is unreadable")
    assert "'A fine text, I would say.'; check judge.model and judge.options, then run the same command again" in said
    assert "\n" not in said
    (row,) = JudgeFailures.of(tmp_path)
    assert (row.about, row.reason, row.may_come, row.count) == ("answers", "unreadable", True, 10)
    assert (row.question, row.reply) == ("quality|p0#0|0", PROSE)
    judge.say = lambda messages: FOURS
    assert start(judge, tmp_path, 30) == 30
    assert len(judge.seen) == 20 + 30
    assert not (tmp_path / "judge_failures.json").exists()


def test_a_usable_reply_in_between_lets_the_run_go_on(judge: Judge, tmp_path: Path) -> None:
    """Negative control: nine of ten cannot be used, but never ten in a row."""
    judge.say = lambda messages: PROSE if number_in(messages) % 10 else FOURS
    assert start(judge, tmp_path, 20) == 2
    assert [row.count for row in JudgeFailures.of(tmp_path)] == [18]


def test_an_unreadable_reply_is_asked_for_at_three_starts(judge: Judge, tmp_path: Path) -> None:
    """Two calls a start, each start with its own seed; the fourth asks nothing. What was read is never asked again."""
    judge.say = lambda messages: PROSE if number_in(messages) == 1 else FOURS
    seen, may_come = [], []
    for _ in range(4):
        assert start(judge, tmp_path, 3) == 2
        seen.append(len(judge.seen))
        may_come.append([row.may_come for row in JudgeFailures.of(tmp_path)])
    assert seen == [2 + 2, 6, 8, 8]
    assert may_come == [[True], [True], [False], [False]]


def test_replies_that_no_start_asks_for_again_do_not_stop_a_run(judge: Judge, tmp_path: Path) -> None:
    """Twelve hopeless answers come first. Three starts stop at ten of them, and the next gets past them."""
    judge.say = lambda messages: PROSE if number_in(messages) < 12 else FOURS
    for _ in range(3):
        with pytest.raises(LwexpError, match="10 replies in a row"):
            start(judge, tmp_path, 14)
    assert start(judge, tmp_path, 14) == 2


def test_the_judge_of_segments_and_pairs_is_watched_as_well(judge: Judge, tmp_path: Path) -> None:
    """Each kind of question keeps its own rows in the one file."""
    from lwexp.score.checks import check_texts
    from lwexp.score.pairwise import compare_pairwise

    judge.say = lambda messages: PROSE
    rows = numbered(2)
    score_responses(rows, judge.config(), seed=0, out_dir=tmp_path)
    check_texts(rows, judge.config(segments=True), parts=2, seed=0, out_dir=tmp_path)
    compare_pairwise(rows, rows, "other", judge.config(), seed=0, out_dir=tmp_path)
    found = [(row.about, row.count) for row in JudgeFailures.of(tmp_path)]
    assert found == [("answers", 2), ("segments", 2), ("pairs", 4)]
    with pytest.raises(LwexpError, match="10 replies in a row"):
        compare_pairwise(numbered(7), numbered(7), "other", judge.config(), seed=0, out_dir=tmp_path)


def test_a_failure_reads_as_one_line() -> None:
    row = JudgeFailure(
        about="answers", reason="unfinished_reasoning", may_come=False, count=1200, question="quality|p1#0|0",
        detail="all of its 9 tokens\nwent into reasoning", reply="So\u202e " + "x" * 500,
    )  # fmt: skip
    assert str(row).startswith("1,200 unfinished reasoning (all of its 9 tokens went into reasoning), such as quality|")
    assert "[U+202E]" in str(row)
    assert len(str(row)) < 300


def test_a_judge_without_a_temperature_has_a_summary(judge: Judge, tmp_path: Path) -> None:
    judge.say = lambda messages: FOURS
    assert start(judge, tmp_path, 1, temperature=None) == 1
    assert json.loads((tmp_path / "judge.json").read_text())["temperature"] is None
