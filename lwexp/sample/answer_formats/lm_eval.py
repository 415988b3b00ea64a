"""A line of lm-evaluation-harness's samples_*.jsonl: ``{"doc_id", "doc", "arguments", "resps", "filter", ...}``.

Source: lm_eval 0.4.13, evaluator.py and loggers/evaluation_tracker.py. ``doc_id`` is a position and not read. A sample
is written once for each filter, with the same ``resps``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from lwexp.extend.columns import BrokenRowError, JsonRow
from lwexp.extend.registry import register
from lwexp.extend.rows import AnswerFormat, GivenAnswer
from lwexp.sample.answer_formats.parts import named, prompt_in


@register
class LmEval(AnswerFormat):
    kind: Literal["lm_eval"] = "lm_eval"
    rank: ClassVar[int] = 12
    tool: ClassVar[str] = "lm-evaluation-harness"

    def detects(self, row: JsonRow) -> bool:
        return "doc" in row and "arguments" in row and "resps" in row

    def counted(self, rows: Sequence[tuple[str, JsonRow]]) -> Sequence[tuple[str, JsonRow]]:
        """The rows of the first filter."""
        return [(place, row) for place, row in rows if row.get("filter") == rows[0][1].get("filter")]

    def answers(self, row: JsonRow) -> list[GivenAnswer]:
        """The generations of the sample's only request."""
        resps, doc = row["resps"], row["doc"]
        texts = resps[0] if isinstance(resps, Sequence) and len(resps) == 1 else None
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise BrokenRowError("wrong_type", "resps is not the list of texts of one request; wanted generate_until")
        prompt = prompt_in(_context(row["arguments"]))
        ids = named(doc, "prompt_id", "id") if isinstance(doc, Mapping) else ()
        ids = tuple(id for id in ids if not id.isdigit())  # row numbers of a data set
        return [GivenAnswer(text, prompt, ids, is_templated=True, repeat=n) for n, text in enumerate(texts)]


def _context(arguments: Any) -> Any:
    """What the model was given; chat messages are a list with their JSON."""
    first: Any = next(iter(arguments.values()), None) if isinstance(arguments, Mapping) else arguments[0]
    value = first.get("arg_0") if isinstance(first, Mapping) else first[0]
    return value[0] if isinstance(value, list) and len(value) == 1 else value
