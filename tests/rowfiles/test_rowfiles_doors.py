"""One set of readers at two doors: a bad row of training data costs itself, a bad row of answers costs its file."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lwexp.benches.columns import numbered_rows
from lwexp.mix.files import read_file
from lwexp.records import LwexpError
from lwexp.sample.answer_files import read_answers

GOOD = [{"prompt": "Tea?", "response": 'a, "b"\nc'}, {"prompt": "Milk?", "response": ""}]
LINES = "".join(json.dumps(row) + "\n" for row in GOOD)
CSV = 'prompt,response\nTea?,"a, ""b""\nc"\nMilk?,\n'


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(GOOD), out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES.encode()),
        ("a.jsonl.gz", gzip.compress(LINES.encode())),
        ("a.json", json.dumps(GOOD).encode()),
        ("a.json", json.dumps({"data": GOOD}).encode()),
        ("a.csv", CSV.encode()),
        ("a.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("a.csv.gz", gzip.compress(CSV.encode())),
        ("a.parquet", parquet()),
    ],
)
def test_both_doors_read_the_same_rows(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert [row.value for row in read_file(tmp_path / name)] == GOOD
    answers = [item.answer for item in read_answers(tmp_path / name)]
    assert [{"prompt": answer.prompt, "response": answer.text} for answer in answers] == GOOD


def test_an_index_column_of_pandas_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(",prompt,response\n0,Tea?,Yes.\n")
    assert [row.value for row in read_file(path)] == [{"": "0", "prompt": "Tea?", "response": "Yes."}]
    assert [item.answer.text for item in read_answers(path)] == ["Yes."]


@pytest.mark.parametrize(
    ("name", "content", "place", "problem"),
    [
        ("a.csv", CSV.encode() + b"Tea?\n", "line 5", "is not CSV: it has 1 cell, where the header has 2; put quotes"),
        ("a.csv", CSV.encode() + b"Tea?,\xff\n", "line 5", "is not UTF-8 text; convert the file first"),
        ("a.csv", CSV.encode() + b'Tea?,"x\n', "line 5", "is not CSV, and nothing after it was read: unexpected end"),
        ("a.jsonl", LINES.encode() + b'{"n": ' + b"9" * 5_000 + b"}\n", "line 3", "is not JSON: Exceeds the limit"),
        ("a.jsonl", LINES.encode() + b"[" * 100_000 + b"\n", "line 3", "is nested too deeply"),
        ("a.jsonl", LINES.encode() + b"[" * 201 + b"]" * 201 + b"\n", "line 3", "is nested too deeply"),
    ],
)
def test_a_bad_row_is_named_alike_and_costs_what_the_door_says(
    name: str, content: bytes, place: str, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    *good, bad = read_file(path)
    assert [row.value for row in good] == GOOD
    assert (bad.place or f"{bad.unit} {bad.number}") == place
    assert str(bad.problem).startswith(problem)
    with pytest.raises(LwexpError) as stop:
        read_answers(path)
    assert str(stop.value).startswith(f"responses={path} {place}: {problem}")
    assert "\n" not in str(stop.value)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", LINES.encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        ("a.jsonl", b"PK\x03\x04rest", "is a zip archive; unzip it first"),
        ("a.csv", b"prompt;response\nTea?;a\n", "columns are separated by ';'; wanted commas"),
        ("a.csv", b"prompt,prompt\nTea?,a\n", "the header is 'prompt', 'prompt'; wanted one name for each column"),
        ("a.parquet", b"PAR1 broken", "is not a Parquet file: "),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_alike(name: str, content: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LwexpError) as training:
        list(read_file(path))
    with pytest.raises(LwexpError) as answers:
        read_answers(path)
    assert problem in str(training.value)
    assert str(answers.value) == f"responses={training.value}"


DEEP = b'{"a":' * 201 + b"1" + b"}" * 201


def test_a_json_row_nested_too_deeply_is_named_by_both_doors(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"prompt": "Tea?"}, ' + DEEP + b"]")
    assert [row.problem for row in read_file(path)] == [
        None,
        "is nested too deeply at line 1, column 1022, and nothing after it was read",  # 21 before, 200 of 5, the {
    ]
    with pytest.raises(LwexpError) as stop:  # its list of rows is a level, too
        read_answers(path)
    assert str(stop.value) == f"responses={path} is nested too deeply at line 1, column 1017"


@pytest.mark.parametrize(("deep", "column"), [(DEEP, 991), (b"[" * 100_000, 199)], ids=["readable", "not readable"])
def test_a_json_file_nested_too_deeply_is_refused_by_all_doors_with_its_place(
    deep: bytes, column: int, tmp_path: Path
) -> None:
    """Two levels above, so the 199th of ``deep`` is one too many."""
    path = tmp_path / "a.json"
    path.write_bytes(b'\n\n{"brackets in a text": "[[\\"[",\n "data": [\n' + deep + b"]}")
    with pytest.raises(LwexpError) as stop:
        list(read_file(path))
    with pytest.raises(LwexpError) as answers:
        read_answers(path)
    with pytest.raises(LwexpError) as bench:
        list(numbered_rows(path))
    place = f"line 5, column {column}"
    assert str(stop.value) == str(bench.value) == f"{path} is nested too deeply at {place}"
    assert str(answers.value) == f"responses={path} is nested too deeply at {place}"
