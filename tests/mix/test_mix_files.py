"""Rows keep their line numbers, even if other rows of the file are broken."""

import gzip
import json
from pathlib import Path

import pytest

from lwexp.extend.rows import ROW_FORMATS, RawRow
from lwexp.mix.files import read_file
from lwexp.mix.hub import read_hub
from lwexp.mix.parse import parse_conversations
from lwexp.records import Conversation, Failure, LwexpError

ROW = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_jsonl_rows_keep_their_line_numbers_past_blank_and_broken_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '\ufeff{"n": 1}\n\n{"n": 2\n{"n": 3}\n')
    rows = list(read_file(path))
    assert [(row.number, row.unit, row.value) for row in rows] == [
        (1, "line", {"n": 1}),
        (3, "line", None),
        (4, "line", {"n": 3}),
    ]
    assert [row.problem is None for row in rows] == [True, False, True]


def test_a_line_that_is_not_utf8_is_one_broken_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": "\xff"}\n{"n": 3}\n')
    assert [row.problem is None for row in read_file(path)] == [True, False, True]


@pytest.mark.parametrize(
    ("text", "good"), [("[]", 0), (' [ {"n": 1} , {"n": 2} ] ', 2), ('[\n{"n": 1},\n{"n": 2}\n]\n', 2)]
)
def test_a_json_array_gives_its_elements(tmp_path: Path, text: str, good: int) -> None:
    rows = list(read_file(write(tmp_path / "a.json", text)))
    assert [(row.number, row.value) for row in rows] == [(n, {"n": n}) for n in range(1, good + 1)]
    assert all(row.problem is None for row in rows)


@pytest.mark.parametrize(
    ("text", "number"),
    [('[{"n": 1}, {"n": 2', 2), ('[{"n": 1}, {"n": 2}, {"n" 3}, {"n": 4}]', 3), ('[{"n": 1} {"n": 2}]', 2), ("[", 1)],
)
def test_rows_before_a_syntax_error_survive_it(tmp_path: Path, text: str, number: int) -> None:
    *before, last = read_file(write(tmp_path / "a.json", text))
    assert [row.value for row in before] == [{"n": n} for n in range(1, number)]
    assert last.number == number
    assert last.problem is not None


def test_files_that_are_no_table_of_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match="not a JSON array of rows"):
        list(read_file(write(tmp_path / "a.json", '{"n": 1}\n{"n": 2}')))
    with pytest.raises(LwexpError, match=r"cannot read \.txt"):
        read_file(write(tmp_path / "a.txt", "n\n1\n"))
    with pytest.raises(LwexpError, match="does not exist"):
        read_file(tmp_path / "none.jsonl")
    with pytest.raises(LwexpError, match="is a folder"):
        read_file(tmp_path)
    with pytest.raises(LwexpError, match="is not a Parquet file"):
        list(read_file(write(tmp_path / "a.parquet", "n")))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"n": 1}\n'.encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        ('{"n": 1}\n'.encode("utf-16-be").join((b"\xfe\xff", b"")), "is UTF-16 text; save it as UTF-8"),
        (gzip.compress(b'{"n": 1}\n', mtime=0), "is compressed with gzip; run gunzip on it first"),
        (b"PK\x03\x04rest", "is a zip archive; unzip it first"),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet"])
def test_a_file_in_another_encoding_is_named_as_what_it_is(
    tmp_path: Path, content: bytes, problem: str, name: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LwexpError) as error:
        read_file(tmp_path / name)
    assert str(error.value) == f"{tmp_path / name} {problem}"


def test_a_folder_with_a_damaged_file_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.parquet").write_bytes(b"PAR1 and then nothing of the kind")
    with pytest.raises(LwexpError, match=r"cannot open the data set .*set \(split train\): ") as error:
        list(read_hub(str(folder), "train"))
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_parquet_and_a_local_data_set_give_the_same_rows_as_jsonl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = [ROW, {"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "很好"}]}]
    folder = tmp_path / "set"
    folder.mkdir()
    jsonl = write(folder / "train.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    wanted = [row.value for row in read_file(jsonl)]
    assert [row.value for row in read_file(tmp_path / "a.parquet")] == wanted
    hub = list(read_hub(str(folder), "train"))
    assert [row.value for row in hub] == wanted
    assert [(row.number, row.unit) for row in hub] == [(1, "row"), (2, "row")]
    with pytest.raises(LwexpError, match="Unknown split"):
        list(read_hub(str(folder), "none"))


def parse(*values: object, format: str = "auto") -> list[Conversation | Failure]:
    rows = [RawRow(number, "line", value) for number, value in enumerate(values, start=1)]
    return list(parse_conversations(rows, origin="a.jsonl", name="a", format=ROW_FORMATS[format](kind=format)))


def test_the_first_row_that_tells_a_shape_sets_it_for_the_file() -> None:
    alpaca = {"instruction": "Hi", "output": "Hello"}
    results = parse({"text": "x"}, alpaca, ROW, alpaca)
    assert [type(row) for row in results] == [Failure, Conversation, Failure, Conversation]
    assert [row.id for row in results] == ["a-1", "a-2", "a-3", "a-4"]
    first, third = results[0], results[2]
    assert isinstance(first, Failure)
    assert first.detail == "a.jsonl line 1: messages, conversations or instruction is missing"
    assert isinstance(third, Failure)
    assert third.detail == "a.jsonl line 3: instruction is missing"


def test_a_named_format_is_not_guessed() -> None:
    (row,) = parse(ROW, format="alpaca")
    assert isinstance(row, Failure)
    assert row.detail == "a.jsonl line 1: instruction is missing; this row is in format messages, not alpaca"
    (broken,) = parse({"instruction": "Hi"}, format="alpaca")  # of the named format, but without its answer
    assert isinstance(broken, Failure)
    assert broken.detail == "a.jsonl line 1: output is missing"


def test_preference_pairs_are_not_taken_for_conversations() -> None:
    with pytest.raises(LwexpError, match="holds preference pairs"):
        parse({"conversations": [{"from": "human", "value": "Hi"}], "chosen": "a", "rejected": "b"})
