"""``{"custom_id": ..., "response": {"status_code": 200, "body": {"choices": [...]}}, "error": null}``: batch output.

Source: OpenAI's Batch API, schema BatchRequestOutput of OpenAPI 2.3.0; vLLM's run-batch writes the same. The rows have
no prompt, so ``custom_id`` must name the bench, such as ``mine/17``, or ``mine/17#1`` for the second repeat.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from lwexp.extend.columns import BrokenRowError, JsonRow
from lwexp.extend.registry import register
from lwexp.extend.rows import AnswerFormat, GivenAnswer
from lwexp.sample.answer_formats.parts import failure_in, finish, named, text_of
from lwexp.text.plain import one_line


@register
class OpenAIBatch(AnswerFormat):
    kind: Literal["openai_batch"] = "openai_batch"
    rank: ClassVar[int] = 10
    tool: ClassVar[str] = "an OpenAI or vLLM batch"

    def detects(self, row: JsonRow) -> bool:
        """A user's own rows may have a ``custom_id`` too, but their response is text."""
        if "custom_id" not in row or not isinstance(row.get("response"), Mapping | None):
            return False
        return "response" in row or isinstance(row.get("error"), Mapping)

    def answers(self, row: JsonRow) -> list[GivenAnswer]:
        """One answer per choice. A failed request is a missing answer."""
        ids = named(row, "custom_id")
        body = _body(row)
        if body is None or not body["choices"]:
            return [GivenAnswer(None, ids=ids, repeat_in_id=True, failure=_failure(row))]
        found = []
        for number, choice in enumerate(body["choices"]):
            message = choice.get("message") or {}
            # A model that refuses may send its words under "refusal", and null as the content.
            text, thoughts = text_of(message.get("content", choice.get("text")) or message.get("refusal"))
            reasoning = message.get("reasoning_content") or message.get("reasoning") or thoughts
            found.append(GivenAnswer(
                text, ids=ids, repeat=number, repeat_in_id=True, model=body.get("model"), reasoning=str(reasoning),
                finish_reason=finish(choice.get("finish_reason")),
            ))  # fmt: skip
        return found


def _failure(row: JsonRow) -> str:
    response = row.get("response") or {}
    body = response.get("body")
    inner = body.get("error") if isinstance(body, Mapping) else None
    status = f"status {response['status_code']}" if response.get("status_code", 200) != 200 else ""
    return failure_in(row.get("error")) or failure_in(inner) or status


def _body(row: JsonRow) -> JsonRow | None:
    """The body of a request that succeeded, which has choices; None if the request failed."""
    response = row.get("response") or {}
    body = response.get("body")
    if isinstance(body, Mapping) and "choices" in body:
        return body
    if not response or row.get("error") or response.get("status_code", 200) != 200:
        return None
    where, keys = ("response.body", body) if isinstance(body, Mapping) else ("response", response)
    got = one_line(", ".join(map(str, keys)), 200)
    raise BrokenRowError("missing_field", f"{where} has no choices of a chat or a completion; its keys are {got}")
