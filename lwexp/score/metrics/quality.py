"""S_q: the quality of an answer, from six scores that a judge gives.

Differences from THUDM/LongWriter evaluation/eval_quality.py at 3fcfdff: the prompt is lwexp's own; the answer is
enclosed in markers with a code that it cannot contain; a reply is read as one JSON object or rejected, never searched
for numbers; and an answer whose replies stay unreadable counts as unscored, where the original drops it silently.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from lwexp.extend import register
from lwexp.extend.metric import JudgedMetric, JudgePrompt, Marks, Question
from lwexp.records import LwexpError, Response, refuse_special
from lwexp.text.encodable import encodable
from lwexp.text.quoting import code_of, fill
from lwexp.text.replies import read_object

log = logging.getLogger(__name__)

_Score = Literal[1, 2, 3, 4, 5]
_OWN_PROMPT = Path(__file__).parents[1] / "prompts" / "judge.txt"
_PART = (
    "The response is part {number} of {count} of a longer one, cut where paragraphs or sentences end. Judge this part "
    "as it stands: neither that it begins or ends in the middle nor what other parts may cover is a fault of it."
)


def _also(*names: str) -> Any:
    """Accept a score under its own name or another that judges use; only its own name is in the JSON schema."""
    return Field(validation_alias=AliasChoices(*names))


class Scores(BaseModel):
    """A judge's scores; also the JSON schema that providers are asked to keep to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    relevance: _Score = _also("relevance", "相关性", "相关度")
    accuracy: _Score = _also("accuracy", "准确性", "准确度")
    coherence: _Score = _also("coherence", "连贯性", "连贯度")
    clarity: _Score = _also("clarity", "清晰度", "清晰性")
    breadth_and_depth: _Score = _also("breadth_and_depth", "广度和深度", "广度与深度", "广度深度")
    reading_experience: _Score = _also("reading_experience", "阅读体验")

    @field_validator("*", mode="before")
    @classmethod
    def is_a_whole_number(cls, value: object) -> object:
        """4, 4.0 and "4" all mean 4. Without this check, ``Literal`` could read true as 1."""
        if isinstance(value, str) and re.fullmatch(r"\s*[1-5]\s*", value):
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or value not in (1, 2, 3, 4, 5):
            raise ValueError(f"wanted a whole number from 1 to 5, got {value!r:.40}")
        return int(value)

    @property
    def marks(self) -> Marks:
        """S_q is the mean of the six scores, scaled to 0..100. Source: the paper, section 4.1."""
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
        """lwexp's own prompt, or the user's file with $INST$ and $RESPONSE$."""
        if file is None:
            return JudgePrompt("lwexp", _OWN_PROMPT.read_text(encoding="utf-8"))
        return JudgePrompt(Path(file).name, _users_prompt(Path(file)), is_own=False)

    def question(self, response: Response, prompt: JudgePrompt, part: tuple[int, int] | None = None) -> Question[Marks]:
        """The question for six scores.

        Args:
            response: Its text may be a part of an answer.
            prompt: lwexp's own asks for one JSON object and nothing else; a user's may ask for reasons first.
            part: Number (from 1) and count of parts, if the text is a part.
        """
        quoted = request, text = response.prompt, response.text
        if not prompt.is_own:
            filled = fill(prompt.text, {"INST": request, "RESPONSE": text})
            return Question(filled, lambda reply: read_scores_in_prose(reply, quoted=quoted).marks, self.reask)
        note = "" if part is None else _PART.format(number=part[0], count=part[1])
        # Without a note, its blank line is removed too.
        template = prompt.text if note else prompt.text.replace("$PART$\n\n", "")
        values = {"CODE": code_of(request, text), "REQUEST": request, "RESPONSE": text, "PART": note}
        return Question(
            fill(template, values), lambda reply: read_scores(reply, quoted=quoted).marks, self.reask, Scores
        )

    def reask(self, problem: str) -> str:
        return (
            f"That reply could not be read: {problem}. Reply again with only the JSON object: the six keys "
            f"{', '.join(Scores.model_fields)}, each with a whole number from 1 to 5."
        )

    def empty(self, response: Response) -> Marks:
        """The lowest score in every dimension."""
        return Scores.model_validate(dict.fromkeys(Scores.model_fields, 1)).marks


def read_scores(reply: str, *, quoted: Sequence[str] = ()) -> Scores:
    """Read a judge's reply as ``read_object`` does; broken JSON is repaired if no number changes.

    Args:
        reply: The judge's reply, unchanged.
        quoted: Request and answer, as the question quotes them.

    Raises:
        UnreadableError: If the reply is not six whole numbers from 1 to 5 under the six names, or may come from a
            quoted text.
    """
    return read_object(reply, Scores, quoted=quoted, mends=_keeps_the_numbers)


def _keeps_the_numbers(text: str, mended: Mapping[str, Any]) -> bool:
    """Whether a repair kept every number: json_repair turns "4 5" into 4 and keeps only the last of equal keys."""
    return [str(value) for value in mended.values()] == re.findall(r"\d+", text)


def read_scores_in_prose(reply: str, *, quoted: Sequence[str] = ()) -> Scores:
    """Read a reply to a user's own prompt, which may ask for reasons first.

    Raises:
        UnreadableError: As in ``read_scores``, but text around the object may name scores.
    """
    return read_object(reply, Scores, quoted=quoted, may_reason=True)


def _users_prompt(path: Path) -> str:
    refuse_special(path)
    try:
        text, replaced = encodable(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise LwexpError(f"judge.prompt={path}: cannot be read ({error}); wanted a text file in UTF-8") from None
    if replaced:
        log.warning("judge.prompt=%s: %d characters could not be stored as UTF-8 and became U+FFFD", path, replaced)
    missing = [slot for slot in ("$INST$", "$RESPONSE$") if slot not in text]
    if missing:
        raise LwexpError(
            f"judge.prompt={path}: {' and '.join(missing)} missing; the request goes to $INST$, the answer to "
            "$RESPONSE$"
        )
    return str(text)
