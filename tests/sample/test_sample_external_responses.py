"""External answers: matched by id or text; unknown and duplicate ones are named, missing ones counted."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from lwexp.records import Failure, LwexpError, Prompt, Response, Sampling, write_rows
from lwexp.sample.external_responses import read_responses

PROMPTS = [
    Prompt(id=f"b-{n}", text=f"Write {n} words\non tea.", language="en", type="News", required_words=n)
    for n in (10, 20, 30)
]


def given(tmp_path: Path, *rows: dict[str, Any] | str) -> list[Response]:
    path = tmp_path / "pred.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return read_responses(path, PROMPTS, bench="b")


def pred(n: int, text: str) -> dict[str, Any]:
    """The release's shape; its own word count is wrong on purpose."""
    return {"prompt": f"Write {n} words\non tea.", "type": "x", "length": n, "response_length": 999, "response": text}


def test_the_releases_file_is_matched_by_the_prompts_text_in_any_order(tmp_path: Path) -> None:
    rows = given(tmp_path, pred(30, "c c c"), "", pred(10, "a"), pred(20, "b b"))
    assert [(row.id, row.text, row.words) for row in rows] == [
        ("b-10#0", "a", 1),
        ("b-20#0", "b b", 2),
        ("b-30#0", "c c c", 3),
    ]
    first = rows[0]
    assert (first.finish_reason, first.sampling, first.model, first.type) == ("unknown", None, "pred", "News")


def test_line_ends_do_not_matter_and_an_id_with_the_benchs_name_stands_alone(tmp_path: Path) -> None:
    rows = given(
        tmp_path,
        {"prompt_id": "b-10", "prompt": PROMPTS[0].text, "text": "by both", "model": "theirs"},
        {"prompt": "Write 20 words\r\non tea.  ", "output": "by text"},
        {"id": "b-30", "answer": None},
    )
    assert [(row.text, row.finish_reason) for row in rows] == [
        ("by both", "unknown"),
        ("by text", "unknown"),
        ("", "error"),
    ]
    assert {row.model for row in rows[:1]} == {"theirs"}


