"""Asks the teacher for a plan, as lines of text or as JSON by a schema, and once more if the first cannot be used."""

from collections.abc import Awaitable, Callable
from types import GenericAlias
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, create_model

from lwexp.config.data import PlanLimits
from lwexp.extend.endpoint import Endpoint
from lwexp.generate.plan import BadPlan, parse_plan, plan_fault
from lwexp.generate.prompts import Templates
from lwexp.llm.answer import Answer, NoAnswer
from lwexp.llm.price import takes_schema
from lwexp.records import Failure, Instruction, Language, LwexpError, Plan
from lwexp.text.loops import find_loop
from lwexp.text.plan_text import plan_line
from lwexp.text.quoting import fill
from lwexp.text.words import count_words

Ask = Callable[..., Awaitable[Answer | NoAnswer]]
"""``Client.ask``, or a wrapper of it that counts calls."""

_ATTEMPTS = 2
_TEXT_WORDS = 100  # a reply without any step and with more words than this is the text itself
_NOT_FOR_LACK_OF_ROOM = ("refusal", "loop", "wrote_text")  # a longer reply of this kind would be no plan either
_BEGINNING = 200  # characters of an unusable reply that a failure keeps


class PlanCall(NamedTuple):
    """How plans are asked for; the same for all documents of a run.

    Attributes:
        limits: Bounds of a plan.
        schema: The JSON schema that is sent; None asks for lines of text.
        more_room: Token limit for the second try, after a plan that was cut; None keeps the teacher's limit.
    """

    limits: PlanLimits
    schema: type[BaseModel] | None = None
    more_room: int | None = None


class Planned(NamedTuple):
    """A plan, the cost of all calls for it, and how often it was asked for."""

    plan: Plan
    cost_usd: float
    attempts: int


def plan_form(limits: PlanLimits, teacher: Endpoint) -> Literal["text", "schema"]:
    """The form in which plans are asked for. It depends on config and price table only, so that a resumed run repeats
    its questions; a server that refuses the schema is asked again without it by the client.

    Raises:
        LwexpError: For ``form=schema`` with a teacher that is known to accept no schema.
    """
    if limits.form == "text":
        return "text"
    if takes_schema(teacher):
        return "schema"
    if limits.form == "auto":
        return "text"
    raise LwexpError(
        f"generate.plan.form=schema: {teacher.model} accepts no JSON schema (by teacher.json_schema, or by "
        "litellm's table); set generate.plan.form=auto or text"
    )


def plan_schema(limits: PlanLimits) -> type[BaseModel]:
    """The wanted plan as a pydantic model, whose JSON schema bounds the number of steps and their words."""
    strict = ConfigDict(extra="forbid")
    words = Field(ge=limits.min_step_words, le=limits.max_step_words)
    step: Any = create_model("PlanStep", __config__=strict, main_point=(str, ...), word_count=(int, words))
    steps: Any = GenericAlias(list, (step,))
    found: type[BaseModel] = create_model(
        "Plan", __config__=strict, steps=(steps, Field(min_length=1, max_length=limits.max_steps))
    )
    return found


async def plan_document(
    ask: Ask, templates: Templates, instruction: Instruction, call: PlanCall, seed: int
) -> Planned | Failure:
    """Ask for a plan. After an unusable or cut one, ask once more and say what was wrong; a refusal is not asked again.

    Args:
        ask: Sends messages to the teacher.
        templates: Prompts in the instruction's language and the call's form.
        instruction: What to plan.
        call: Form and bounds of the plan.
        seed: Sent with both calls.
    """
    messages = [{"role": "user", "content": fill(templates.plan, {"INST": instruction.text})}]
    options: dict[str, Any] = {} if call.schema is None else {"response_schema": call.schema}
    cost, attempts = 0.0, 0
    while True:
        outcome = await ask(messages, seed=seed, **options)
        attempts += 1
        answer = outcome if isinstance(outcome, Answer) else outcome.partial
        if isinstance(outcome, NoAnswer) and (answer is None or outcome.reason != "length"):
            return failure_of(instruction, "plan", outcome)
        assert answer is not None
        cost += answer.cost_usd
        cut_at = answer.completion_tokens if isinstance(outcome, NoAnswer) else None
        plan = _read(answer.text, instruction, call, cut_at)
        if isinstance(plan, Plan):
            return Planned(plan, cost, attempts)
        if plan.reason == "refusal" or attempts == _ATTEMPTS:
            return Failure(
                id=instruction.id, stage="plan", reason=plan.reason, detail=plan.detail, attempts=attempts,
                reply=_beginning(answer.text),
            )  # fmt: skip
        if plan.reason == "length" and call.more_room is not None:
            options["max_tokens"] = call.more_room
        # A reply without a plan is quoted in part: read whole, it would invite the teacher to continue it.
        said = _beginning(answer.text) if plan.reason in ("loop", "wrote_text") else answer.text
        correction = fill(templates.replan, {"PROBLEM": plan.detail})
        messages += [{"role": "assistant", "content": said}, {"role": "user", "content": correction}]


def failure_of(instruction: Instruction, stage: str, answer: NoAnswer) -> Failure:
    """The failure of a document whose call gave no usable text."""
    reply = "" if answer.partial is None else _beginning(answer.partial.text)
    return Failure(
        id=instruction.id,
        stage=stage,
        reason=answer.reason,
        detail=answer.detail,
        attempts=answer.attempts,
        reply=reply,
    )


def _read(text: str, instruction: Instruction, call: PlanCall, cut_at: int | None) -> Plan | BadPlan:
    """The plan in a reply, or what is wrong with it.

    A cut plan is never used, even if it can be read: nothing tells how many of its steps are missing.
    """
    plan = parse_plan(text)
    cut = "" if cut_at is None else f"; cut at {cut_at:,} tokens"
    if isinstance(plan, BadPlan):
        if plan.reason == "no_plan":
            plan = _why_no_plan(text) or plan
        # A cut inside a step leaves it without a count, or its JSON unreadable: what was missing is room.
        reason = "length" if cut and plan.reason not in _NOT_FOR_LACK_OF_ROOM else plan.reason
        return BadPlan(reason, plan.detail + cut)
    if cut_at is not None:
        return BadPlan("length", f"it was cut at {cut_at:,} tokens, after {len(plan.steps)} steps")
    if (fault := plan_fault(plan, call.limits, required_words=instruction.required_words)) is not None:
        return fault
    return plan if call.schema is None else _as_lines(plan, instruction.language)


def _why_no_plan(text: str) -> BadPlan | None:
    """What a reply without any step is instead; None for JSON and for short replies, which the parser describes."""
    if text.lstrip().startswith(("{", "[")):
        return None
    if passage := find_loop(text):
        return BadPlan("loop", f"it is no plan and repeats “{passage[:80]}”")
    if (words := count_words(text)) > _TEXT_WORDS:
        return BadPlan("wrote_text", f"it is no plan but a text of {words:,} words")
    return None


def _as_lines(plan: Plan, language: Language) -> Plan:
    """A plan given as JSON, with its text in the paper's form, which the prompts of the paragraphs quote."""
    steps = tuple(step.model_copy(update={"point": " ".join(step.point.split())}) for step in plan.steps)
    lines = [plan_line(number, step.point, step.words, language) for number, step in enumerate(steps, 1)]
    return plan.model_copy(update={"text": "\n".join(lines), "steps": steps})


def _beginning(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _BEGINNING else f"{text[:_BEGINNING]}..."
