"""Reads a run's rows as entries of the viewer, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from lwexp.pages.display import dollars, plural
from lwexp.records import Conversation, Draft, Failure, Message, PlanStep, PreferencePair, read_rows
from lwexp.records.trace import StepTrace, Trace
from lwexp.runs.artifacts import (
    CONVERSATIONS,
    DRAFT_FAILURES,
    DRAFTS,
    IMPORT_FAILURES,
    PAIR_FAILURES,
    PAIRS,
    TRACE,
    failures_in,
)
from lwexp.text.words import count_words, language_of, score_length

Kind = Literal["draft", "conversation", "pair"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One text of the viewer.

    Attributes:
        status: kept, pair, or failed; failed ones have no text, only the reason.
        asked: Words that the instruction asks for, where it states a length.
        words: Words written; of a pair those of the chosen answer; None for a failure.
        notes: Short words to filter by: the reason of a failure, cut, cleaned rules, retried.
        gap: Of a pair the difference of scores, else how far S_l is from 100; None where unknown.
        ask: With ``facts``, ``notice`` and ``groups``: what is shown of it (``lwexp.pages.packed``).
        length_gap: Of a pair, words of the chosen less those of the rejected answer.
    """

    id: str
    language: str
    status: Literal["kept", "pair", "failed"]
    asked: int | None
    words: int | None
    title: str
    notes: tuple[str, ...]
    gap: float | None
    ask: str
    facts: list[list[str]]
    groups: list[Any] = field(default_factory=list)
    notice: str = ""
    length_gap: int | None = None

    def without_texts(self) -> Entry:
        """About 150 bytes: 200,000 imported rows stay near 30 MB."""
        return replace(self, id="", title="", ask="", facts=[], groups=[], notice="")


def failures_of(folder: Path) -> Path | None:
    """What did not become a draft, a conversation or a pair; None where there is no such file."""
    return failures_in(folder, DRAFT_FAILURES, IMPORT_FAILURES, PAIR_FAILURES)


def kind_of(folder: Path) -> Kind:
    if (folder / DRAFTS).is_file():
        return "draft"
    return "pair" if (folder / PAIRS).is_file() else "conversation"


def entries(folder: Path) -> Iterator[Entry]:
    """The kept texts of a run in their order, then its failures."""
    kind = kind_of(folder)
    if kind == "draft":
        yield from _drafts(folder)
    elif kind == "pair":
        yield from map(_pair, read_rows(folder / PAIRS, PreferencePair))
    else:
        yield from map(_conversation, read_rows(folder / CONVERSATIONS, Conversation))
    if (failures := failures_of(folder)) is not None:
        yield from map(_failed, read_rows(failures, Failure))


def _drafts(folder: Path) -> Iterator[Entry]:
    path = folder / TRACE  # runs of older versions have none
    traces = read_rows(path, Trace) if path.is_file() else iter(())
    for draft in read_rows(folder / DRAFTS, Draft):
        trace = next(traces, None)
        yield _draft(draft, trace if trace is not None and trace.id == draft.id else None)


def _draft(draft: Draft, trace: Trace | None) -> Entry:
    asked = draft.instruction.required_words
    words = count_words(draft.text)
    calls: tuple[StepTrace | None, ...] = trace.steps if trace else (None,) * len(draft.paragraphs)
    steps = zip(draft.plan.steps, draft.paragraphs, draft.finish_reasons, calls, strict=False)
    panels = [_step(number, *step) for number, step in enumerate(steps, start=1)]
    summary = f"The plan as the teacher wrote it, {plural(len(panels), 'paragraph')}"
    facts = [
        *_length_facts(asked, words),
        ["plan", f"{draft.plan.words:,} words in {plural(len(draft.plan.steps), 'paragraph')}"],
        ["cost", dollars(draft.cost_usd)],
        ["teacher", draft.teacher],
    ]
    if trace and trace.plans_asked > 1:
        facts.append(["plan asked for", f"{trace.plans_asked} times"])
    notes = ["cut"] if "length" in draft.finish_reasons else []
    if trace:
        notes += ["cleaned"] if any(step.cleaned for step in trace.steps) else []
        notes += ["retried"] if trace.plans_asked > 1 or any(step.attempts > 1 for step in trace.steps) else []
    return Entry(
        id=draft.id, language=draft.instruction.language, status="kept", asked=asked, words=words,
        title=draft.instruction.text, notes=tuple(notes), gap=_s_l_gap(asked, words), ask=draft.instruction.text,
        facts=facts, groups=[["", [{"kind": "plan", "summary": summary, "text": draft.plan.text}, *panels]]],
    )  # fmt: skip


