"""Each tool's own shape of file is read: who answered which prompt with what, and how it ended.

The rows are written by hand after the code that the docstring of each format names.
"""

import csv
import gzip
import io
import json
import logging
import re
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lwexp.extend.rows import ANSWER_FORMATS
from lwexp.records import LwexpError, Prompt, Response
from lwexp.sample.external_responses import read_responses
from tests import ROOT

TEA, RAIN = "Write 10 words\non tea.", "Write 20 words on rain."
PROMPTS = [
    Prompt(id=id, text=text, language="en", type="t", required_words=words)
    for id, text, words in (("b-1", TEA, 10), ("b-2", RAIN, 20))
]


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read(path: Path, content: str | bytes) -> list[Response]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_responses(path, PROMPTS, bench="b")


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def lm_eval(prompt: Any, text: str, *, filter: str = "none") -> dict[str, Any]:
    return {
        "doc_id": 0, "doc": {"id": 7, "prompt": "unused"}, "target": "", "resps": [[text]], "filtered_resps": [text],
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": ["\n"]}}}, "filter": filter,
        "metrics": ["S_l"], "doc_hash": "0", "prompt_hash": "0", "target_hash": "0", "S_l": 50.0,
    }  # fmt: skip


def evalscope(index: int, prompt: str, content: Any, stop: str = "stop") -> dict[str, Any]:
    answer = {"role": "assistant", "content": content, "source": "generate"}
    return {
        "index": index, "model": "qwen", "messages": [{"role": "system", "content": "Be kind."}, user(prompt), answer],
        "model_output": {"model": "qwen", "choices": [{"message": answer, "stop_reason": stop}], "error": None},
        "agent_trace": None, "metadata": {},
    }  # fmt: skip


def sample(id: int | str, prompt: Any, content: Any, stop: str = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "source": "generate"}
    output = {"model": "openai/x", "choices": [{"message": message, "stop_reason": stop}], "completion": "unused"}
    return {"id": id, "epoch": 1, "input": prompt, "target": "", "messages": [], "output": output, "scores": {}}


def batch(custom_id: str, text: str | None, finish: str = "stop", **message: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt", "choices": [choice]}
    return {
        "id": "batch_req_1", "custom_id": custom_id, "error": None,
        "response": {"status_code": 200, "request_id": "r", "body": body},
    }  # fmt: skip


FAILED = {"id": "batch_req_2", "custom_id": "b/b-2", "response": None, "error": {"code": "batch_expired"}}
_HEAD = "<|start_header_id|>{}<|end_header_id|>\n\n"
LLAMA3 = f"<|begin_of_text|>{_HEAD.format('user')}{{}}<|eot_id|>{_HEAD.format('assistant')}"
QWEN = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
LLAMA2 = "<s>[INST] {} [/INST]"

# Format -> file name and content. Each says "a b" to the first prompt, and "c", cut by the token limit if the format
# can say so, to the second; rows are not in the bench's order.
FILES: dict[str, tuple[str, str]] = {
    "the release's": ("pred.jsonl", lines(
        {"prompt": RAIN, "type": "t", "length": 20, "response_length": 9, "response": "c"},
        {"prompt": TEA, "type": "t", "length": 10, "response_length": 9, "response": "a b"},
    )),
    "EvalScope 1.x": ("b_default.jsonl", lines(
        evalscope(0, RAIN, "c", "max_tokens"),
        evalscope(1, TEA, [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "a b"}]),
    )),
    "lm-evaluation-harness": ("samples_b_2026-11-29.jsonl", lines(
        lm_eval(QWEN.format(RAIN), "c"), lm_eval([json.dumps([user(TEA)])], "a b"),
        lm_eval(QWEN.format(RAIN), "c", filter="strict"), lm_eval([json.dumps([user(TEA)])], "a b", filter="strict"),
    )),
    "inspect_ai": ("log.json", json.dumps({
        "version": 2, "status": "success", "eval": {"task": "b", "model": "openai/x"},
        "samples": [sample(1, RAIN, "c", "max_tokens"), sample(2, [user(TEA)], "a b")],
    }, indent=1)),
    "OpenAI batch": ("output.jsonl", lines(
        batch("b/b-2", "c", "length"), batch("b/b-1", "a b", reasoning_content="Hm."),
    )),
    "ms-swift 4": ("infer.jsonl", lines(
        {"response": "c", "labels": None, "logprobs": None, "messages": [user(RAIN), said("c")]},
        {"response": "a b", "labels": None, "messages": [user(TEA), said("a b")]},
    )),
    "ms-swift 2": ("infer2.jsonl", lines(
        {"system": None, "query": RAIN, "response": "c", "label": None, "history": []},
        {"system": None, "query": TEA, "response": "a b", "label": None, "history": []},
    )),
    "LLaMA-Factory": ("generated_predictions.jsonl", lines(
        {"prompt": LLAMA3.format(RAIN), "predict": "c", "label": ""},
        {"prompt": LLAMA2.format(TEA), "predict": "a b", "label": ""},
    )),
    "OpenCompass": ("b.json", json.dumps({
        "0": {"origin_prompt": [{"role": "HUMAN", "prompt": RAIN}], "prediction": "c", "gold": "x"},
        "1": {"origin_prompt": TEA, "prediction": "a b"},
    }, indent=4)),
    "sharegpt": ("chat.jsonl", lines(
        {"conversations": [{"from": "human", "value": RAIN}, {"from": "gpt", "value": "c"}]},
        {"conversations": [{"from": "human", "value": TEA}, {"from": "gpt", "value": "a b"}]},
    )),
    "JSON list": ("list.json", json.dumps(
        [{"prompt": RAIN, "generation": "c"}, {"question": TEA, "generated_text": "a b"}]
    )),
}  # fmt: skip


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


