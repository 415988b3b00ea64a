"""S_q: six scores of a judge.

Differences from THUDM/LongWriter evaluation/eval_quality.py at 3fcfdff: the prompt is lwexp's own; the answer is
enclosed in markers with a code that it cannot contain; a reply is parsed completely or rejected, never searched for
numbers; and an answer whose replies stay unreadable counts as unscored, where the original drops it in silence.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from lwexp.extend import register
from lwexp.extend.metric import JudgedMetric, JudgePrompt, Marks, Question
from lwexp.records import LwexpError, Response, first_problem
from lwexp.text.quoting import code_of, fill
from lwexp.text.replies import UnreadableError, read_object, unique_keys

_Score = Literal[1, 2, 3, 4, 5]
_OWN_PROMPT = Path(__file__).parents[1] / "prompts" / "judge.txt"
_PART = (
    "The response is part {number} of {count} of a longer one, cut where paragraphs or sentences end. Judge this part "
    "as it stands: neither that it begins or ends in the middle nor what other parts may cover is a fault of it."
)


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
    def marks(self) -> Marks:
        """S_q is the mean of the six, put on 0..100. Source: the paper, section 4.1."""
        dimensions = {name: float(score) for name, score in self.model_dump().items()}
        return Marks((fmean(dimensions.values()) - 1) * 25, dimensions)


@register
class QualityMetric(JudgedMetric):
    """Accepts the user's own prompt file, and parts of an answer."""

    kind: Literal["quality"] = "quality"
    name = "S_q"
    title = "S_q, quality"
    meaning = "Quality. The mean of six scores from 1 to 5 that a judge gives, put on 0 to 100."

    def judge_prompt(self, file: str | None) -> JudgePrompt:
        """lwexp's own question, or a file of the user's with $INST$ and $RESPONSE$."""
        if file is None:
            return JudgePrompt("lwexp", _OWN_PROMPT.read_text(encoding="utf-8"))
        return JudgePrompt(Path(file).name, _users_prompt(Path(file)), is_own=False)

    def question(self, response: Response, prompt: JudgePrompt, part: tuple[int, int] | None = None) -> Question[Marks]:
        """The question for six scores.

        Args:
            response: Its text may be a part of an answer.
            prompt: lwexp's own asks for one JSON object and nothing else; another may ask for reasons first.
            part: Number (from 1) and count, where it is a part.
        """
        request, text = response.prompt, response.text
        if not prompt.is_own:
            filled = fill(prompt.text, {"INST": request, "RESPONSE": text})
            return Question(filled, lambda reply: read_scores_in_prose(reply).marks, self.reask)
        note = "" if part is None else _PART.format(number=part[0], count=part[1])
        # Without a note, its blank line goes too.
        template = prompt.text if note else prompt.text.replace("$PART$\n\n", "")
        values = {"CODE": code_of(request, text), "REQUEST": request, "RESPONSE": text, "PART": note}
        return Question(fill(template, values), lambda reply: read_scores(reply).marks, self.reask, Scores)

    def reask(self, problem: str) -> str:
        return (
            f"That reply could not be read: {problem}. Reply again with only the JSON object: the six keys "
            f"{', '.join(Scores.model_fields)}, each with a whole number from 1 to 5."
        )

    def empty(self, response: Response) -> Marks:
        """The lowest score in every dimension."""
        return Scores.model_validate(dict.fromkeys(Scores.model_fields, 1)).marks


def read_scores(reply: str) -> Scores:
    """Read a judge's reply: strict JSON, in a code fence or bare, else the same with its punctuation repaired.

    Text around the object is refused, because a score in prose may be one that the answer suggested.

    Raises:
        UnreadableError: If it is not six whole numbers from 1 to 5 under the six names.
    """
    return read_object(reply, Scores, mends=_keeps_the_numbers)


def _keeps_the_numbers(text: str, mended: Mapping[str, Any]) -> bool:
    """json_repair makes 4 of "4 5" and takes the last of equal keys: six numbers in, the same six out."""
    return [str(value) for value in mended.values()] == re.findall(r"\d+", text)


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
            value, _ = json.JSONDecoder(object_pairs_hook=unique_keys).raw_decode(reply[opening.start() :])
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


def _users_prompt(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LwexpError(f"judge.prompt={path}: cannot be read ({error}); wanted a text file in UTF-8") from None
    missing = [slot for slot in ("$INST$", "$RESPONSE$") if slot not in text]
    if missing:
        raise LwexpError(
            f"judge.prompt={path}: {' and '.join(missing)} missing; the request goes to $INST$, the answer to "
            "$RESPONSE$"
        )
    return text
