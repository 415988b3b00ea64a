"""One document: a plan, then its paragraphs, then cleaning. Everything that can go wrong is a ``Failure``."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from lwexp.config.data import PlanLimits
from lwexp.generate.clean import clean_paragraph, draft_fault
from lwexp.generate.instructions import stable_seed
from lwexp.generate.plan import BadPlan, parse_plan, plan_fault
from lwexp.generate.prompts import Templates
from lwexp.llm import Answer, NoAnswer
from lwexp.records import Draft, Failure, Instruction, Plan, PlanStep, StepTrace, Trace
from lwexp.text.plan_text import plan_line
from lwexp.text.quoting import fill


class Asks(Protocol):
    """What a document needs of a client."""

    async def ask(
        self, messages: Sequence[Mapping[str, str]], *, seed: int, max_tokens: int | None = None
    ) -> Answer | NoAnswer:
        """As ``Client.ask``."""


Mode = Literal["sequential", "parallel", "direct"]


_PLAN_ATTEMPTS = 2


class Rules(NamedTuple):
    """What a document is written by, besides its instruction."""

    mode: Mode
    plan: PlanLimits
    min_words: int
    seed: int
    teacher: str
    more_room: int | None
    """Tokens for a paragraph that was cut; None keeps it as it is."""


class Planned(NamedTuple):
    """A plan, what all calls for it cost, and how often it was asked for."""

    plan: Plan
    cost_usd: float
    attempts: int


class Written(NamedTuple):
    """A finished document, the cleaning rules that changed it, what it took, how many paragraphs were cut at first."""

    draft: Draft
    cleaned: tuple[str, ...]
    trace: Trace
    retried: int = 0


class Paragraph(NamedTuple):
    """What came for one step, what all calls for it cost in dollars, and whether a first answer was cut."""

    answer: Answer | NoAnswer
    cost_usd: float
    was_cut: bool


async def write_document(
    client: Asks, templates: Templates, instruction: Instruction, rules: Rules
) -> Written | Failure:
    """Plan, write and clean one document.

    Calls of one document share a seed made from its id, so two equal instructions still get two drafts.
    """
    seed = stable_seed(rules.seed, instruction.id)
    if rules.mode == "direct":
        planned: Planned | Failure = Planned(_no_plan(instruction), 0.0, 0)
    else:
        planned = await plan_document(client, templates, instruction, rules.plan, seed)
    if isinstance(planned, Failure):
        return planned
    plan = planned.plan
    write = {"sequential": _write_in_order, "parallel": _write_parallel, "direct": _write_at_once}[rules.mode]
    written = await write(client, templates.write, instruction, plan, seed, rules.more_room)
    for paragraph in written:
        if isinstance(paragraph.answer, NoAnswer):
            return _failure(instruction, "write", paragraph.answer)
    texts = [paragraph.answer for paragraph in written if isinstance(paragraph.answer, Answer)]
    cleaned = [
        clean_paragraph(answer.text, step, instruction=instruction.text)
        for answer, step in zip(texts, plan.steps, strict=True)
    ]
    draft = Draft(
        id=instruction.id,
        instruction=instruction,
        plan=plan,
        paragraphs=tuple(paragraph.text for paragraph in cleaned),
        finish_reasons=tuple(answer.finish_reason for answer in texts),
        teacher=rules.teacher,
        cost_usd=planned.cost_usd + sum(paragraph.cost_usd for paragraph in written),
    )
    steps = [
        StepTrace(cost_usd=came.cost_usd, attempts=answer.attempts + came.was_cut, cleaned=paragraph.rules)
        for came, answer, paragraph in zip(written, texts, cleaned, strict=True)
    ]
    trace = Trace(id=draft.id, plan_cost_usd=planned.cost_usd, plans_asked=planned.attempts, steps=tuple(steps))
    fault = draft_fault(draft, min_words=rules.min_words)
    rules_used = tuple(rule for paragraph in cleaned for rule in paragraph.rules)
    return fault or Written(draft, rules_used, trace, sum(paragraph.was_cut for paragraph in written))


async def plan_document(
    client: Asks, templates: Templates, instruction: Instruction, limits: PlanLimits, seed: int
) -> Planned | Failure:
    """Ask for a plan. One that cannot be used is asked for once more, with what was wrong; a refusal is not."""
    messages = [{"role": "user", "content": fill(templates.plan, {"INST": instruction.text})}]
    cost, attempts = 0.0, 0
    while True:
        answer = await client.ask(messages, seed=seed)
        if isinstance(answer, NoAnswer):
            return _failure(instruction, "plan", answer)
        cost, attempts = cost + answer.cost_usd, attempts + 1
        plan = parse_plan(answer.text)
        if not isinstance(plan, BadPlan):
            plan = plan_fault(plan, limits, required_words=instruction.required_words) or plan
        if not isinstance(plan, BadPlan):
            return Planned(plan, cost, attempts)
        if plan.reason == "refusal" or attempts == _PLAN_ATTEMPTS:
            return Failure(id=instruction.id, stage="plan", reason=plan.reason, detail=plan.detail, attempts=attempts)
        mend = fill(templates.replan, {"PROBLEM": plan.detail})
        messages += [{"role": "assistant", "content": answer.text}, {"role": "user", "content": mend}]


async def _write_in_order(
    client: Asks, template: str, instruction: Instruction, plan: Plan, seed: int, more_room: int | None
) -> Sequence[Paragraph]:
    """Each paragraph sees the text so far, as the teacher wrote it: byte-stable, so provider prefix caches hit."""
    paragraphs: list[Paragraph] = []
    written: list[str] = []
    for number in range(1, len(plan.steps) + 1):
        prompt = step_prompt(template, instruction, plan, number, "\n\n".join(written))
        paragraphs.append(await _ask(client, prompt, seed, more_room))
        answer = paragraphs[-1].answer
        if isinstance(answer, NoAnswer):
            break
        written.append(answer.text.strip())
    return paragraphs


async def _write_parallel(
    client: Asks, template: str, instruction: Instruction, plan: Plan, seed: int, more_room: int | None
) -> Sequence[Paragraph]:
    """All paragraphs at once, none seeing another: the paper's ablation, cheaper and less coherent."""
    prompts = (step_prompt(template, instruction, plan, number, "") for number in range(1, len(plan.steps) + 1))
    return await asyncio.gather(*(_ask(client, prompt, seed, more_room) for prompt in prompts))