def in_csv(delimiter: str) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerows([["prompt", "length", "response_length", "response"], [RAIN, 20, 1, "c"], [TEA, 10, 2, "a b"]])
    return out.getvalue()


def in_parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"prompt": [RAIN, TEA], "response": ["c", "a b"], "model": ["m", None]}), out)
    return out.getvalue()


def in_archive(compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("header.json", "{}")
        archive.writestr("samples/1_epoch_1.json", json.dumps(sample(1, RAIN, "c")))
        archive.writestr("samples/2_epoch_1.json", json.dumps(sample(2, TEA, "a b")))
    return out.getvalue()


def damaged(content: bytes, at: bytes = b"") -> bytes:
    """With 12 bytes inside the compressed data overwritten; ``at`` ends right before that data."""
    start = content.index(at) + len(at) if at else 10  # the header of gzip has 10 bytes
    return content[:start] + b"\xff" * 12 + content[start + 12 :]


def without_choices(key: str) -> dict[str, Any]:
    """A batch's row as /v1/responses answers."""
    row = batch("b/b-1", "a")
    body = {"id": "resp_1", "object": "response", "model": "gpt", key: []}
    return row | {"response": {"status_code": 200, "request_id": "r", "body": body}}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", in_csv(",")), ("a.tsv", in_csv("\t")), ("a.parquet", in_parquet()), ("log.eval", in_archive()),
        ("a.jsonl.gz", gzip.compress(FILES["the release's"][1].encode())),
        ("a.csv.gz", gzip.compress(in_csv(",").encode())),
    ],
)  # fmt: skip
def test_every_kind_of_file_is_read(name: str, content: str | bytes, tmp_path: Path) -> None:
    assert [row.text for row in read(tmp_path / name, content)] == ["a b", "c"]


def test_a_folder_is_one_set_of_answers_and_other_files_in_it_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "out"
    read(folder / "part1.jsonl", lines({"prompt": TEA, "response": "a b"}))
    read(folder / "deep" / "part2.jsonl", lines({"prompt": RAIN, "response": "c"}))
    with caplog.at_level(logging.INFO):
        (folder / "results.json").write_text('{"results": {"b": 1}}')
        assert [row.text for row in read_responses(folder, PROMPTS, bench="b")] == ["a b", "c"]
    assert "results.json line 1: no answer in a known format; the row's keys are results" in caplog.text
    assert "1 answer in the format of plain rows (plain)" in caplog.text
    read(tmp_path / "none" / "x.jsonl", FILES["ms-swift 2"][1])
    (tmp_path / "none" / "x.jsonl").unlink()
    with pytest.raises(LwexpError, match="0 files in it, none with answers"):
        read_responses(tmp_path / "none", PROMPTS, bench="b")


