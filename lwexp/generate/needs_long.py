"""Asks a model the question that rules cannot settle: does an instruction need a long answer, yes or no?"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, StrictBool

from lwexp.llm.client import Client
from lwexp.llm.pool import NothingRead, ask_and_read
from lwexp.records import Instruction, Language
from lwexp.text.quoting import code_of, fill
from lwexp.text.replies import read_object

_REASK = (
    'That reply could not be read: {}. Reply with only {{"needs_long_output": true}} or {{"needs_long_output": false}}.'
)


class Judgement(BaseModel):
    """The wanted reply; also the JSON schema that is sent to the provider."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    needs_long_output: StrictBool


ANCHORS: Mapping[Language, tuple[tuple[str, bool], ...]] = {
    "en": (
        ("Write a novella of $WORDS$ words about a lighthouse keeper, in ten chapters, each with a title.", True),
        ("What is the capital of Portugal? Answer with one word.", False),
    ),
    "zh": (
        ("请写一部$WORDS$字的中篇小说，主人公是一位灯塔看守人，共分十章，每章要有标题。", True),
        ("葡萄牙的首都是哪里？请只回答一个词。", False),
    ),
}
"""Instructions whose answer is plain, with that answer: whether they need a long text."""


class AnchorCheck(NamedTuple):
    """What a teacher said about the anchors.

    Attributes:
        wrong: A line for each wrong or unreadable answer.
        unasked: A line for each anchor without an answer, which says nothing about the teacher.
    """

    wrong: list[str]
    unasked: list[str]


async def check_anchors(client: Client, languages: Iterable[Language], *, min_words: int, seed: int) -> AnchorCheck:
    """Ask about the anchors before any row.

    Raises:
        LwexpError: When the whole run has to stop.
    """
    found = AnchorCheck([], [])
    for language in languages:
        for number, (text, needed) in enumerate(ANCHORS[language]):
            asked = fill(text, {"WORDS": f"{5 * min_words:,}"})
            row = Instruction(id=f"anchor-{language}-{number}", text=asked, language=language, source="anchor")
            try:
                said = await needs_long_output(client, row, min_words=min_words, seed=seed)
            except NothingRead as error:
                lines = found.wrong if error.reason == "unreadable" else found.unasked
                lines.append(f"{error.reason.replace('_', ' ')} for “{asked}”")
                continue
            if said != needed:
                found.wrong.append(f"{'yes' if said else 'no'} for “{asked}”")
    return found


async def needs_long_output(client: Client, instruction: Instruction, *, min_words: int, seed: int) -> bool:
    """Ask once, and once more if the reply is unreadable.

    Raises:
        NothingRead: If both replies are unreadable, or the call failed for good.
        LwexpError: When the whole run has to stop.
    """

    def read(reply: str) -> bool:
        return read_judgement(reply, (instruction.text,))

    return await ask_and_read(
        client, judge_prompt(instruction, min_words), read, _REASK.format, seed=seed, schema=Judgement,
    )  # fmt: skip


def judge_prompt(instruction: Instruction, min_words: int) -> str:
    """The question. The code around the instruction is its hash, so the same instruction always gives the same
    question, and an instruction cannot close its own quotation."""
    values = {"WORDS": f"{min_words:,}", "CODE": code_of(instruction.text), "INST": instruction.text}
    return fill(_template(instruction.language), values)


def read_judgement(reply: str, quoted: Sequence[str] | None = None) -> bool:
    """Read a reply. "Yes" in prose is not read: the instruction may have suggested it.

    Args:
        reply: The model's reply, unchanged.
        quoted: The instruction. Without it, no text is allowed around the object.

    Raises:
        UnreadableError: If the reply is anything else; the message says what is wrong.
    """
    return read_object(reply, Judgement, quoted=quoted, mends=lambda text, _: text.endswith("}")).needs_long_output


@functools.cache
def _template(language: Language) -> str:
    path = Path(__file__).parent / "prompts" / f"select_{language}.txt"
    return path.read_text(encoding="utf-8").strip()
