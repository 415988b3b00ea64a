"""EvalScope 1.x predictions: ``{"index", "model", "model_output": {"choices": [...]}, "messages": [...]}``.

Source: evalscope 1.14.1, api/evaluator/cache.py, ModelResult. ``index`` is a position and not read. The pred.jsonl of
older versions and of its LongBench-Write module is the release's format. With ``repeats``, a prompt has several rows,
each with an index of its own.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from lwexp.extend.columns import BrokenRowError, JsonRow
from lwexp.extend.registry import register
from lwexp.extend.rows import AnswerFormat, GivenAnswer
from lwexp.sample.answer_formats.parts import failure_in, finish, last_of, text_of


@register
class EvalScope(AnswerFormat):
    kind: Literal["evalscope"] = "evalscope"
    rank: ClassVar[int] = 13
    tool: ClassVar[str] = "EvalScope 1.x"

    def detects(self, row: JsonRow) -> bool:
        return "model_output" in row and "messages" in row

    def counted(self, rows: Sequence[tuple[str, JsonRow]]) -> Sequence[tuple[str, JsonRow]]:
        """All rows, each with the number of its repeat; rows with one index are not repeats."""
        indices: dict[str | None, set[int]] = defaultdict(set)
        for _, row in rows:
            indices[_asked(row)].add(_index(row))
        repeats = {prompt: {index: n for n, index in enumerate(sorted(own))} for prompt, own in indices.items()}
        return [(place, {**row, "repeat": repeats[_asked(row)][_index(row)]}) for place, row in rows]

    def answers(self, row: JsonRow) -> list[GivenAnswer]:
        """One answer per choice; an output with an error and no choice is a missing answer."""
        output = row["model_output"]
        choices = (output.get("choices") or []) if isinstance(output, Mapping) else []
        asked = GivenAnswer(
            None, last_of(row["messages"], "user"), model=row.get("model") or None, repeat=row["repeat"]
        )
        found = []
        for number, choice in enumerate(choices):
            text, reasoning = text_of((choice.get("message") or {}).get("content"))
            ended = finish(choice.get("stop_reason"))
            repeat = asked.repeat + number
            found.append(asked._replace(text=text, reasoning=reasoning, finish_reason=ended, repeat=repeat))
        failure = failure_in(output.get("error")) if isinstance(output, Mapping) else ""
        return found or [asked._replace(failure=failure)]


def _index(row: JsonRow) -> int:
    return index if isinstance(index := row.get("index"), int) else -1


def _asked(row: JsonRow) -> str | None:
    try:
        return last_of(row["messages"], "user")
    except BrokenRowError:
        return None  # the row is refused when its answers are read
