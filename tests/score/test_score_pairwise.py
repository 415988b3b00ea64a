"""Pairs in both orders, and paired differences, with numbers made by hand."""

import json
import re
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.extend import AskedJudge
from lwexp.extend.metric import standard_metrics
from lwexp.extend.word_range import WordRange
from lwexp.records import PairJudgement, Response, Verdict, read_rows
from lwexp.score.pairwise import compare_pairwise, read_better, summary
from lwexp.score.regression import regression
from lwexp.text.replies import UnreadableError
from tests.score.scripted_judge import Judge, response


def shown(messages: list[dict[str, str]]) -> tuple[str, str]:
    """The two answers in the order in which the judge sees them."""
    found = re.search(
        r"<first-response-\w+>\n(.*)\n</first.*<second-response-\w+>\n(.*)\n</sec", messages[0]["content"], re.S
    )
    assert found
    return found[1], found[2]


def test_both_orders_are_asked_and_the_winner_is_who_wrote_it(judge: Judge, tmp_path: Path) -> None:
    """Prompt 0: ours is better. 1: the first place always wins. 2: a tie. 3: never readable."""

    def say(messages: list[dict[str, str]]) -> str:
        first, _ = shown(messages)
        who, number = first.split()
        if number == "3":
            return "I prefer the first."
        better = {"0": "first" if who == "ours" else "second", "1": "first", "2": "tie"}[number]
        return json.dumps({"better": better})

    judge.say = say
    ours = [response(f"p{n}#0", text=f"ours {n}") for n in range(4)]
    theirs = [response(f"p{n}#0", text=f"theirs {n}") for n in (3, 1, 0, 2)]  # another order
    theirs.append(response("p9#0", text="theirs 9"))
    rows = compare_pairwise(ours, theirs, "other-run", judge.config(), seed=0, out_dir=tmp_path)
    assert [row.winner for row in rows] == ["ours", "ours", "ours", "other", "tie", "tie", None, None]
    assert [row.shown_first for row in rows] == ["ours", "other"] * 4
    assert list(read_rows(tmp_path / "pairwise.jsonl", PairJudgement)) == rows
    found = json.loads((tmp_path / "pairwise.json").read_text())
    assert {key: found[key] for key in ("prompts", "ours", "other_wins", "ties", "unscored")} == {
        "prompts": 3, "ours": 1, "other_wins": 0, "ties": 2, "unscored": 1,
    }  # fmt: skip
    assert found["win_rate"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert found["first_shown_wins"] == pytest.approx(3 / 4)  # of four decided calls, one went to the second place


def test_one_win_and_one_tie_is_a_win() -> None:
    def row(first: str, winner: str | None) -> PairJudgement:
        return PairJudgement.model_validate({
            "prompt_id": "p", "repeat": 0, "response_id": "p#0", "other_response_id": "p#0", "other": "o",
            "shown_first": first, "scorer": "j", "winner": winner, "unscored_reason": None,
        })  # fmt: skip

    for winners, rate in (
        (("ours", "tie"), 1),
        (("tie", "other"), 0),
        (("ours", "other"), 0.5),
        (("ours", None), None),
    ):
        rows = [row(first, winner) for first, winner in zip(("ours", "other"), winners, strict=True)]
        assert summary(rows, other="o", scorer="j").win_rate == rate


@pytest.mark.parametrize("reply", ['{"better": "first"}', '```json\n{"better": "first"}\n```', ' {"better":"first"}\n'])
def test_a_choice_is_read(reply: str) -> None:
    assert read_better(reply).better == "first"


@pytest.mark.parametrize(
    "reply",
    ["first", '{"better": "ours"}', '{"best": "first", "why": 1}', '{"better": "first", "better": "second"}',
     'So: "better": "first"', '{"better": "first"} {"better": "first"}', '["better", "first"]', '{"better": 1}', ""],
)  # fmt: skip
def test_anything_else_is_no_choice(reply: str) -> None:
    with pytest.raises(UnreadableError):
        read_better(reply)


def test_the_offline_judge_chooses_too(tmp_path: Path) -> None:
    prompt = "Please write about 50 words on the history of tea."
    good = "Part 1 of 1 looks at the history of tea. Farmers know it well. Here the text ends."
    pair = [response("a#0", prompt=prompt, text=good)], [response("a#0", prompt=prompt, text="word " * 12)]
    judge = compose("judge=offline").judge
    assert isinstance(judge, AskedJudge)
    rows = compare_pairwise(*pair, "o", judge, seed=0, out_dir=tmp_path)
    assert [row.winner for row in rows] == ["ours", "ours"]


def verdicts(rows: list[Response], scores: list[float]) -> list[Verdict]:
    return [
        Verdict(response_id=row.id, kind="length", scorer="S_l", score=score)
        for row, score in zip(rows, scores, strict=True)
    ]


RANGES = [WordRange(low=0, high=500, closed=False), WordRange(low=500, high=5000, closed=True)]


def test_a_cell_is_worse_if_its_difference_is_clear_among_all_cells() -> None:
    """Short prompts lose 10 each, long ones gain 20 each: worse on short, better on long, +5 over all.

    Over all: ten times -10 and ten times +20, so mean 5, sd 15.39, error 3.44, t = 1.45, p = 0.16.
    """
    ours = [response(f"p{n}#0", required_words=100 if n < 10 else 3000) for n in range(20)]
    base = [50.0 + n for n in range(20)]
    mine = [score - 10 if n < 10 else score + 20 for n, score in enumerate(base)]
    found = regression((ours, verdicts(ours, mine)), (ours, verdicts(ours, base)), RANGES, standard_metrics())
    assert set(found["all"]) == {"S_l"}  # nothing was judged
    short, long, every = found["[0,500)"]["S_l"], found["[500,5000]"]["S_l"], found["all"]["S_l"]
    assert (short.difference, short.is_worse, short.is_better, short.n) == (-10, True, False, 10)
    assert (long.difference, long.is_worse, long.is_better) == (20, False, True)
    assert (every.difference, every.is_worse, every.is_better) == (5, False, False)
    assert every.p_holm == every.p_value == pytest.approx(0.1625, abs=1e-4)  # the last of three, times one


def test_a_difference_that_is_clear_alone_may_not_be_clear_among_three() -> None:
    """Short prompts differ by -1 and -5 in turn: mean -3 of 4, sd 2.309, t = -2.598, p = 0.0805 alone.

    With eight of them t is -3.969 and p 0.0054, times three 0.0162; with six t = -3.354, p = 0.0203, times three 0.061.
    """
    for count, alone, is_worse in ((4, 0.0805, False), (6, 0.0203, False), (8, 0.0054, True)):
        ours = [response(f"p{n}#0", required_words=100 if n < count else 3000) for n in range(2 * count)]
        base = [50.0] * len(ours)
        mine = [50.0 - (1 if n % 2 else 5) if n < count else 50.0 + (9 if n % 2 else -8) for n in range(len(ours))]
        found = regression((ours, verdicts(ours, mine)), (ours, verdicts(ours, base)), RANGES, standard_metrics())
        short = found["[0,500)"]["S_l"]
        assert short.p_value == pytest.approx(alone, abs=1e-4)
        assert short.p_holm == pytest.approx(3 * alone, abs=3e-4)
        assert short.is_worse is is_worse


def test_a_difference_whose_interval_contains_0_is_not_marked() -> None:
    """Five differences of mean 17, error 4.637: t = 3.666, p = 0.0215, the only cell. One prompt differs by 0.

    Resamples without that prompt, a third of all, have small errors: the studentised bootstrap's lower end is below 0.
    """
    ours = [response(f"p{n}#0", required_words=100) for n in range(5)]
    for differences, is_better in (([25, 0, 20, 25, 15], False), ([25, 16, 20, 25, 15], True)):
        pair = (ours, verdicts(ours, [50.0 + each for each in differences])), (ours, verdicts(ours, [50.0] * 5))
        cells = regression(*pair, RANGES, standard_metrics())
        assert set(cells) == {"all"}  # all prompts are in one range, which is not tested a second time
        found = cells["all"]["S_l"]
        assert found.p_holm is not None
        assert found.p_holm == found.p_value
        assert found.p_holm < 0.05
        assert found.interval is not None
        assert (found.interval[0] > 0) is is_better
        assert found.is_better is is_better