def _step(number: int, step: PlanStep, text: str, finish: str, call: StepTrace | None) -> dict[str, Any]:
    words = count_words(text)
    tags = [[f"{step.words:,} words asked, {words:,} written", ""]]
    if call:
        tags += [[f"${call.cost_usd:.4f}", ""]] if call.cost_usd else []
        tags += [[f"{call.attempts} tries", "tag"]] if call.attempts > 1 else []
    tags += [[f"ended by {finish}", "tag bad"]] if finish != "stop" else []
    tags += [[f"cleaned: {rule}", "tag"] for rule in (call.cleaned if call else ())]
    point = f"{number}. {step.point}"
    return {"kind": "step", "point": point, "gauge": [step.words, words], "tags": tags, "text": text}


def _conversation(row: Conversation) -> Entry:
    facts = [*_length_facts(row.required_words, row.actual_words), ["source", row.source]]
    facts += [["teacher", row.teacher]] if row.teacher else []
    first, *rest = row.messages
    return Entry(
        id=row.id, language=row.language, status="kept", asked=row.required_words, words=row.actual_words,
        title=_question(row.messages), notes=(), gap=_s_l_gap(row.required_words, row.actual_words), ask=first.content,
        facts=facts, groups=_turns(rest),
    )  # fmt: skip


def _pair(row: PreferencePair) -> Entry:
    scores = (row.chosen_score, row.rejected_score)
    gap = None if row.chosen_score is None or row.rejected_score is None else row.chosen_score - row.rejected_score
    sides = []
    for name, text, words, score in zip(
        ("chosen", "rejected"), (row.chosen, row.rejected), (row.chosen_words, row.rejected_words), scores, strict=True
    ):
        known = [["words", f"{words:,}"], *([["score", f"{score:.1f}"]] if score is not None else [])]
        known += [["S_l", f"{score_length(row.required_words, words):.1f}"]] if row.required_words else []
        sides.append({"kind": f"side {name} answer card", "name": name, "facts": known, "text": text})
    length_gap = row.chosen_words - row.rejected_words
    facts = [["asked", f"{row.required_words:,} words"]] if row.required_words else []
    facts += [["length gap", f"{length_gap:+,} words"]]
    facts += [["score gap", f"{gap:.1f}"]] if gap is not None else []
    first, *rest = row.prompt
    return Entry(
        id=row.id, language=row.language, status="pair", asked=row.required_words, words=row.chosen_words,
        title=_question(row.prompt), notes=(), gap=gap, length_gap=length_gap, ask=first.content,
        facts=[*facts, ["source", row.source]], groups=[*_turns(rest), ["sides", sides]],
    )  # fmt: skip


def _failed(row: Failure) -> Entry:
    reason = row.reason.replace("_", " ")
    return Entry(
        id=row.id, language=language_of(row.detail), status="failed", asked=None, words=None,
        title=f"{row.id}: {row.detail}", notes=(reason,), gap=None, ask=row.id, notice=row.detail,
        facts=[["stage", row.stage], ["reason", reason, "bad"], ["tries", f"{row.attempts}"]],
    )  # fmt: skip


def _turns(messages: Sequence[Message]) -> list[Any]:
    return [["", [{"kind": "turn", "name": turn.role, "text": turn.content} for turn in messages]]]


def _question(messages: tuple[Message, ...]) -> str:
    """The first thing that a user says; a system text would be the same in every row of a list."""
    return next((message.content for message in messages if message.role == "user"), messages[0].content)


def _length_facts(asked: int | None, words: int) -> list[list[str]]:
    facts = [["asked", f"{asked:,} words"]] if asked else []
    facts.append(["written", f"{words:,} words"])
    return [*facts, ["S_l", f"{score_length(asked, words):.1f}"]] if asked else facts


def _s_l_gap(asked: int | None, words: int) -> float | None:
    return round(100 - score_length(asked, words), 1) if asked else None
