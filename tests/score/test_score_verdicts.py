"""Verdicts belong to the right responses, are paid for once, and are never invented."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.records import LwexpError, Preempted, Response, Verdict, read_rows
from lwexp.score.verdicts import score_responses
from tests.score.scripted_judge import Judge, response

NAMES = ("relevance", "accuracy", "coherence", "clarity", "breadth_and_depth", "reading_experience")


def scores(number: int) -> str:
    """Six scores that tell the numbers 0 to 15,624 apart: its digits to the base 5."""
    return json.dumps({name: 1 + number // 5**place % 5 for place, name in enumerate(NAMES)})


def number_in(messages: list[dict[str, str]]) -> int:
    found = re.search(r"Answer number (\d+)\.", messages[0]["content"])
    assert found is not None
    return int(found[1])


def numbered(count: int) -> list[Response]:
    return [response(f"p{n}#0", text=f"Answer number {n}.", words=2) for n in range(count)]


def quality(verdicts: list[Verdict]) -> dict[str, Verdict]:
    return {verdict.response_id: verdict for verdict in verdicts if verdict.kind == "quality"}


def test_replies_in_any_order_land_on_their_own_answers(judge: Judge, tmp_path: Path) -> None:
    finished: list[int] = []

    def say(messages: list[dict[str, str]]) -> str:
        time.sleep(random.uniform(0, 0.05))
        finished.append(number_in(messages))
        return scores(finished[-1])

    judge.say = say
    responses = numbered(120)
    verdicts = score_responses(responses, judge.config(concurrency=16), seed=0, out_dir=tmp_path)
    assert finished != sorted(finished)
    for n, verdict in enumerate(quality(verdicts).values()):
        assert verdict.response_id == f"p{n}#0"
        assert [verdict.dimensions[name] for name in NAMES] == list(json.loads(scores(n)).values())
    assert [verdict.kind for verdict in verdicts] == ["length", "quality"] * 120
    assert list(read_rows(tmp_path / "verdicts.jsonl", Verdict)) == verdicts


def test_an_unreadable_reply_is_asked_about_once_and_then_counted(
    judge: Judge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Answer 0 is read at once, 1 the second time, 2 never."""
    caplog.set_level("INFO")
    readable = {(0, 1), (1, 3)}  # answer, and how long the exchange is by then
    judge.say = lambda messages: scores(7) if (number_in(messages), len(messages)) in readable else "No."
    verdicts = quality(score_responses(numbered(3), judge.config(), seed=0, out_dir=tmp_path))
    assert [verdict.score is None for verdict in verdicts.values()] == [False, False, True]
    assert verdicts["p2#0"].unscored_reason == "unreadable"
    assert verdicts["p2#0"].dimensions == {}
    assert len(judge.seen) == 1 + 2 + 2
    second = next(messages for messages in judge.seen if len(messages) == 3)
    assert [message["role"] for message in second] == ["user", "assistant", "user"]
    assert second[1]["content"] == "No."
    assert "3 in = 2 kept + 1 unreadable" in caplog.text


def test_a_second_run_asks_nothing_that_was_answered(judge: Judge, tmp_path: Path) -> None:
    """Unreadable replies are no answers; test_score_unanswered.py has those."""
    judge.say = lambda messages: scores(number_in(messages))
    first = score_responses(numbered(3), judge.config(), seed=0, out_dir=tmp_path)
    asked = len(judge.seen)
    (tmp_path / "verdicts.jsonl").unlink()
    assert score_responses(numbered(3), judge.config(), seed=0, out_dir=tmp_path) == first
    assert len(judge.seen) == asked
    score_responses(numbered(4), judge.config(), seed=0, out_dir=tmp_path)
    assert len(judge.seen) == asked + 1


