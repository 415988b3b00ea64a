"""A teacher that does not answer the questions before a selection is not called wrong about them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lwexp.config import compose
from lwexp.generate.needs_long import check_anchors
from lwexp.llm.answer import NoAnswer
from lwexp.recipe.data import select
from lwexp.records import LwexpError
from tests.score.scripted_judge import Judge


@pytest.mark.parametrize("reason", ["time_out", "rate_limit", "content_filter"])
def test_an_anchor_without_an_answer_is_not_a_wrong_one(reason: str) -> None:
    class Silent:
        async def ask(self, messages: Any, **options: Any) -> NoAnswer:
            return NoAnswer(reason, "no answer", 1)

    found = asyncio.run(check_anchors(Silent(), ["en"], min_words=2000, seed=0))  # type: ignore[arg-type]

    assert found.wrong == []
    assert [line.split(" for ")[0] for line in found.unasked] == [reason.replace("_", " ")] * 2


def test_a_teacher_that_could_not_be_asked_is_named_as_that(tmp_path: Path) -> None:
    """The same server refuses all calls, so the selection itself keeps nothing either."""
    teacher = Judge()
    teacher.status = 429
    file = tmp_path / "chat.jsonl"
    turns = [{"role": "user", "content": "Tell me in one line what tea is good for, I am in a hurry today."}]
    file.write_text(json.dumps({"messages": turns}) + "\n")
    words = (
        "task=select", f"source={file}", f"root={tmp_path / 'runs'}", "teacher=local_openai",
        f"teacher.base_url=http://127.0.0.1:{teacher.server.server_port}/v1", "teacher.limits.max_attempts=1",
        "select.counts={en: 1, zh: 0}",
    )  # fmt: skip
    try:
        with pytest.raises(LwexpError, match=r"could not be asked about .*: rate limit for .*; run the command again"):
            select(compose(*words, "select.anchors=refuse"))
        with pytest.raises(LwexpError, match="nothing was kept"):
            select(compose(*words))
    finally:
        teacher.server.shutdown()
        teacher.server.server_close()
    said = "".join(path.read_text() for path in tmp_path.rglob("log.txt"))
    assert "could not be asked about instructions whose answer is plain: rate limit for" in said
    assert "is wrong" not in said