async def _write_at_once(
    client: Asks, _: str, instruction: Instruction, __: Plan, seed: int, more_room: int | None
) -> Sequence[Paragraph]:
    """The instruction as it is, in one call: what a teacher writes without AgentWrite, up to its own output cap."""
    return [await _ask(client, instruction.text, seed, more_room)]


def _no_plan(instruction: Instruction) -> Plan:
    """One step, the whole text; the plan's wording is empty because nobody made one."""
    return Plan(text="", steps=(PlanStep(point="the whole text", words=instruction.required_words or 1),))


def step_prompt(template: str, instruction: Instruction, plan: Plan, number: int, written: str) -> str:
    """The prompt for step ``number``, counted from 1, after ``written``."""
    step = plan.steps[number - 1]
    line = plan_line(number, step.point, step.words, instruction.language)
    return fill(template, {"INST": instruction.text, "PLAN": plan.text, "TEXT": written, "STEP": line})


async def _ask(client: Asks, prompt: str, seed: int, more_room: int | None) -> Paragraph:
    """Ask; once more with more room where the answer was cut. Text that stays cut is kept, flagged by its reason."""
    messages = [{"role": "user", "content": prompt}]
    first = await client.ask(messages, seed=seed)
    if not isinstance(first, NoAnswer):
        return Paragraph(first, first.cost_usd, was_cut=False)
    cut = first.partial
    if cut is None:
        return Paragraph(first, 0.0, was_cut=False)
    cost = cut.cost_usd
    if more_room is not None:
        second = await client.ask(messages, seed=seed, max_tokens=more_room)
        if isinstance(second, Answer):
            return Paragraph(second, cost + second.cost_usd, was_cut=True)
        if second.reason == "drained":
            return Paragraph(second, cost, was_cut=True)
        # A model that takes no more tokens than it was given refuses the second call: the first text is kept.
        if second.partial is not None:
            cut, cost = second.partial, cost + second.partial.cost_usd
    return Paragraph(cut if cut.text.strip() else first, cost, was_cut=True)


def _failure(instruction: Instruction, stage: str, answer: NoAnswer) -> Failure:
    return Failure(id=instruction.id, stage=stage, reason=answer.reason, detail=answer.detail, attempts=answer.attempts)
