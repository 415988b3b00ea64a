"""One document: a plan, then its paragraphs, then cleaning. Everything that can go wrong is a ``Failure``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal, NamedTuple

from lwexp.config.data import PlanLimits
from lwexp.generate.clean import clean_paragraph, draft_fault
from lwexp.generate.instructions import stable_seed
from lwexp.generate.plan import BadPlan, parse_plan, plan_fault
from lwexp.generate.prompts import Templates, fill, step_line
from lwexp.llm import Answer, Client, NoAnswer
from lwexp.records import Draft, Failure, Instruction, Plan
from lwexp.records.trace import StepTrace, Trace

Mode = Literal["sequential", "parallel"]


_PLAN_ATTEMPTS = 2


class Rules(NamedTuple):
    """What a document is written by, besides its instruction."""

    mode: Mode
    plan: PlanLimits
    min_words: int
    seed: int
    teacher: str


class Planned(NamedTuple):
    """A plan, what all calls for it cost, and how often it was asked for."""

    plan: Plan
    cost_usd: float
    attempts: int


class Written(NamedTuple):
    """A finished document, the names of the cleaning rules that changed it, and what it took."""

    draft: Draft
    cleaned: tuple[str, ...]
    trace: Trace


async def write_document(
    client: Client, templates: Templates, instruction: Instruction, rules: Rules
) -> Written | Failure:
    """Plan, write and clean one document.

    Calls of one document share a seed made from its id, so two equal instructions still get two drafts.
    """
    seed = stable_seed(rules.seed, instruction.id)
    planned = await plan_document(client, templates, instruction, rules.plan, seed)
    if isinstance(planned, Failure):
        return planned
    plan = planned.plan
    write = _write_parallel if rules.mode == "parallel" else _write_in_order
    answers = await write(client, templates.write, instruction, plan, seed)
    for answer in answers:
        if isinstance(answer, NoAnswer):
            return _failure(instruction, "write", answer)
    texts = [answer for answer in answers if isinstance(answer, Answer)]
    cleaned = [clean_paragraph(answer.text, step) for answer, step in zip(texts, plan.steps, strict=True)]
    draft = Draft(
        id=instruction.id,
        instruction=instruction,
        plan=plan,
        paragraphs=tuple(paragraph.text for paragraph in cleaned),
        finish_reasons=tuple(answer.finish_reason for answer in texts),
        teacher=rules.teacher,
        cost_usd=planned.cost_usd + sum(answer.cost_usd for answer in texts),
    )
    steps = [
        StepTrace(cost_usd=answer.cost_usd, attempts=answer.attempts, cleaned=paragraph.rules)
        for answer, paragraph in zip(texts, cleaned, strict=True)
    ]
    trace = Trace(id=draft.id, plan_cost_usd=planned.cost_usd, plans_asked=planned.attempts, steps=tuple(steps))
    fault = draft_fault(draft, min_words=rules.min_words)
    return fault or Written(draft, tuple(rule for paragraph in cleaned for rule in paragraph.rules), trace)


async def plan_document(
    client: Client, templates: Templates, instruction: Instruction, limits: PlanLimits, seed: int
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
    client: Client, template: str, instruction: Instruction, plan: Plan, seed: int
) -> Sequence[Answer | NoAnswer]:
    """Each paragraph sees the text so far, as the teacher wrote it: byte-stable, so provider prefix caches hit."""
    answers: list[Answer | NoAnswer] = []
    written: list[str] = []
    for number in range(1, len(plan.steps) + 1):
        answer = await _write_step(client, template, instruction, plan, number, "\n\n".join(written), seed)
        answers.append(answer)
        if isinstance(answer, NoAnswer):
            break
        written.append(answer.text.strip())
    return answers


async def _write_parallel(
    client: Client, template: str, instruction: Instruction, plan: Plan, seed: int
) -> Sequence[Answer | NoAnswer]:
    """All paragraphs at once, none seeing another: the paper's ablation, cheaper and less coherent."""
    steps = range(1, len(plan.steps) + 1)
    return await asyncio.gather(
        *(_write_step(client, template, instruction, plan, number, "", seed) for number in steps)
    )


async def _write_step(
    client: Client, template: str, instruction: Instruction, plan: Plan, number: int, written: str, seed: int
) -> Answer | NoAnswer:
    values = {
        "INST": instruction.text,
        "PLAN": plan.text,
        "TEXT": written,
        "STEP": step_line(number, plan.steps[number - 1], instruction.language),
    }
    answer = await _ask(client, fill(template, values), seed)
    # A paragraph cut at max_tokens is real text: it is kept, and flagged by its finish reason.
    if isinstance(answer, NoAnswer) and answer.partial is not None and answer.partial.text.strip():
        return answer.partial
    return answer


async def _ask(client: Client, prompt: str, seed: int) -> Answer | NoAnswer:
    return await client.ask([{"role": "user", "content": prompt}], seed=seed)


def _failure(instruction: Instruction, stage: str, answer: NoAnswer) -> Failure:
    return Failure(id=instruction.id, stage=stage, reason=answer.reason, detail=answer.detail, attempts=answer.attempts)
