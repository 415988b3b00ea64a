"""S_q: what a judge is shown, and what its reply means. Pure; the asking is in ``judging``.

How we differ from THUDM/LongWriter evaluation/eval_quality.py at 3fcfdff: our own prompt; the answer stands between
markers with a code that it cannot contain; a reply is read whole or not at all, never searched for numbers; and a
reply that stays unreadable leaves the answer unscored and counted, where they drop it in silence.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from lwexp.records import Judgement, Response, Verdict, first_problem

_Score = Literal[1, 2, 3, 4, 5]

_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)


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

    def as_floats(self) -> dict[str, float]:
        """Dimension -> score."""
        return {name: float(score) for name, score in self.model_dump().items()}


class UnreadableError(Exception):
    """A judge's reply that is not six scores; the text says what is wrong with it."""


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


def read_scores_in_prose(reply: str) -> Scores:
    """Read a reply to a user's own prompt, which may ask for reasons first and name the dimensions in its own way.

    Exactly one JSON object in the reply may hold scores: with two, one of them may be quoted from the answer. Its
    keys may be written "Breadth and Depth"; keys that are no dimension, such as "Analysis", are left out.

    Raises:
        UnreadableError: If it is anything else.
    """
    found = []
    for opening in re.finditer(r"\{", reply):
        try:
            value, _ = json.JSONDecoder(object_pairs_hook=_without_duplicates).raw_decode(reply[opening.start() :])
        except json.JSONDecodeError:
            continue
        named = {re.sub(r"[\s_&]+(?:and[\s_]+)?", "_", str(key).strip().lower()): item for key, item in value.items()}
        named = {"breadth_and_depth" if key == "breadth_depth" else key: item for key, item in named.items()}
        if any(name in named for name in Scores.model_fields):
            found.append({name: item for name, item in named.items() if name in Scores.model_fields})
    if len(found) != 1:
        raise UnreadableError(f"it holds {len(found)} JSON objects with scores, wanted one")
    try:
        return Scores.model_validate(found[0])
    except ValidationError as error:
        raise UnreadableError(first_problem(error)) from None


def judgement(response: Response, repeat: int, scorer: str, outcome: Scores | str) -> Judgement:
    """One reply of a judge; ``outcome`` is its scores or the reason why there are none."""
    scored = isinstance(outcome, Scores)
    return Judgement(
        response_id=response.id,
        repeat=repeat,
        scorer=scorer,
        score=outcome.s_q if isinstance(outcome, Scores) else None,
        dimensions=outcome.as_floats() if isinstance(outcome, Scores) else {},
        unscored_reason=None if scored else str(outcome),
    )


def quality_verdict(response: Response, scorer: str, judgements: Sequence[Judgement]) -> Verdict:
    """The verdict of a judge on one answer: the mean over its readable judgements, or unscored where there is none."""
    scored = [one for one in judgements if one.score is not None]
    if not scored:
        reason = next((one.unscored_reason for one in judgements if one.unscored_reason), "no_verdict")
        return Verdict(response_id=response.id, kind="quality", scorer=scorer, score=None, unscored_reason=reason)
    values: dict[str, list[float]] = defaultdict(list)
    for one in scored:
        for name, value in one.dimensions.items():
            values[name].append(value)
    return Verdict(
        response_id=response.id,
        kind="quality",
        scorer=scorer,
        score=fmean(one.score for one in scored if one.score is not None),
        dimensions={name: fmean(given) for name, given in values.items()},
    )


def outcome_without_judge(response: Response) -> Scores | str | None:
    """What no judge needs to see: the lowest scores for an empty answer, a reason for one that never came; else None.

    An empty answer gets the lowest score in every dimension: unscored, it would raise its model's mean.
    """
    if response.finish_reason == "error":
        return "no_answer"
    if not response.text.strip():
        return Scores.model_validate(dict.fromkeys(Scores.model_fields, 1))
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
