"""AgentWrite step I: a plan text, as models really write it -> steps, or a reason why it is none.

The original takes every line for a step, so a preamble becomes a paragraph and a refusal a plan
(THUDM/LongWriter agentwrite/write.py:61 at 3fcfdff). Here a step is a label and a word count, or the plan
is refused.
"""

from collections.abc import Sequence
from typing import NamedTuple

from lwexp.config.data import PlanLimits
from lwexp.generate.plan_forms import as_lines
from lwexp.generate.plan_lines import Block, find_blocks, plain_lines
from lwexp.records import Plan, PlanStep
from lwexp.text.refusal import is_refusal
from lwexp.text.replies import without_reasoning


class BadPlan(NamedTuple):
    """A text that is no usable plan.

    Attributes:
        reason: refusal, no_plan, no_word_count, numbering, too_many_steps, step_length or plan_length.
        detail: What is wrong, in words that the teacher is told when it is asked again.
    """

    reason: str
    detail: str


def parse_plan(text: str) -> Plan | BadPlan:
    """Read the steps of a plan, English or Chinese.

    Tolerates bold, bullets, headings, tables, JSON, numbering of many kinds, a preamble and a closing remark,
    points and counts on lines of their own, ranges (their middle is taken and their ends are kept), counts in
    digits of either width and in words.
    """
    text = without_reasoning(text).strip()
    blocks = find_blocks(plain_lines(as_lines(text)))
    start = " ".join(text.split())[:120]
    if not any(block.stated for block in blocks) and is_refusal(text):
        return BadPlan("refusal", start)
    if not blocks:
        return BadPlan("no_plan", f"no line is a step: {start or 'the text is empty'}")
    steps = []
    for number, block in enumerate(blocks, 1):
        count = block.stated
        if count is None:
            return BadPlan("no_word_count", f"step {number} of {len(blocks)} states no word count: {block.head[:120]}")
        steps.append(PlanStep(point=block.point, words=count.words, range=count.range))
    return _numbering_fault(blocks) or Plan(text=text, steps=tuple(steps))


def plan_fault(plan: Plan, limits: PlanLimits, *, required_words: int | None) -> BadPlan | None:
    """Why a plan that can be read must not be written from, or None.

    Args:
        plan: What the teacher planned.
        limits: Bounds for the count of steps, the words of a step and the total.
        required_words: What the instruction asks for, if it states a length.
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


def _numbering_fault(blocks: Sequence[Block]) -> BadPlan | None:
    """Numbers must go up by one. They may start over below a new heading, as paragraphs of sections do."""
    expected = None
    for block in blocks:
        if block.number is None:
            return None
        starts_over = block.after_heading and block.number == 1
        if expected is None and block.number > 1:
            return BadPlan("numbering", f"the first step has the number {block.number}: {block.head[:80]}")
        if expected is not None and block.number != expected and not starts_over:
            return BadPlan("numbering", f"step {expected} is missing before {block.head[:80]}")
        expected = block.number + 1
    return None
