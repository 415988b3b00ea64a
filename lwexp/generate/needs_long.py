"""The question that rules cannot settle: does an instruction need a long answer? Asked of a model, yes or no."""

from __future__ import annotations

import functools
from pathlib import Path

from pydantic import BaseModel, ConfigDict, StrictBool

from lwexp.llm import Client, NoAnswer
from lwexp.records import Instruction, Language
from lwexp.text.quoting import code_of, fill
from lwexp.text.replies import UnreadableError, read_object, without_reasoning

_REASK = (
    'That reply could not be read: {}. Reply with only {{"needs_long_output": true}} or {{"needs_long_output": false}}.'
)
_MAX_TOKENS = 512  # twenty would do; the rest is for models that think aloud


class Judgement(BaseModel):
    """The reply wanted; also the JSON schema that providers are asked to keep to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    needs_long_output: StrictBool


class Unjudged(Exception):  # noqa: N818 - an outcome, not an error
    """No verdict came.

    Attributes:
        reason: unjudged for a reply that stays unreadable, else the client's reason (content_filter, ...).
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


async def needs_long_output(client: Client, instruction: Instruction, *, min_words: int, seed: int) -> bool:
    """Ask once, and once more where the reply is unreadable.

    Raises:
        Unjudged: If both replies are unreadable, or the call failed for good.
        LwexpError: When the whole run has to stop.
    """
    messages = [{"role": "user", "content": judge_prompt(instruction, min_words)}]
    problem = ""
    for _ in range(2):
        answer = await client.ask(messages, seed=seed, max_tokens=_MAX_TOKENS, response_schema=Judgement)
        if isinstance(answer, NoAnswer):
            raise Unjudged(answer.reason, answer.detail)
        try:
            return read_judgement(answer.text)
        except UnreadableError as error:
            problem = str(error)
            messages += [
                {"role": "assistant", "content": answer.text},
                {"role": "user", "content": _REASK.format(problem)},
            ]
    raise Unjudged("unjudged", problem)


def judge_prompt(instruction: Instruction, min_words: int) -> str:
    """The question. Its code is a hash of the instruction, so the text is stable and cannot be closed from inside."""
    values = {"WORDS": f"{min_words:,}", "CODE": code_of(instruction.text), "INST": instruction.text}
    return fill(_template(instruction.language), values)


def read_judgement(reply: str) -> bool:
    """Read a reply. "Yes" in prose is not read: the instruction may have suggested it.

    Raises:
        UnreadableError: With what is wrong.
    """
    whole = without_reasoning(reply)
    return read_object(whole, Judgement, mends=lambda text, _: text.endswith("}")).needs_long_output


@functools.cache
def _template(language: Language) -> str:
    path = Path(__file__).parent / "prompts" / f"select_{language}.txt"
    return path.read_text(encoding="utf-8").strip()
