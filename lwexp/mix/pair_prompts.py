"""Chooses the instructions to sample preference pairs for, from the data that an SFT run was trained on."""

from collections.abc import Iterable
from pathlib import Path

from lwexp.records import Conversation, LwexpError, Prompt, read_rows
from lwexp.runs.artifacts import CONVERSATIONS


def draft_prompts(runs: Iterable[Path]) -> Iterable[Prompt]:
    """Single-turn instructions with a stated length, from the conversations of these run directories."""
    for run in runs:
        for row in read_rows(run / CONVERSATIONS, Conversation):
            if row.required_words is not None and len(row.messages) == 2:
                yield Prompt(
                    id=row.id,
                    text=row.messages[0].content,
                    language=row.language,
                    type=row.source,
                    required_words=row.required_words,
                )


def take_lengths_in_turn(prompts: Iterable[Prompt], wanted: int) -> list[Prompt]:
    """Choose ``wanted`` prompts, one of each required length in turn, shortest first.

    Raises:
        LwexpError: If there are fewer prompts than that.
    """
    by_length: dict[int, list[Prompt]] = {}
    for prompt in prompts:
        by_length.setdefault(prompt.required_words or 0, []).append(prompt)
    available = sum(len(queue) for queue in by_length.values())
    if not available:
        raise LwexpError(
            "pairs.instructions: the SFT run was not trained on single-turn instructions that state a length; set "
            "pairs.instructions.kind=file pairs.instructions.path=<file>, or kind=synthetic"
        )
    if available < wanted:
        raise LwexpError(
            f"pairs.instructions.count={wanted}: the SFT run's data hold only {available} single-turn instructions "
            f"that state a length; set {available} or less, or generate more data"
        )
    chosen: list[Prompt] = []
    while len(chosen) < wanted:
        for length in sorted(by_length):
            if by_length[length] and len(chosen) < wanted:
                chosen.append(by_length[length].pop(0))
    return chosen
