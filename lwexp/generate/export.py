"""Writes the files of a generation run in the order of its instructions, not in the order of completion."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lwexp.config.base import Tree
from lwexp.generate.write import Written
from lwexp.records import (
    Conversation,
    Draft,
    Failure,
    Instruction,
    Message,
    TableWriter,
    Tally,
    prompt_sha,
    tally,
    write_rows,
)
from lwexp.runs.artifacts import DRAFT_FAILURES, DRAFTS, TRACE, WordStats
from lwexp.text.words import count_words

Outcome = Written | Failure


def write_files(folder: Path, instructions: Sequence[Instruction], outcomes: Mapping[int, Outcome]) -> Tally:
    """Write drafts.jsonl, trace.jsonl, conversations.jsonl, conversations.parquet and draft_failures.jsonl.

    Args:
        folder: The run directory.
        instructions: The instructions asked.
        outcomes: By position in ``instructions``; some are missing after a stop.
    """
    ordered = [outcomes[index] for index in range(len(instructions)) if index in outcomes]
    drafts = [outcome.draft for outcome in ordered if isinstance(outcome, Written)]
    failures = [outcome for outcome in ordered if isinstance(outcome, Failure)]
    write_rows(folder / DRAFTS, drafts)
    write_rows(folder / TRACE, [outcome.trace for outcome in ordered if isinstance(outcome, Written)])
    write_rows(folder / DRAFT_FAILURES, failures)
    with TableWriter(folder, "conversations", Conversation) as table:
        for draft in drafts:
            table.append(as_conversation(draft))
    return tally(len(ordered), len(drafts), (failure.reason for failure in failures))


def as_conversation(draft: Draft) -> Conversation:
    """A conversation of two messages: the instruction, and the draft as its answer."""
    instruction = draft.instruction
    question = Message(role="user", content=instruction.text)
    return Conversation(
        id=draft.id,
        source="agentwrite",
        language=instruction.language,
        messages=(question, Message(role="assistant", content=draft.text)),
        required_words=instruction.required_words,
        actual_words=count_words(draft.text),
        teacher=draft.teacher,
        cost_usd=draft.cost_usd,
        finish_reasons=draft.finish_reasons,
        plan=draft.plan.text,
        prompt_sha=prompt_sha([question]),
    )


def summarise(outcomes: Iterable[Outcome]) -> Tree:
    """Lengths of the drafts in words, how many were cut, and how often each cleaning rule changed a paragraph."""
    written = [outcome for outcome in outcomes if isinstance(outcome, Written)]
    words = sorted(count_words(item.draft.text) for item in written)
    return {
        "words": WordStats(min=words[0], median=statistics.median(words), max=words[-1]) if words else None,
        "cut_at_max_tokens": sum("length" in item.draft.finish_reasons for item in written),
        "cleaned": dict(sorted(Counter(rule for item in written for rule in item.cleaned).items())),
    }
