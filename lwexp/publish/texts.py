"""Reads a run's rows as entries of the viewer, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lwexp.pages.display import dollars, plural
from lwexp.records import Conversation, Draft, Failure, Message, PlanStep, PreferencePair, StepTrace, Trace, read_rows
from lwexp.runs import artifacts
from lwexp.runs.artifacts import CONVERSATIONS, DRAFTS, PAIRS, TRACE
from lwexp.text.words import count_words, language_of, score_length

Kind = Literal["draft", "conversation", "pair"]


class Entry(NamedTuple):
    """The numbers of one text. It is small, because those of 200,000 imported rows are in memory at once.

    Attributes:
        status: kept, pair, or failed. A failed entry has no text, only the reason.
        asked: Words that the instruction asks for; None if it states no length.
        words: Words written; for a pair those of the chosen answer; 0 for a failure.
        notes: Short words to filter by: the reason of a failure, cut, cleaned, retried.
        gap: For a pair the difference of scores, else how far S_l is below 100; None if unknown.
        length_gap: For a pair, words of the chosen minus words of the rejected answer.
    """

    status: Literal["kept", "pair", "failed"]
    language: str
    asked: int | None
    words: int
    notes: tuple[str, ...] = ()
    gap: float | None = None
    length_gap: int | None = None

    @property
    def length_score(self) -> float | None:
        """S_l; None if no length is asked for."""
        return score_length(self.asked, self.words) if self.asked else None


class Text(NamedTuple):
    """What the page shows of an entry; ``detail`` is in the form that ``lwexp.pages.packed`` expects."""

    id: str
    title: str
    detail: dict[str, Any]


def failures_of(folder: Path) -> Path | None:
    """File of the rows that did not become a draft, a conversation or a pair; None if there is no such file."""
    return artifacts.failures_in(folder, artifacts.DRAFT_FAILURES, artifacts.IMPORT_FAILURES, artifacts.PAIR_FAILURES)


def kind_of(folder: Path) -> Kind:
    if (folder / DRAFTS).is_file():
        return "draft"
    return "pair" if (folder / PAIRS).is_file() else "conversation"


def entries(folder: Path) -> Iterator[tuple[Entry, Text]]:
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


def _drafts(folder: Path) -> Iterator[tuple[Entry, Text]]:
    path = folder / TRACE  # runs of older versions have none
    traces = read_rows(path, Trace) if path.is_file() else iter(())
    for draft in read_rows(folder / DRAFTS, Draft):
        trace = next(traces, None)
        yield _draft(draft, trace if trace is not None and trace.id == draft.id else None)


def _draft(draft: Draft, trace: Trace | None) -> tuple[Entry, Text]:
    notes = {
        "cut": "length" in draft.finish_reasons,
        "cleaned": trace is not None and any(step.cleaned for step in trace.steps),
        "retried": trace is not None and (trace.plans_asked > 1 or any(step.attempts > 1 for step in trace.steps)),
    }
    asked, words, n_steps = draft.instruction.required_words, count_words(draft.text), len(draft.plan.steps)
    found = tuple(note for note, holds in notes.items() if holds)
    entry = Entry("kept", draft.instruction.language, asked, words, found, _length_gap(asked, words))
    facts = [
        *_length_facts(entry),
        ["plan", f"{draft.plan.words:,} words in {plural(n_steps, 'paragraph')}"],
        ["cost", dollars(draft.cost_usd)],
        ["teacher", draft.teacher],
    ]
    if trace and trace.plans_asked > 1:
        facts.append(["plan requested", f"{trace.plans_asked} times"])
    calls: Sequence[StepTrace | None] = trace.steps if trace else (None,) * len(draft.paragraphs)
    steps = zip(draft.plan.steps, draft.paragraphs, draft.finish_reasons, calls, strict=False)
    panels = [_step(number, *step) for number, step in enumerate(steps, start=1)]
    summary = f"The plan as the teacher wrote it, {plural(len(panels), 'paragraph')}"
    plan = {"kind": "plan", "summary": summary, "text": draft.plan.text}
    ask = draft.instruction.text
    return entry, Text(draft.id, ask, {"ask": ask, "facts": facts, "groups": [["", [plan, *panels]]]})


def _step(number: int, step: PlanStep, text: str, finish: str, call: StepTrace | None) -> dict[str, Any]:
    words = count_words(text)
    tags = [[f"{step.words:,} words asked, {words:,} written", ""]]
    if call:
        tags += [[f"${call.cost_usd:.4f}", ""]] if call.cost_usd else []
        tags += [[f"{call.attempts} attempts", "tag"]] if call.attempts > 1 else []
    tags += [[f"ended by {finish}", "tag bad"]] if finish != "stop" else []
    tags += [[f"cleaned: {rule}", "tag"] for rule in (call.cleaned if call else ())]
    point = f"{number}. {step.point}"
    return {"kind": "step", "point": point, "gauge": [step.words, words], "tags": tags, "text": text}


def _conversation(row: Conversation) -> tuple[Entry, Text]:
    gap = _length_gap(row.required_words, row.actual_words)
    entry = Entry("kept", row.language, row.required_words, row.actual_words, gap=gap)
    facts = [*_length_facts(entry), ["source", row.source], *([["teacher", row.teacher]] if row.teacher else [])]
    return entry, Text(row.id, _question(row.messages), _conversation_detail(row.messages, facts))


def _pair(row: PreferencePair) -> tuple[Entry, Text]:
    gap = None if row.chosen_score is None or row.rejected_score is None else row.chosen_score - row.rejected_score
    entry = Entry("pair", row.language, row.required_words, row.chosen_words, (), gap,
                  length_gap=row.chosen_words - row.rejected_words)  # fmt: skip
    sides = []
    for name, text, words, score in (
        ("chosen", row.chosen, row.chosen_words, row.chosen_score),
        ("rejected", row.rejected, row.rejected_words, row.rejected_score),
    ):
        known = [["words", f"{words:,}"], *([["score", f"{score:.1f}"]] if score is not None else [])]
        known += [["S_l", f"{score_length(row.required_words, words):.1f}"]] if row.required_words else []
        sides.append({"kind": f"side {name} answer card", "name": name, "facts": known, "text": text})
    facts = [["asked", f"{row.required_words:,} words"]] if row.required_words else []
    facts += [["length gap", f"{entry.length_gap:+,} words"]]
    facts += [["score gap", f"{gap:.1f}"]] if gap is not None else []
    detail = _conversation_detail(row.prompt, [*facts, ["source", row.source]])
    detail["groups"].append(["sides", sides])
    return entry, Text(row.id, _question(row.prompt), detail)


def _failed(row: Failure) -> tuple[Entry, Text]:
    reason = row.reason.replace("_", " ")
    facts = [["stage", row.stage], ["reason", reason, "bad"], ["attempts", f"{row.attempts}"]]
    reply = [["", [{"kind": "turn", "name": "the reply begins", "text": row.reply}]]] if row.reply else []
    detail = {"ask": row.id, "facts": facts, "notice": row.detail, "groups": reply}
    entry = Entry("failed", language_of(row.detail), None, 0, (reason,))
    return entry, Text(row.id, f"{row.id}: {row.detail}", detail)


def _conversation_detail(messages: Sequence[Message], facts: list[list[str]]) -> dict[str, Any]:
    """The first message as the question, the others as turns below it."""
    first, *rest = messages
    turns = [{"kind": "turn", "name": turn.role, "text": turn.content} for turn in rest]
    return {"ask": first.content, "facts": facts, "groups": [["", turns]]}


def _question(messages: Sequence[Message]) -> str:
    """The first user message; a system text would be the same in every row of a list."""
    return next((message.content for message in messages if message.role == "user"), messages[0].content)


def _length_facts(entry: Entry) -> list[list[str]]:
    written = ["written", f"{entry.words:,} words"]
    if not entry.asked:
        return [written]
    return [["asked", f"{entry.asked:,} words"], written, ["S_l", f"{entry.length_score:.1f}"]]


def _length_gap(asked: int | None, words: int) -> float | None:
    return round(100 - score_length(asked, words), 1) if asked else None