def test_tokens_that_ran_out_within_the_reasoning_of_its_own_field_are_a_failure_too(tmp_path: Path) -> None:
    """Servers with a reasoning parser send an empty text then. An empty text alone is an answer that scores 0."""
    path = tmp_path / "pred.jsonl"
    rows = [pred(10, "") | {"finish_reason": "length", "reasoning_content": THOUGHT}, pred(20, "")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    failures: list[Failure] = []
    cut, empty, _ = read_responses(path, PROMPTS, bench="b", failures=failures)
    assert (cut.finish_reason, cut.reasoning, empty.finish_reason) == ("error", THOUGHT, "unknown")
    assert [(failure.id, failure.reason) for failure in failures] == [("b-10#0", "unfinished_reasoning")]


@pytest.mark.parametrize("word", ["error", "abort", "insufficient_system_resource", "content_filter", "Recitation"])
def test_a_text_that_its_server_broke_off_is_missing(tmp_path: Path, word: str) -> None:
    """Half a text is no answer; words that are not known change nothing."""
    ends = [word, "somehow", "length"]
    rows = given(
        tmp_path, *(pred(n, "half") | {"finish_reason": end} for n, end in zip((10, 20, 30), ends, strict=True))
    )
    assert [(row.text, row.finish_reason) for row in rows] == [("", "error"), ("half", "unknown"), ("half", "length")]


@pytest.mark.parametrize(
    ("stop", "length"), [("end_turn", "max_tokens"), ("STOP", "MAX_TOKENS"), ("eos_token", "max_new_tokens")]
)
def test_words_of_other_servers_for_an_end_are_understood(stop: str, length: str, tmp_path: Path) -> None:
    rows = given(tmp_path, pred(10, "a") | {"finish_reason": stop}, pred(20, "b") | {"finish_reason": length})
    assert [row.finish_reason for row in rows] == ["stop", "length", "error"]


def test_our_own_file_keeps_sampling_repeats_and_ends(tmp_path: Path) -> None:
    sampling = Sampling(temperature=0.5, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=9, seed=3)
    ours = [
        Response(
            id=f"{prompt.id}#{repeat}", prompt_id=prompt.id, repeat=repeat, prompt=prompt.text, language="en",
            type="News", required_words=prompt.required_words, text=f"{repeat} tea", words=1, finish_reason="length",
            model="m", sampling=sampling,
        )
        for prompt in PROMPTS for repeat in range(2)
    ]  # fmt: skip
    write_rows(tmp_path / "r.jsonl", reversed(ours))
    assert read_responses(tmp_path / "r.jsonl", PROMPTS, bench="b") == ours


def test_a_prompt_without_an_answer_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = given(tmp_path, pred(20, "b"))
    assert [(row.prompt_id, row.finish_reason) for row in rows] == [
        ("b-10", "error"), ("b-20", "unknown"), ("b-30", "error"),
    ]  # fmt: skip
    assert "2 of 3 answers are missing and enter no mean: b-10#0, b-30#0" in caplog.text


def test_a_missing_answer_is_of_the_model_that_the_others_name(tmp_path: Path) -> None:
    failed = pred(10, "") | {"response": None, "model": None}
    rows = given(tmp_path, failed, pred(20, "b") | {"model": "glm"})
    assert [(row.finish_reason, row.model) for row in rows] == [("error", "glm"), ("unknown", "glm"), ("error", "glm")]


def test_repeats_may_be_counted_from_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = given(
        tmp_path, *(pred(n, f"{k}") | {"repeat": k} for n in (10, 20, 30) for k in (1, 2) if (n, k) != (20, 2))
    )
    assert [row.text for row in rows] == ["1", "2", "1", "", "1", "2"]
    assert "1 of 6 answers are missing and enter no mean: b-20#2" in caplog.text


def test_answers_to_prompts_that_are_not_selected_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "pred.jsonl"
    path.write_text("".join(json.dumps(pred(n, "a")) + "\n" for n in (10, 20, 30)))
    with caplog.at_level(logging.INFO):
        rows = read_responses(path, PROMPTS[1:2], bench="b", whole=PROMPTS)
    assert [(row.id, row.finish_reason) for row in rows] == [("b-20#0", "unknown")]
    assert "2 answers to prompts outside the selection of this evaluation left out" in caplog.text
    assert "missing" not in caplog.text
    path.write_text(path.read_text() + json.dumps(pred(40, "d")))
    with pytest.raises(LwexpError, match="1 answers are to prompts that this bench does not have"):
        read_responses(path, PROMPTS[1:2], bench="b", whole=PROMPTS)


def test_answers_of_two_models_are_no_evaluation(tmp_path: Path) -> None:
    rows = [pred(10, "a") | {"model": "long"}, pred(20, "b") | {"model": "short"}, pred(30, "c") | {"model": "long"}]
    with pytest.raises(LwexpError) as error:
        given(tmp_path, *rows)
    assert "the answers are of 2 models: long (2 answers), short (1 answer); give each" in str(error.value)
    rows[1] |= {"finish_reason": "error", "model": "none"}
    assert [row.model for row in given(tmp_path, *rows)] == ["long", "none", "long"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([pred(10, "a"), pred(10, "b")], "line 2 answers b-10 as line 1 does"),
        ([pred(10, "a"), pred(40, "b")], "1 answers are to prompts that this bench does not have"),
        ([{"prompt_id": "b-99", "response": "x"}], "line 1: 'b-99'"),
        ([pred(10, "a") | {"output": "b"}], "line 1: response and output hold different texts"),
        (
            [{"prompt": "Write"}],
            "line 1: no answer in a known format; the row's keys are prompt; wanted prompt and response",
        ),
        (["{"], "line 1: is not JSON"),
        ([pred(10, "a") | {"response": 5}], "line 1: the answer must be text, got 5"),
        ([pred(10, "a") | {"repeat": -1}], "repeat must be a whole number"),
        ([pred(10, "a") | {"sampling": {"temperature": 1}}], "sampling: top_p: Field required"),
        ([""], "the file has no answers"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(tmp_path: Path, rows: list[Any], said: str) -> None:
    with pytest.raises(LwexpError) as error:
        given(tmp_path, *rows)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


THOUGHT = "one two three four five"


@pytest.mark.parametrize(
    "row",
    [
        {"response": f"<think>{THOUGHT}</think>\n\na b"},
        {"response": f"{THOUGHT}\n</think>\n\na b"},
        {"response": f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|channel|>final<|message|>a b"},
        {"response": f"<think>{THOUGHT}</think><answer>a b</answer>"},
        {"response": "a b", "reasoning_content": THOUGHT},
        {"response": "a b", "reasoning": THOUGHT},
    ],
)
def test_reasoning_is_kept_beside_an_answer_and_not_counted(tmp_path: Path, row: dict[str, Any]) -> None:
    """Two words, where the whole text has seven or more."""
    first = given(tmp_path, {"prompt_id": "b-10"} | row)[0]
    assert (first.text, first.words, first.reasoning, first.finish_reason) == ("a b", 2, THOUGHT, "unknown")


def test_an_answer_that_ends_within_its_reasoning_never_came_and_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "pred.jsonl"
    path.write_text(json.dumps({"prompt_id": "b-10", "text": f"<think>{THOUGHT}"}) + "\n")
    failures: list[Failure] = []
    first = read_responses(path, PROMPTS, bench="b", failures=failures)[0]
    assert (first.text, first.words, first.finish_reason) == ("", 0, "error")
    assert [(failure.id, failure.reason) for failure in failures] == [("b-10#0", "unfinished_reasoning")]
    assert failures[0].detail == "5 words of reasoning and no answer"


def test_our_own_file_keeps_its_reasoning_and_answers_without_any_stay_as_they_are(tmp_path: Path) -> None:
    rows = given(tmp_path, {"prompt_id": "b-10", "text": f"<think>{THOUGHT}</think>a b"}, pred(20, " a b \n"))
    assert rows[1].text == " a b \n"
    assert "reasoning" not in rows[1].model_dump_json()
    write_rows(tmp_path / "again.jsonl", rows[:2])
    again = read_responses(tmp_path / "again.jsonl", PROMPTS, bench="b")
    assert [(row.text, row.reasoning) for row in again[:2]] == [("a b", THOUGHT), (" a b \n", "")]
