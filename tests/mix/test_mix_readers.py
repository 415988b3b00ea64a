"""Files as people have them: packed, CSV, one object around the rows, folders of many files, and damaged ones."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from lwexp.config import compose
from lwexp.extend.rows import RawRow
from lwexp.mix.files import read_file, stem
from lwexp.mix.hub import read_hub, stream
from lwexp.mix.importer import import_conversations
from lwexp.records import Conversation, Failure, LwexpError, read_rows

ROWS = [{"instruction": "Tea?", "output": "Yes, please."}, {"instruction": "茶?", "output": '"Oui",\nno'}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def values(path: Path) -> list[object]:
    rows = list(read_file(path))
    assert [row.problem for row in rows] == [None] * len(rows)
    return [row.value for row in rows]


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.gz", gzip.compress(LINES)),
        ("a.JSON.GZ", gzip.compress(json.dumps(ROWS).encode())),
        ("a.csv.gz", gzip.compress(as_csv(ROWS))),
        ("a.csv", as_csv(ROWS)),
        ("a.csv", b"\xef\xbb\xbf" + as_csv(ROWS)),
        ("a.json", json.dumps({"data": ROWS}).encode()),
        ("a.json", json.dumps({"version": 2, "data": ROWS, "note": "end"}, indent=1).encode()),
        ("a.json.gz", gzip.compress(json.dumps({"data": ROWS}).encode())),
    ],
)
def test_the_same_rows_in_every_kind_of_file(tmp_path: Path, name: str, content: bytes) -> None:
    path = written(tmp_path / name, content)
    assert values(path) == ROWS
    assert stem(path) == "a"


def test_one_object_in_a_json_file_is_one_row(tmp_path: Path) -> None:
    assert values(written(tmp_path / "a.json", json.dumps(ROWS[0], indent=2).encode())) == ROWS[:1]
    assert values(written(tmp_path / "a.json", b'{"data": []}')) == []
    assert values(written(tmp_path / "a.json", b'{"data": "text", "n": 1}')) == [{"data": "text", "n": 1}]


def test_cells_of_csv_are_text_except_messages_and_named_columns(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "Yes."}]
    row = {
        "messages": json.dumps(messages),
        "output": "42",
        "note": "[1, 2]",
        "required_words": "300",
        "label": "False",
    }
    (value,) = values(written(tmp_path / "a.csv", as_csv([row])))
    assert value == {"messages": messages, "output": "42", "note": "[1, 2]", "required_words": 300, "label": False}
    (value,) = values(written(tmp_path / "a.csv", b"required_words,system,history\n,,\n"))
    assert value == {"required_words": None, "system": "", "history": None}


@pytest.mark.parametrize(
    ("name", "content", "good", "problem"),
    [
        ("a.csv", b"n,m\n1,2\n3\n4,5\n", [1, 3], "is not CSV: it has 1 cell, where the header has 2; put quotes"),
        ("a.csv", b"n,m\n1,2\n3,\xff\n4,5\n", [1, 3], "is not UTF-8 text; convert the file first"),
        ("a.csv", b'n,m\n1,2\n"3,4\n5,6\n', [1], "is not CSV, and nothing after it was read: unexpected end of data"),
        ("a.json", b'[{"n": 1}] and more', [1], "is after the closing ], and nothing from there on was read"),
        (
            "a.json",
            b'[{"n": 1}, ' + b"[" * 100_000,
            [1],
            "is nested too deeply at line 1, column 212, and nothing after it was read",
        ),
        ("a.jsonl", b'{"n": 1}\n{"n": ' + b"9" * 5_000 + b"}\n", [1], "is not JSON: "),
        ("a.jsonl.gz", gzip.compress(LINES)[:-6], [1, 2], "cannot be unpacked, and nothing after it was read: "),
        ("a.csv.gz", gzip.compress(as_csv(ROWS))[:-6], [1, 2], "cannot be unpacked, and nothing after it was read: "),
    ],
)
def test_a_broken_row_is_named_and_costs_no_other(
    tmp_path: Path, name: str, content: bytes, good: list[int], problem: str
) -> None:
    rows = list(read_file(written(tmp_path / name, content)))
    assert [row.number for row in rows if row.problem is None] == good
    (broken,) = [row for row in rows if row.problem is not None]
    assert broken.problem is not None
    assert broken.problem.startswith(problem)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", '{"n": 1}'.encode("utf-16-le"), "is UTF-16 text; save it as UTF-8"),
        ("a.json", '[{"n": 1}]'.encode("utf-16-be"), "is UTF-16 text; save it as UTF-8"),
        ("a.jsonl.gz", gzip.compress('{"n": 1}'.encode("utf-16")), "is UTF-16 text; save it as UTF-8"),
        ("a.csv", gzip.compress(b"n\n1\n"), "is compressed with gzip; run gunzip on it first"),
        ("a.csv.gz", b"n,m\n1,2\n", "is not compressed with gzip, or is damaged; take .gz off a plain file"),
        ("a.csv", b"n;m\n1;2\n", ": columns are separated by ';'; wanted commas"),
        ("a.csv", b"n,n\n1,2\n", ": the header is 'n', 'n'; wanted one name for each column"),
        ("a.json", b'{"n": 1}\n{"n": 2}', "is not a JSON array of rows; if it has one object per line, rename it"),
        ("a.json", b'{"data": [{"n": 1}', "is not a JSON array of rows, and not JSON at all: "),
        ("a.json", b"[" + '{"n": "é"}]'.encode("latin-1"), "is not UTF-8 text: "),
        ("a.tsv", b"n\tm\n", ": cannot read .tsv; wanted .jsonl, .json, .csv, .parquet, .jsonl.gz, .json.gz, .csv.gz"),
        ("a.parquet", b"PAR1" + b"\0" * 40 + b"PAR1", "is not a Parquet file: "),
    ],
)
def test_a_file_that_cannot_be_read_is_named_as_what_it_is(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    path = written(tmp_path / name, content)
    with pytest.raises(LwexpError) as error:
        list(read_file(path))
    assert str(error.value).replace(f"{path} ", "").removeprefix(str(path)).startswith(problem)
    assert "\n" not in str(error.value)


def test_cells_of_parquet_that_python_cannot_hold_break_their_own_row(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    late = pa.array([0, 2**60, 0], pa.int64()).view(pa.timestamp("us"))
    nowhere = pa.array([0, 0, 0], pa.timestamp("us", tz="Nowhere/Town"))
    broken = pa.array([b"a", b"b", b"\xff"], pa.binary()).view(pa.string())
    table = pa.table({"n": [1, 2, 3], "late": late, "nowhere": nowhere, "text": broken})
    pq.write_table(table, tmp_path / "a.parquet")
    first, second, third = read_file(tmp_path / "a.parquet")
    assert (first.value, first.problem) == ({"n": 1, "late": first.value["late"], "nowhere": None, "text": "a"}, None)  # type: ignore[index]
    assert second == RawRow(2, "row", {"n": 2, "late": None, "nowhere": None, "text": "b"})
    assert (third.value, third.number) == (None, 3)
    assert third.problem is not None
    assert third.problem.startswith("text cannot be read: ")


@pytest.mark.parametrize("checksums", [False, True])
def test_a_damaged_page_of_parquet_ends_the_file_with_a_named_row(tmp_path: Path, checksums: bool) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"row {i} " * 50 for i in range(20)]})
    pq.write_table(table, path, compression="gzip", use_dictionary=False, write_page_checksum=checksums)
    content = bytearray(path.read_bytes())
    page = content.index(b"\x1f\x8b") + (40 if checksums else 2)  # without a checksum, only damage to gzip is seen
    content[page : page + 8] = b"\xff" * 8
    (row,) = read_file(written(path, bytes(content)))
    assert row.problem is not None
    assert row.problem.startswith("is damaged, and nothing after it was read: ")


CHAT = {"messages": [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "Yes."}]}


def mixed_folder(folder: Path) -> Path:
    """Files whose columns ``meta`` and ``uid`` differ in type, as public sets have them."""
    folder.mkdir()
    (folder / "a.jsonl").write_text(json.dumps({**CHAT, "meta": None, "uid": 0}) + "\n")
    (folder / "b.jsonl").write_text(json.dumps({**CHAT, "meta": {"k": "v"}, "uid": "x"}) + "\n{broken\n")
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(json.dumps({**CHAT, "meta": [1], "uid": 1.5}).encode()))
    return folder


@pytest.mark.parametrize("read", [read_hub, stream])
def test_files_of_a_folder_may_differ_in_their_column_types(tmp_path: Path, read: Any) -> None:
    rows = list(read(str(mixed_folder(tmp_path / "set")), "train"))
    assert [(row.number, row.place) for row in rows] == [
        (1, "a.jsonl line 1"), (2, "b.jsonl line 1"), (3, "b.jsonl line 2"), (4, "c.jsonl.gz line 1"),
    ]  # fmt: skip
    assert [row.value and row.value["meta"] for row in rows] == [None, {"k": "v"}, None, [1]]


def test_an_import_of_such_a_folder_names_its_broken_row_by_file_and_line(tmp_path: Path) -> None:
    folder = mixed_folder(tmp_path / "set")
    run = import_conversations(compose(f"root={tmp_path}/runs", "task=import", f"source='{folder}'"))
    assert run is not None
    assert [row.id for row in read_rows(run.path / "conversations.jsonl", Conversation)] == ["set-1", "set-2", "set-4"]
    (failure,) = read_rows(run.path / "import_failures.jsonl", Failure)
    assert failure.detail.startswith(f"{folder} b.jsonl line 2: is not JSON: ")


@pytest.mark.parametrize("read", [read_hub, stream])
def test_a_folder_that_cannot_be_read_is_one_line(tmp_path: Path, read: Any) -> None:
    script, utf16, empty = (tmp_path / name for name in ("script", "utf16", "empty"))
    for folder in (script, utf16, empty):
        folder.mkdir()
    (script / "script.py").write_text("raise SystemExit")
    (utf16 / "a.jsonl").write_bytes('{"n": 1}'.encode("utf-16"))
    for folder, problem in ((script, "script.py"), (utf16, "a.jsonl is UTF-16 text; save it as UTF-8"), (empty, "")):
        with pytest.raises(LwexpError, match=f"the data set {folder} .*{problem}") as error:
            list(read(str(folder), "train"))
        assert "\n" not in str(error.value)
