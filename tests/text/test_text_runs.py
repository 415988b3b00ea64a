"""No text makes a search take hours: models that loop write one character thousands of times.

Time is asserted here, because a search whose time grows with the square or the cube of a text's length hangs. Each of
these takes milliseconds, and took minutes before its pattern was changed.
"""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lwexp.generate.plan import BadPlan, parse_plan
from lwexp.records import Plan
from lwexp.text.judge_injection import injection_flags, sign_places
from lwexp.text.length_instructions import instruction_in
from lwexp.text.next_turn import turn_texts, without_next_turn
from lwexp.text.reasoning import split_reasoning
from lwexp.text.stated_lengths import stated_lengths
from lwexp.text.words import split_words

_SECONDS = 20  # of processor time


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"longer than {_SECONDS} s of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, _SECONDS)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        pytest.param(stated_lengths, "Tea." + " " * 50_000, id="blanks in an instruction"),
        pytest.param(stated_lengths, "300" + " " * 50_000 + "Tea.", id="blanks after a number"),
        pytest.param(lambda text: instruction_in(text, 300), "300" + "\n" * 50_000, id="lines after a number"),
        pytest.param(parse_plan, "[" + "9" * 30_000, id="digits after a bracket"),
        pytest.param(parse_plan, "(" + "百" * 10_000, id="Chinese numerals after a bracket"),
        pytest.param(parse_plan, "Tea." + "\n" * 200_000 + "!", id="lines in a plan"),
        pytest.param(parse_plan, "Word Count: " + " " * 30_000, id="blanks after a label"),
        pytest.param(split_reasoning, "<|channel|>" + "a" * 100_000, id="one long name of a channel"),
        pytest.param(split_reasoning, "<|channel|>final<|message|>" + "\n" * 100_000, id="lines in a channel"),
        pytest.param(without_next_turn, "[INST]" + "\n" * 100_000, id="lines after a marker"),
        pytest.param(turn_texts, "Tea." + "\n" * 300_000 + "!", id="lines in a request"),
        pytest.param(injection_flags, " " * 100_000, id="blanks in a judge's reply"),
        pytest.param(sign_places, "\t" * 100_000, id="tabs in an answer"),
        pytest.param(split_words, "_" * 200_000, id="underscores in an answer"),
    ],
)
def test_a_run_of_one_character_is_read_at_once(read: Callable[[str], Any], text: str) -> None:
    read(text)


def test_a_count_keeps_its_meaning_with_blanks_around_it() -> None:
    assert stated_lengths("Write about   1,200  -  1,400   words on tea.") == [1300]
    assert stated_lengths("Write 300" + " " * 15 + "words on tea.") == [300]
    plan = parse_plan("1. Tea (about  300  words)\n2. Rain [ 400 words ]")
    assert isinstance(plan, Plan)
    assert [step.words for step in plan.steps] == [300, 400]


@pytest.mark.parametrize("number", ["9" * 400, "1" + ",000" * 200, "9" * 400 + "万", "万" * 400], ids=lambda n: n[-9:])
def test_a_number_of_hundreds_of_signs_is_no_count(number: str) -> None:
    assert stated_lengths(f"Write {number} words on tea.") == []
    assert stated_lengths(f"Write 300 to {number} words on tea.") == []
    plan = parse_plan(f"1. Tea ({number} words)\n2. Rain (400 words)")
    assert isinstance(plan, BadPlan)
    assert plan.reason == "no_word_count"


def test_a_fence_may_end_with_the_line_ends_of_windows() -> None:
    plan = parse_plan('```json\r\n[{"point": "Tea", "words": 300}, {"point": "Rain", "words": 400}]\r\n```\r\n')
    assert isinstance(plan, Plan)
    assert [(step.point, step.words) for step in plan.steps] == [("Tea", 300), ("Rain", 400)]
