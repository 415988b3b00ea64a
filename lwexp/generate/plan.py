"""AgentWrite step I: reads the steps of a plan in the forms that models write, or says why it cannot be used.

The original takes every line as a step, so a preamble becomes a paragraph and a refusal a plan
(THUDM/LongWriter agentwrite/write.py:61 at 3fcfdff). Here each step needs a label and a word count; otherwise the plan
is refused.
"""

from collections.abc import Sequence
from typing import NamedTuple

from lwexp.config.data import PlanLimits
from lwexp.generate.plan_lines import Step, find_steps
from lwexp.records import Plan, PlanStep
from lwexp.text.plain import first_line
from lwexp.text.reasoning import split_reasoning
from lwexp.text.refusal import is_refusal


class BadPlan(NamedTuple):
    """A text that cannot be used as a plan.

    Attributes:
        reason: refusal, no_plan, no_word_count, numbering, too_many_steps, step_length or plan_length; of a reply that
            the token limit cut, length; of a reply that is no plan, also loop or wrote_text.
        detail: What is wrong, in words for the teacher, which is asked again.
    """

    reason: str
    detail: str


def parse_plan(text: str) -> Plan | BadPlan:
    """Read the steps of a plan, English or Chinese.

    Tolerates bold, bullets, headings, tables, JSON, numbering of many kinds, a preamble and a closing remark,
    points and counts on separate lines, ranges (the count is their middle; their ends are kept), and counts in
    half-width or full-width digits or in words.
    """
    try:
        return _parse(split_reasoning(text).answer.strip())
    except (ValueError, ArithmeticError, RecursionError) as error:  # a count of 5,000 digits, JSON 100,000 deep
        return BadPlan("no_plan", f"it cannot be read ({first_line(error)[:80]})")


def _parse(text: str) -> Plan | BadPlan:
    found = find_steps(text)
    start = " ".join(text.split())[:120]
    if not any(step.word_count for step in found) and is_refusal(text):
        return BadPlan("refusal", start)
    if not found:
        return BadPlan("no_plan", f"no line is a step: {start or 'the text is empty'}")
    steps = []
    for number, step in enumerate(found, 1):
        count = step.word_count
        if count is None:
            return BadPlan("no_word_count", f"step {number} of {len(found)} states no word count: {step.head[:120]}")
        steps.append(PlanStep(point=step.point, words=count.words, range=count.range))
    return _numbering_fault(found) or Plan(text=text, steps=tuple(steps))


def plan_fault(plan: Plan, limits: PlanLimits, *, required_words: int | None) -> BadPlan | None:
    """Why a plan that can be read must not be written from, or None.

    Args:
        plan: What the teacher planned.
        limits: Bounds for the count of steps, the words of a step and the total.
        required_words: The length that the instruction states, if any.
    """
    if len(plan.steps) > limits.max_steps:
        return BadPlan("too_many_steps", f"it has {len(plan.steps)} steps, and {limits.max_steps} are the most")
    least, most = limits.min_step_words, limits.max_step_words
    for number, step in enumerate(plan.steps, 1):
        if not least <= step.words <= most:
            return BadPlan("step_length", f"step {number} has {step.words:,} words, wanted {least:,} to {most:,}")
    if required_words is not None and limits.length_tolerance is not None:
        low, high = (required_words * (1 + sign * limits.length_tolerance) for sign in (-1, 1))
        if not low <= plan.words <= high:
            sums = f"the steps add up to {plan.words:,} words, and the instruction asks for {required_words:,}"
            return BadPlan("plan_length", sums)
    return None


def _numbering_fault(steps: Sequence[Step]) -> BadPlan | None:
    """Numbers must go up by one. They may start over below a new heading, as paragraphs of sections do."""
    expected = 1
    for step in steps:
        if step.number is None:
            return None
        if step.number != expected and not (step.after_heading and step.number == 1):
            if step is steps[0]:
                return BadPlan("numbering", f"the first step has the number {step.number}: {step.head[:80]}")
            return BadPlan("numbering", f"step {expected} is missing before {step.head[:80]}")
        expected = step.number + 1
    return None
