"""The question that rules cannot settle: does an instruction need a long answer? Asked of a model, yes or no."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, StrictBool, ValidationError

from lwexp.generate.clean import without_reasoning
from lwexp.generate.prompts import fill
from lwexp.llm import Client, NoAnswer
from lwexp.records import Instruction, Language, first_problem

_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)
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
        except ValueError as error:
            problem = str(error)
            messages += [
                {"role": "assistant", "content": answer.text},
                {"role": "user", "content": _REASK.format(problem)},
            ]
    raise Unjudged("unjudged", problem)


def judge_prompt(instruction: Instruction, min_words: int) -> str:
    """The question. Its code is a hash of the instruction, so the text is stable and cannot be closed from inside."""
    code = hashlib.sha256(instruction.text.encode()).hexdigest()[:16]
    values = {"WORDS": f"{min_words:,}", "CODE": code, "INST": instruction.text}
    return fill(_template(instruction.language), values)


def read_judgement(reply: str) -> bool:
    """Read a reply: one JSON object, bare or in a code fence, its punctuation mended where it is broken.

    Raises:
        ValueError: With what is wrong. "Yes" in prose is not read: the instruction may have suggested it.
    """
    text = without_reasoning(reply).strip()
    if fenced := _FENCE.fullmatch(text):
        text = fenced[1]
    if not text.startswith("{") or not text.rstrip().endswith("}"):
        raise ValueError("it is not one JSON object")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        import json_repair

        value = json_repair.loads(text)
    try:
        return Judgement.model_validate(value).needs_long_output
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None


@functools.cache
def _template(language: Language) -> str:
    path = Path(__file__).parent / "prompts" / f"select_{language}.txt"
    return path.read_text(encoding="utf-8").strip()