def test_a_request_that_failed_is_a_missing_answer(tmp_path: Path) -> None:
    rows = read(tmp_path / "output.jsonl", lines(batch("b/b-1", "a b"), FAILED))
    assert [(row.text, row.finish_reason) for row in rows] == [("a b", "stop"), ("", "error")]


def test_lists_and_epochs_are_repeats(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.jsonl", lines({"prompt": TEA, "response": ["a", "b b"]}))
    assert [(row.id, row.text) for row in rows[:2]] == [("b-1#0", "a"), ("b-1#1", "b b")]
    samples = [sample(1, TEA, "a"), sample(1, TEA, "b b") | {"epoch": 2}]
    rows = read(tmp_path / "log.json", json.dumps({"samples": samples}))
    assert [(row.id, row.text) for row in rows[:2]] == [("b-1#0", "a"), ("b-1#1", "b b")]


def test_a_custom_id_of_ones_own_does_not_make_a_batch(tmp_path: Path) -> None:
    rows = read(
        tmp_path / "a.jsonl", lines({"custom_id": "b-1", "response": "a b"}, {"custom_id": "b-2", "response": "c"})
    )
    assert [(row.text, row.finish_reason) for row in rows] == [("a b", "unknown"), ("c", "unknown")]


def test_a_folder_of_lm_eval_has_pretty_printed_results_beside_its_samples(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "results_2026-11-29.json").write_text(json.dumps({"results": {"b": {"S_l": 50.0}}, "n": 2}, indent=2))
    read(tmp_path / "samples_b_2026-11-29.jsonl", FILES["lm-evaluation-harness"][1])
    assert [row.text for row in read_responses(tmp_path, PROMPTS, bench="b")] == ["a b", "c"]
    assert "left out: " in caplog.text
    assert "results_2026-11-29.json line 1: no answer in a known format; the row's keys are results, n" in caplog.text


def test_a_json_object_is_its_data_or_a_single_row(tmp_path: Path) -> None:
    rows = [{"prompt": TEA, "response": "a b"}, {"prompt": RAIN, "response": "c"}]
    assert [row.text for row in read(tmp_path / "a.json", json.dumps({"data": rows}, indent=1))] == ["a b", "c"]
    single = rows[0] | {"data": ["a column of one's own"]}
    assert [row.text for row in read(tmp_path / "a.json", json.dumps(single, indent=1))] == ["a b", ""]


def test_a_csv_cell_is_a_number_only_if_it_is_written_in_digits(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.csv", f"prompt,required_words,response\n{RAIN},²,c\n")
    assert [row.text for row in rows] == ["", "c"]


def test_a_chat_has_the_columns_of_a_plain_row(tmp_path: Path) -> None:
    columns = {"model": "m", "finish_reason": "length", "reasoning_content": "Hm.", "required_words": 10}
    chat = {"messages": [user(TEA), said("a")], **columns}
    first, second = read(tmp_path / "a.jsonl", lines(chat, {**chat, "messages": [user(TEA), said("b")], "repeat": 1}))[
        :2
    ]
    assert [(row.id, row.text) for row in (first, second)] == [("b-1#0", "a"), ("b-1#1", "b")]
    assert (first.model, first.finish_reason, first.reasoning) == ("m", "length", "Hm.")


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.jsonl", lines({"query": TEA, "reply": "a"}),
         "line 1: no answer in a known format; the row's keys are query, reply"),
        ("a.json", json.dumps(["a", "b"]), "row 1: no answer in a known format; the row is 'a'"),
        ("a.jsonl", lines({"prompt": TEA, "response": "a"}, {"prompt": RAIN, "reply": "c"}),
         "line 2: no answer in the format of plain rows, which the file's first row has; the row's keys are prompt"),
        ("a.jsonl", lines({"prompt": QWEN.format(TEA + " And more."), "predict": "a", "label": ""}),
         "this bench does not have"),
        ("a.jsonl", lines({"custom_id": "b-1x", "response": None}), "this bench does not have"),
        ("a.jsonl", lines(batch("1", "a")), "this bench does not have"),
        ("a.jsonl", lines({"query": TEA, "response": "a", "history": [["Hi", "Hello"]]}), "history has earlier turns"),
        ("a.jsonl", lines({"messages": [user(TEA)]}),
         "response is missing, and the messages do not end with an answer"),
        ("a.jsonl", lines({"messages": [user(TEA), said("b")], "response": "a"}),
         "response is not the last turn of messages"),
        ("a.jsonl", lines(lm_eval(TEA, "a") | {"resps": [["1", "True"], ["2", "False"]]}), "wanted generate_until"),
        ("a.jsonl", "\ufeff".encode("utf-16") + TEA.encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        ("a.jsonl.gz", b"\x1f\x8b broken", "cannot be unpacked as gzip"),
        ("a.jsonl.gz", damaged(gzip.compress(lines({"prompt": TEA, "response": "a"}).encode(), mtime=0)),
         "cannot be unpacked as gzip"),
        ("log.eval", damaged(in_archive(zipfile.ZIP_DEFLATED), at=b"epoch_1.json"), "inspect log convert --to json"),
        ("a.csv", f"prompt,response\n\"{TEA}\",Green, or black.\n",
         "line 2: is not CSV: it has 3 cells, where the header has 2; put quotes"),
        ("a.csv", f"prompt,response\n\"{TEA}\",a\n{RAIN}\n",
         "line 4: is not CSV: it has 1 cell, where the header has 2"),
        ("a.csv", f"prompt,response\n{RAIN},\"a\n",
         "line 2: is not CSV, and nothing after it was read: unexpected end of data"),
        ("a.csv", f"prompt,response,response\n{RAIN},a,b\n",
         "the header is 'prompt', 'response', 'response'; wanted one name for each"),
        ("a.jsonl", lines({"prompt": TEA, "response": []}), "line 1: the answer must be text, got []"),
        ("a.jsonl", lines(lm_eval(TEA, "a"), lm_eval(RAIN, "a") | {"arguments": []}),
         "line 2: is not a row as lm-evaluation-harness writes it (IndexError: list index out of range)"),
        ("a.jsonl", lines(evalscope(0, TEA, "a") | {"model_output": {"choices": ["a"]}}),
         "line 1: is not a row as EvalScope 1.x writes it (AttributeError: 'str' object has no attribute 'get')"),
        ("a.jsonl", lines(without_choices("output")), "response.body has no choices of a chat or a completion; its keys"
         " are id, object, model, output"),
        ("a.jsonl", lines({"messages": [user("Hi"), said("Hello"), user(TEA), said("a")]}), "2 turns of the user"),
        ("a.jsonl", lines({"messages": [user(TEA), said("a")], "required_words": 11}), "asked for another length"),
        ("a.parquet", b"PAR1 broken", "is not a Parquet file"),
        ("log.eval", b"PK broken", "inspect log convert --to json"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_one_line(name: str, content: Any, wanted: str, tmp_path: Path) -> None:
    with pytest.raises(LwexpError) as error:
        read(tmp_path / name, content)
    assert wanted in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip"])
def test_a_damaged_page_of_a_parquet_file_is_one_line(compression: str, tmp_path: Path) -> None:
    table = pa.table({"prompt": [RAIN] * 500, "response": [f"answer {number}" for number in range(500)]})
    sound = io.BytesIO()
    pq.write_table(table, sound, compression=compression, use_dictionary=False)
    damaged = bytearray(sound.getvalue())
    for place in range(20, 120):
        damaged[place] ^= 255
    with pytest.raises(LwexpError, match="is damaged") as error:
        read(tmp_path / "a.parquet", bytes(damaged))
    assert "\n" not in str(error.value)
