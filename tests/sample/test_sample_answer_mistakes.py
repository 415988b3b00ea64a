"""A file of answers that cannot be read is one line that says why."""

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lwexp.records import LwexpError
from tests.sample.answer_rows import QWEN, RAIN, TEA, batch, evalscope, in_archive, lines, lm_eval, read, said, user


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
    ("name", "content", "wanted"),
    [
        ("a.jsonl", lines({"query": TEA, "reply": "a"}),
         "line 1: no answer in a known format; the row's keys are query, reply"),
        ("a.jsonl", lines({"que\nry": TEA, "the\u2028reply": "a"}),
         "line 1: no answer in a known format; the row's keys are que ry, the reply;"),
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
        ("a.jsonl", lines(without_choices("out\nput")), "its keys are id, object, model, out put"),
        ("a.jsonl", lines({"messages": [user("Hi"), said("Hello"), user(TEA), said("a")]}), "2 turns of the user"),
        ("a.jsonl", lines({"messages": [user(TEA), said("a")], "required_words": 11}), "asked for another length"),
        ("a.json", f'[\n{json.dumps({"prompt": RAIN, "response": "c"})},\n{{"a": ', "Expecting value: line 3 "),
        ("a.json", '{\n "data": [{"prompt": "x",', "in double quotes: line 2 "),
        ("a.csv", f"prompt,answer,response\n{RAIN},the reference,\n",
         "line 2: response and answer hold different texts"),
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
