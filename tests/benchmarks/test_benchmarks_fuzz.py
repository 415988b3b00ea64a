"""A few hundred cases of ``python -m benchmarks.fuzz`` at each door, and the smallest inputs that it has found."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from benchmarks.fuzz import fuzzing
from benchmarks.fuzz.doors import DOORS
from benchmarks.fuzz.fuzzing import Door, fuzz
from lwexp.records import LwexpError

CASES = {"overrides": 20, "secrets": 40, "run": 40, "model": 40}
"""Fewer where a case takes 20 ms or more; 250 at the other doors."""


def test_there_are_ten_doors() -> None:
    assert set(DOORS) == {
        "overrides", "secrets", "import", "instructions", "bench", "answers", "judge", "plan", "run", "model",
    }  # fmt: skip


@pytest.mark.parametrize("name", DOORS)
def test_no_case_ends_in_a_traceback_or_a_hang(name: str) -> None:
    outcome = fuzz(DOORS[name], CASES.get(name, 100))

    assert not outcome.findings, "\n".join(map(str, outcome.findings.values()))
    assert outcome.cases >= 20


def opened(attempt: Callable[[Any], object]) -> Door:
    return Door(st.integers(0, 9), lambda folder: attempt)


def test_tracebacks_hangs_and_bad_messages_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The controls: three faults, of which each is one finding with the shortest input."""
    monkeypatch.setattr(fuzzing, "WAITING_SECONDS_A_CASE", 0.05)

    def faulty(case: int) -> None:
        if case == 7:
            raise KeyError("x")
        if case == 8:
            time.sleep(1)
        if case == 9:
            raise LwexpError("two\nlines")
        if case == 1:
            raise LwexpError("one line")

    outcome = fuzz(opened(faulty), 100)

    assert {found.case for found in outcome.findings.values()} == {7, 8, 9}
    assert (outcome.tracebacks, outcome.hangs) == (2, 1)


def test_an_error_that_the_callers_expect_is_no_finding() -> None:
    def raising(case: int) -> None:
        raise ZeroDivisionError

    door = Door(st.integers(0, 9), lambda folder: raising, allowed=(ZeroDivisionError,))
    assert not fuzz(door, 10).findings
    assert fuzz(opened(raising), 10).tracebacks == 10


def test_each_start_tries_other_cases() -> None:
    def tried(start: int) -> list[str]:
        seen: list[str] = []
        fuzz(Door(st.text(), lambda folder: seen.append), 20, start)
        return seen

    assert tried(0) == tried(0) != tried(1)
