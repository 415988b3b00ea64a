"""Plans in the forms that real models write, and plans that are refused.

The texts and the steps expected from them are in plans/good.txt and plans/bad.txt, written by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.config.data import PlanLimits
from lwexp.generate.plan import BadPlan, parse_plan, plan_fault
from lwexp.records import Plan, PlanStep

PLANS = Path(__file__).parent / "plans"


def cases(name: str) -> Iterator[object]:
    """Each case of a file: the plan's text, and the lines that say what to expect."""
    for case in (PLANS / name).read_text(encoding="utf-8").split("\n===== ")[1:]:
        title, _, rest = case.partition("\n")
        text, _, expected = f"\n{rest}".partition("\n-----\n")
        yield pytest.param(text.strip("\n"), expected.strip().splitlines(), id=title)


GOOD, BAD = list(cases("good.txt")), list(cases("bad.txt"))


def test_there_are_as_many_plans_as_we_say() -> None:
    assert (len(GOOD), len(BAD)) >= (60, 20)
    assert len({case.id for case in (*GOOD, *BAD)}) == len(GOOD) + len(BAD)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("text", "expected"), GOOD)
def test_a_models_habit_is_understood(text: str, expected: list[str]) -> None:
    plan = parse_plan(text)
    assert isinstance(plan, Plan), plan
    found = []
    for step in plan.steps:
        middle_of = f"{step.range[0]}-{step.range[1]} " if step.range else ""
        found.append(f"{middle_of}{step.words} | {step.point}")
    assert found == expected


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_what_is_no_plan_is_refused_with_a_reason(text: str, expected: list[str]) -> None:
    found = parse_plan(text)
    assert isinstance(found, BadPlan), found
    assert [found.reason] == expected
    assert found.detail


def test_numbers_may_start_over_below_a_new_heading() -> None:
    """The look-alike of "steps that go backwards": the same numbers, with the sections they belong to."""
    text = """
Section 1: Winter
Paragraph 1 - Main Point: Snow - Word Count: 400 words
Paragraph 2 - Main Point: Thaw - Word Count: 300 words
Section 2: Summer
Paragraph 1 - Main Point: Rain - Word Count: 400 words
"""
    plan = parse_plan(text)
    assert isinstance(plan, Plan), plan
    assert plan.words == 1100


def test_the_plans_text_is_kept_as_the_teacher_wrote_it() -> None:
    text = "**Paragraph 1** - Main Point: A - Word Count: 400 words"
    plan = parse_plan(f"  {text}\n")
    assert isinstance(plan, Plan)
    assert plan.text == text


def plan_of(*words: int) -> Plan:
    return Plan(text="p", steps=tuple(PlanStep(point="x", words=count) for count in words))


LIMITS = PlanLimits(max_steps=3, min_step_words=100, max_step_words=1000, length_tolerance=0.25)


@pytest.mark.parametrize(
    ("words", "required", "reason"),
    [
        ((400, 400, 400), None, None),
        ((100, 1000), None, None),
        ((400, 400, 400, 400), None, "too_many_steps"),
        ((400, 99), None, "step_length"),
        ((400, 1001), None, "step_length"),
        # 1,000 words less and more a quarter: 750 and 1,250.
        ((350, 400), 1000, None),
        ((350, 399), 1000, "plan_length"),
        ((650, 600), 1000, None),
        ((651, 600), 1000, "plan_length"),
    ],
)
def test_a_plan_outside_the_limits_is_refused(words: tuple[int, ...], required: int | None, reason: str | None) -> None:
    fault = plan_fault(plan_of(*words), LIMITS, required_words=required)
    assert (fault.reason if fault else None) == reason


def test_any_total_will_do_without_a_tolerance() -> None:
    limits = LIMITS.model_copy(update={"length_tolerance": None})
    assert plan_fault(plan_of(100), limits, required_words=20_000) is None


def test_the_default_limits_are_the_papers() -> None:
    """50 steps, and room for its paragraphs of 200 to 1,000 words."""
    limits = compose().generate.plan
    assert limits.max_steps == 50
    assert plan_fault(plan_of(200, 1000), limits, required_words=1200) is None
