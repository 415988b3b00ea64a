"""Each tool's own shape of file is read: who answered which prompt with what, and how it ended."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from lwexp.extend.rows import ANSWER_FORMATS
from lwexp.records import Failure, LwexpError
from lwexp.sample.external_responses import read_responses
from tests import ROOT
from tests.sample.answer_rows import (
    FAILED,
    FILES,
    LLAMA2,
    PROMPTS,
    RAIN,
    TEA,
    batch,
    evalscope,
    lines,
    read,
    said,
    sample,
    user,
)


@pytest.mark.parametrize("tool", FILES)
def test_the_file_of_each_tool_is_read(tool: str, tmp_path: Path) -> None:
    name, content = FILES[tool]
    first, second = read(tmp_path / name, content)
    assert [(row.prompt_id, row.text, row.words) for row in (first, second)] == [("b-1", "a b", 2), ("b-2", "c", 1)]
    if tool in ("EvalScope 1.x", "inspect_ai", "OpenAI batch"):
        assert (first.finish_reason, second.finish_reason) == ("stop", "length")
    if tool in ("EvalScope 1.x", "OpenAI batch"):
        assert first.reasoning == "Hm."


def test_the_docs_list_every_format_and_each_has_a_file_here(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    table = page.split("| format | written by ", 1)[1].split("\n\n")[0]
    listed = {line.split("|")[1].strip() for line in table.splitlines()[2:]}
    with caplog.at_level(logging.INFO):
        for tool, (name, content) in FILES.items():
            read(tmp_path / tool / name, content)
    assert (
        listed == set(re.findall(r"in the format of .* \((\w+)\)", caplog.text)) == dict(ANSWER_FORMATS.items()).keys()
    )


def test_a_request_that_failed_is_a_missing_answer(tmp_path: Path) -> None:
    rows = read(tmp_path / "output.jsonl", lines(batch("b/b-1", "a b"), FAILED))
    assert [(row.text, row.finish_reason) for row in rows] == [("a b", "stop"), ("", "error")]


LIMIT = {"message": "Too many requests", "type": "requests", "code": "rate_limit_exceeded"}
STATUS = {"response": {"status_code": 429, "request_id": "", "body": {"error": LIMIT}}, "error": None}


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        (FAILED, "request_failed", "batch_expired"),
        (FAILED | STATUS, "request_failed", "rate_limit_exceeded: Too many requests"),
        (FAILED | {"error": None, "response": {"status_code": 500}}, "request_failed", "status 500"),
        (
            evalscope(0, RAIN, "c") | {"model_output": {"choices": [], "error": "timed out"}},
            "request_failed",
            "timed out",
        ),
        (sample(1, RAIN, "c") | {"error": {"message": "timed out"}}, "request_failed", "timed out"),
        ({"prompt": RAIN, "response": None}, "missing", "the file does not say why"),
        ({"prompt": RAIN, "response": "c", "finish_reason": "abort"}, "broken_off", "finish_reason abort"),
        ({"prompt": RAIN, "response": "<think>Hm."}, "unfinished_reasoning", "1 words of reasoning and no answer"),
        (
            {"prompt": RAIN, "response": "<|channel|>anal", "finish_reason": "length"},
            "unfinished_reasoning",
            "0 words of reasoning and no answer",
        ),
    ],
)
def test_why_an_answer_is_missing_is_kept(row: dict[str, Any], reason: str, detail: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(row))
    failures: list[Failure] = []
    read_responses(tmp_path / "a.jsonl", PROMPTS, bench="b", failures=failures)
    assert [(one.id, one.reason, one.detail) for one in failures] == [("b-2#0", reason, detail)]


def test_the_words_of_a_refusal_are_the_answer(tmp_path: Path) -> None:
    rows = read(tmp_path / "output.jsonl", lines(batch("b/b-1", None, refusal="I cannot."), batch("b/b-2", "c")))
    assert [(row.text, row.words, row.finish_reason) for row in rows] == [("I cannot.", 2, "stop"), ("c", 1, "stop")]


def test_lists_and_epochs_are_repeats(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.jsonl", lines({"prompt": TEA, "response": ["a", "b b"]}))
    assert [(row.id, row.text) for row in rows[:2]] == [("b-1#0", "a"), ("b-1#1", "b b")]
    samples = [sample(1, TEA, "a"), sample(1, TEA, "b b") | {"epoch": 2}]
    rows = read(tmp_path / "log.json", json.dumps({"samples": samples}))
    assert [(row.id, row.text) for row in rows[:2]] == [("b-1#0", "a"), ("b-1#1", "b b")]


def test_rows_of_one_prompt_with_indices_of_their_own_are_evalscopes_repeats(tmp_path: Path) -> None:
    content = [evalscope(1, TEA, "b b"), evalscope(0, TEA, "a"), evalscope(2, RAIN, "c"), evalscope(3, RAIN, "d")]
    rows = read(tmp_path / "a.jsonl", lines(*content))
    assert [(row.id, row.text) for row in rows] == [
        ("b-1#0", "a"), ("b-1#1", "b b"), ("b-2#0", "c"), ("b-2#1", "d")
    ]  # fmt: skip
    with pytest.raises(LwexpError, match=r"1 answers come twice; .*: line 3 answers b-1 as line 1 does"):
        read(tmp_path / "a.jsonl", lines(*content[:2], content[0]))


def test_a_custom_id_may_end_with_the_number_of_its_repeat(tmp_path: Path) -> None:
    failed = FAILED | {"custom_id": "b/b-2#0"}
    content = lines(batch("b/b-1#1", "b b"), batch("b-1#0", "a"), failed, batch("b/b-2#1", "c"))
    assert [(row.id, row.text, row.finish_reason) for row in read(tmp_path / "a.jsonl", content)] == [
        ("b-1#0", "a", "stop"), ("b-1#1", "b b", "stop"), ("b-2#0", "", "error"), ("b-2#1", "c", "stop")
    ]  # fmt: skip


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": LLAMA2.format(RAIN), "predict": None}, {"origin_prompt": RAIN, "prediction": None},
        {"messages": [user(RAIN)], "response": None}, {"messages": [user(RAIN), said("")], "response": None},
        {"prompt": RAIN, "response": None}, {"instruction": RAIN, "output": None},
    ],
)  # fmt: skip
def test_null_is_a_missing_answer_in_every_format(row: dict[str, Any], tmp_path: Path) -> None:
    rows = read(tmp_path / "a.jsonl", lines(row))
    assert [(row.text, row.finish_reason) for row in rows] == [("", "error"), ("", "error")]
    assert [row.model for row in rows] == ["a", "a"]


@pytest.mark.parametrize("column", ["model", "model_name", "model_id", "generator"])
def test_the_model_is_named_in_one_of_four_columns(column: str, tmp_path: Path) -> None:
    rows = read(tmp_path / "a.jsonl", lines({"prompt": TEA, "response": "a", column: "glm"}))
    assert {row.model for row in rows} == {"glm"}


def test_a_custom_id_of_ones_own_does_not_make_a_batch(tmp_path: Path) -> None:
    rows = read(
        tmp_path / "a.jsonl", lines({"custom_id": "b-1", "response": "a b"}, {"custom_id": "b-2", "response": "c"})
    )
    assert [(row.text, row.finish_reason) for row in rows] == [("a b", "unknown"), ("c", "unknown")]


def test_a_chat_has_the_columns_of_a_plain_row(tmp_path: Path) -> None:
    columns = {"model": "m", "finish_reason": "length", "reasoning_content": "Hm.", "required_words": 10}
    chat = {"messages": [user(TEA), said("a")], **columns}
    first, second = read(tmp_path / "a.jsonl", lines(chat, {**chat, "messages": [user(TEA), said("b")], "repeat": 1}))[
        :2
    ]
    assert [(row.id, row.text) for row in (first, second)] == [("b-1#0", "a"), ("b-1#1", "b")]
    assert (first.model, first.finish_reason, first.reasoning) == ("m", "length", "Hm.")