def test_a_judge_that_fails_leaves_a_reason_and_a_broken_one_stops_the_run(judge: Judge, tmp_path: Path) -> None:
    judge.status = 500
    verdicts = quality(score_responses(numbered(3), judge.config(), seed=0, out_dir=tmp_path))
    assert {verdict.unscored_reason for verdict in verdicts.values()} == {"server_error"}
    judge.status = 401
    with pytest.raises(LwexpError, match="5 calls in a row failed for good"):
        score_responses(numbered(30), judge.config(), seed=0, out_dir=tmp_path)
    # Lengths need no judge, and are there.
    assert sum(row.kind == "length" for row in read_rows(tmp_path / "verdicts.jsonl", Verdict)) == 30
    judge.status, judge.say = 200, lambda messages: scores(1)
    again = quality(score_responses(numbered(3), judge.config(), seed=0, out_dir=tmp_path))
    assert all(verdict.score is not None for verdict in again.values())


def test_sigterm_keeps_what_was_judged_and_the_rest_follows(judge: Judge, tmp_path: Path) -> None:
    def say(messages: list[dict[str, str]]) -> str:
        if number_in(messages) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)
        return scores(number_in(messages))

    judge.say = say
    with pytest.raises(Preempted):
        score_responses(numbered(10), judge.config(concurrency=1), seed=0, out_dir=tmp_path)
    assert threading.current_thread() is threading.main_thread()
    kept = [row for row in read_rows(tmp_path / "verdicts.jsonl", Verdict) if row.kind == "quality"]
    assert [row.response_id for row in kept] == [f"p{n}#0" for n in range(4)]
    asked = len(judge.seen)
    judge.say = lambda messages: scores(number_in(messages))
    verdicts = quality(score_responses(numbered(10), judge.config(), seed=0, out_dir=tmp_path))
    assert len(judge.seen) == asked + 6
    assert all(verdict.score is not None for verdict in verdicts.values())


def test_what_no_judge_needs_to_see_is_not_paid_for(judge: Judge, tmp_path: Path) -> None:
    judge.say = lambda messages: scores(1)
    rows = [
        response("a#0", text="", words=0),
        response("b#0", text="", words=0, finish_reason="error"),
        response("c#0"),
    ]
    verdicts = score_responses(rows, judge.config(), seed=0, out_dir=tmp_path)
    assert len(judge.seen) == 1
    assert [verdict.score is None for verdict in verdicts] == [False, False, True, True, False, False]
    assert [verdict.unscored_reason for verdict in verdicts[2:4]] == ["no_answer", "no_answer"]


def test_without_a_judge_there_are_lengths_only_and_no_litellm(tmp_path: Path) -> None:
    verdicts = score_responses(numbered(3), compose("judge=none").judge, seed=0, out_dir=tmp_path)
    assert [verdict.kind for verdict in verdicts] == ["length"] * 3
    assert not (tmp_path / "ledger.sqlite").exists()
    heavy = "{'torch', 'litellm', 'scipy', 'transformers'}"
    code = f"import sys, lwexp.score.verdicts; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_offline_judge_reads_our_prompt(tmp_path: Path) -> None:
    """It finds request and answer in our message: an answer on the topic beats one that is not."""
    prompt = "Please write about 50 words on the history of tea."
    good = "Part 1 of 1 looks at the history of tea. Farmers know it well. Here the text ends."
    rows = [response("a#0", prompt=prompt, text=good), response("b#0", prompt=prompt, text="word " * 12)]
    verdicts = quality(score_responses(rows, compose("judge=offline").judge, seed=0, out_dir=tmp_path))
    assert verdicts["a#0"].scorer == "offline/judge"
    assert verdicts["a#0"].dimensions["relevance"] > verdicts["b#0"].dimensions["relevance"]
    assert verdicts["a#0"].dimensions["reading_experience"] == 5


def test_equal_ids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match="response id p#0 comes twice"):
        score_responses([response(), response()], compose("judge=none").judge, seed=0, out_dir=tmp_path)
