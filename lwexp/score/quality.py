"""S_q: what a judge is shown, and what its reply means. Pure; the asking is in ``judging``.

How we differ from THUDM/LongWriter evaluation/eval_quality.py at 3fcfdff: our own prompt; the answer stands between
markers with a code that it cannot contain; a reply is read whole or not at all, never searched for numbers; and a
reply that stays unreadable leaves the answer unscored and counted, where they drop it in silence.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from lwexp.records import Response, Verdict, first_problem

_Score = Literal[1, 2, 3, 4, 5]

_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)
_SLOT = re.compile(r"\$(CODE|REQUEST|RESPONSE)\$")


class Scores(BaseModel):
    """A judge's scores; also the JSON schema that providers are asked to keep to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    relevance: _Score
    accuracy: _Score
    coherence: _Score
    clarity: _Score
    breadth_and_depth: _Score
    reading_experience: _Score

    @field_validator("*", mode="before")
    @classmethod
    def is_a_whole_number(cls, value: object) -> object:
        """Literal alone would take 4.0 for 4 and true for 1."""
        if type(value) is not int:
            raise ValueError(f"wanted a whole number from 1 to 5, got {value!r:.40}")
        return value

    @property
    def s_q(self) -> float:
        """The mean of the six, put on 0..100. Source: the paper, section 4.1."""
        return (fmean(self.model_dump().values()) - 1) * 25


class UnreadableError(Exception):
    """A judge's reply that is not six scores; the text says what is wrong with it."""


def judge_prompt(response: Response) -> str:
    """The message that asks for six scores.

    The code is a hash of what it encloses: the same question has the same text, which the ledger needs, and no
    answer can close its own quotation.
    """
    enclosed = f"{response.prompt}\0{response.text}"
    code = hashlib.sha256(enclosed.encode()).hexdigest()[:16]
    assert code not in enclosed, "an answer that contains the hash of itself"
    values = {"CODE": code, "REQUEST": response.prompt, "RESPONSE": response.text}
    # One pass: a slot's name inside a request or an answer stays the text it is.
    return _SLOT.sub(lambda slot: values[slot[1]], _template())


def reask(problem: str) -> str:
    """The one message that follows an unreadable reply."""
    return (
        f"That reply could not be read: {problem}. Reply again with only the JSON object: the six keys "
        f"{', '.join(Scores.model_fields)}, each with a whole number from 1 to 5."
    )


def read_scores(reply: str) -> Scores:
    """Read a judge's reply: strict JSON, in a code fence or bare, else the same with its punctuation mended.

    Text around the object is refused, because a score in prose may be one that the answer suggested.

    Raises:
        UnreadableError: If it is anything else than six whole numbers from 1 to 5 under the six names.
    """
    text = reply.strip()
    if fenced := _FENCE.fullmatch(text):
        text = fenced[1]
    if not text.startswith("{"):
        raise UnreadableError("it does not start with a JSON object")
    try:
        return Scores.model_validate(_load(text))
    except ValidationError as error:
        raise UnreadableError(first_problem(error)) from None


def quality_verdict(response: Response, scorer: str, scores: Scores) -> Verdict:
    """The verdict of a judge that gave scores."""
    dimensions = {name: float(score) for name, score in scores.model_dump().items()}
    return Verdict(response_id=response.id, kind="quality", scorer=scorer, score=scores.s_q, dimensions=dimensions)


def unscored(response: Response, scorer: str, reason: str) -> Verdict:
    """The verdict where there is no score, and why."""
    return Verdict(response_id=response.id, kind="quality", scorer=scorer, score=None, unscored_reason=reason)


def verdict_without_judge(response: Response, scorer: str) -> Verdict | None:
    """The verdict on what no judge needs to see, or None.

    An empty answer gets the lowest score in every dimension: unscored, it would raise its model's mean.
    """
    if response.finish_reason == "error":
        return unscored(response, scorer, "no_answer")
    if not response.text.strip():
        return quality_verdict(response, scorer, Scores.model_validate(dict.fromkeys(Scores.model_fields, 1)))
    return None


def _load(text: str) -> Any:
    """Parse an object; where its punctuation is broken, mend that and nothing else."""
    try:
        value, end = json.JSONDecoder(object_pairs_hook=_without_duplicates).raw_decode(text)
    except json.JSONDecodeError:
        import json_repair

        mended = json_repair.loads(text)
        # json_repair makes 4 of "4 5" and takes the last of equal keys: six numbers in, the same six out.
        numbers = re.findall(r"\d+", text)
        if not isinstance(mended, dict) or [str(value) for value in mended.values()] != numbers:
            raise UnreadableError("it is not valid JSON") from None
        return mended
    if text[end:].strip():
        raise UnreadableError("there is text after the JSON object")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise UnreadableError("it has a key twice")
    return dict(pairs)


@functools.cache
def _template() -> str:
    return (Path(__file__).parent / "prompts" / "judge.txt").read_text(encoding="utf-8")
