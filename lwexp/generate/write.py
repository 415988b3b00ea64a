"""Writes one document: plans it, writes its paragraphs, cleans them. Whatever goes wrong becomes a ``Failure``."""

import asyncio
from collections.abc import Awaitable
from typing import Literal, NamedTuple

from lwexp.generate.clean import Cleaned, clean_paragraph, draft_fault
from lwexp.generate.instructions import seed_of
from lwexp.generate.planning import Ask, PlanCall, Planned, failure_of, plan_document
from lwexp.generate.prompts import Templates
from lwexp.llm.answer import Answer, NoAnswer
from lwexp.records import Draft, Failure, Instruction, Plan, PlanStep, StepTrace, Trace
from lwexp.text.plan_text import plan_line
from lwexp.text.quoting import fill


class Rules(NamedTuple):
    """How a document is written; the same for all instructions of a run."""

    mode: Literal["sequential", "parallel", "direct"]
    plan: PlanCall
    min_words: int
    seed: int
    teacher: str
    more_room: int | None
    """Token limit for the second try of a paragraph that was cut; None keeps the cut paragraph."""


class Written(NamedTuple):
    """A finished document, the cleaning rules that changed it, its costs by step, and how many paragraphs were cut."""

    draft: Draft
    cleaned: tuple[str, ...]
    trace: Trace
    retried: int = 0


class Paragraph(NamedTuple):
    """The answer for one step, the cost of all calls for it, and whether the first answer was cut."""

    answer: Answer | NoAnswer
    cost_usd: float
    was_cut: bool


async def write_document(ask: Ask, templates: Templates, instruction: Instruction, rules: Rules) -> Written | Failure:
    """Plan, write and clean one document.

    Calls of one document share a seed made from its id, so two equal instructions still get two drafts.
    """
    seed = seed_of(rules.seed, instruction)
    if rules.mode == "direct":
        # Without a plan, the whole text is one step and the plan's text stays empty.
        step = PlanStep(point="the whole text", words=instruction.required_words or 1)
        planned: Planned | Failure = Planned(Plan(text="", steps=(step,)), 0.0, 0)
    else:
        planned = await plan_document(ask, templates, instruction, rules.plan, seed)
    if isinstance(planned, Failure):
        return planned
    plan = planned.plan
    written = await _write_paragraphs(ask, templates.write, instruction, plan, seed, rules)
    answers = []
    for paragraph in written:
        if isinstance(paragraph.answer, NoAnswer):
            return failure_of(instruction, "write", paragraph.answer)
        answers.append(paragraph.answer)
    cleaned = [_cleaned(answer, step, instruction.text) for answer, step in zip(answers, plan.steps, strict=True)]
    draft = Draft(
        id=instruction.id,
        instruction=instruction,
        plan=plan,
        paragraphs=tuple(paragraph.text for paragraph in cleaned),
        finish_reasons=tuple(answer.finish_reason for answer in answers),
        teacher=rules.teacher,
        cost_usd=planned.cost_usd + sum(paragraph.cost_usd for paragraph in written),
    )
    steps = [
        StepTrace(cost_usd=came.cost_usd, attempts=answer.attempts + came.was_cut, cleaned=paragraph.rules)
        for came, answer, paragraph in zip(written, answers, cleaned, strict=True)
    ]
    trace = Trace(id=draft.id, plan_cost_usd=planned.cost_usd, plans_asked=planned.attempts, steps=tuple(steps))
    rules_used = tuple(rule for paragraph in cleaned for rule in paragraph.rules)
    fault = draft_fault(draft, min_words=rules.min_words)
    return fault or Written(draft, rules_used, trace, sum(paragraph.was_cut for paragraph in written))


def _cleaned(answer: Answer, step: PlanStep, instruction: str) -> Cleaned:
    """A paragraph after cleaning. Reasoning that the client removed counts as a rule too."""
    text, rules = clean_paragraph(answer.text, step, instruction=instruction)
    return Cleaned(text, ("reasoning", *rules) if answer.reasoning and "reasoning" not in rules else rules)


async def _write_paragraphs(
    ask: Ask, template: str, instruction: Instruction, plan: Plan, seed: int, rules: Rules
) -> list[Paragraph]:
    """Write the steps of a plan by ``rules.mode``; sequential writing ends at the first step without an answer."""

    def asked(prompt: str) -> Awaitable[Paragraph]:
        return _ask(ask, prompt, seed, rules.more_room)

    numbers = range(1, len(plan.steps) + 1)
    if rules.mode == "direct":  # everything in one call, up to the teacher's own output limit
        return [await asked(instruction.text)]
    if rules.mode == "parallel":  # no paragraph sees another: the paper's ablation, cheaper but less coherent
        return await asyncio.gather(*(asked(step_prompt(template, instruction, plan, n, "")) for n in numbers))
    paragraphs: list[Paragraph] = []
    written: list[str] = []
    for number in numbers:
        # The text so far goes back byte for byte as the teacher wrote it, to hit the provider's prefix cache.
        paragraphs.append(await asked(step_prompt(template, instruction, plan, number, "\n\n".join(written))))
        answer = paragraphs[-1].answer
        if isinstance(answer, NoAnswer):
            break
        written.append(answer.text.strip())
    return paragraphs


def step_prompt(template: str, instruction: Instruction, plan: Plan, number: int, written: str) -> str:
    """The prompt for step ``number``, counted from 1, after ``written``."""
    step = plan.steps[number - 1]
    line = plan_line(number, step.point, step.words, instruction.language)
    return fill(template, {"INST": instruction.text, "PLAN": plan.text, "TEXT": written, "STEP": line})


async def _ask(ask: Ask, prompt: str, seed: int, more_room: int | None) -> Paragraph:
    """Ask, and ask again with a higher token limit if the answer was cut. An answer cut twice is kept, with a flag."""
    messages = [{"role": "user", "content": prompt}]
    first = await ask(messages, seed=seed)
    if isinstance(first, Answer):
        return Paragraph(first, first.cost_usd, was_cut=False)
    cut = first.partial
    if cut is None:
        return Paragraph(first, 0.0, was_cut=False)
    cost = cut.cost_usd
    # For an answer that is all reasoning, the client has already made its second call.
    if more_room is not None and first.reason == "length":
        second = await ask(messages, seed=seed, max_tokens=more_room)
        if isinstance(second, Answer):
            return Paragraph(second, cost + second.cost_usd, was_cut=True)
        if second.reason == "drained":
            return Paragraph(second, cost, was_cut=True)
        # A model may refuse the higher limit; then the first text is kept.
        if second.partial is not None:
            cut, cost = second.partial, cost + second.partial.cost_usd
    return Paragraph(cut if cut.text.strip() else first, cost, was_cut=True)
