"""``{"custom_id": ..., "response": {"status_code": 200, "body": {"choices": [...]}}, "error": null}``: batch output.

Source: OpenAI's Batch API, schema BatchRequestOutput of OpenAPI 2.3.0; vLLM's run-batch writes the same. The rows have
no prompt, so ``custom_id`` must name the bench, such as ``mine/17``.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from lwexp.extend.columns import JsonRow
from lwexp.extend.registry import register
from lwexp.extend.rows import AnswerFormat, GivenAnswer
from lwexp.sample.answer_formats.parts import finish, named, text_of


@register
class OpenAIBatch(AnswerFormat):
    kind: Literal["openai_batch"] = "openai_batch"
    rank: ClassVar[int] = 10
    tool: ClassVar[str] = "an OpenAI or vLLM batch"

    def detects(self, row: JsonRow) -> bool:
        return "custom_id" in row and ("response" in row or "error" in row)

    def answers(self, row: JsonRow) -> list[GivenAnswer]:
        """One for each choice. A failed request has an answer that never arrived."""
        ids = named(row, "custom_id")
        response = row.get("response")
        body = response.get("body") if isinstance(response, Mapping) else None
        choices = body.get("choices") if isinstance(body, Mapping) else None
        if not isinstance(body, Mapping) or not choices:
            return [GivenAnswer(None, ids=ids)]
        found = []
        for number, choice in enumerate(choices):
            message = choice.get("message") or {}
            text, thoughts = text_of(message.get("content", choice.get("text")))
            reasoning = message.get("reasoning_content") or message.get("reasoning") or thoughts
            found.append(GivenAnswer(
                text, ids=ids, repeat=number, model=body.get("model"), reasoning=str(reasoning),
                finish_reason=finish(choice.get("finish_reason")),
            ))  # fmt: skip
        return found
