"""Answers in every kind of file, and in folders."""

import csv
import gzip
import io
import json
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lwexp.records import LwexpError
from lwexp.sample.external_responses import read_responses
from tests.sample.answer_rows import (
    FILES,
    PROMPTS,
    RAIN,
    TEA,
    in_archive,
    lines,
    read,
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


@pytest.mark.parametrize("column", ["response", "answer", "output"])
def test_an_empty_cell_of_the_answer_is_an_empty_answer_and_is_named(
    column: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = read(tmp_path / "a.csv", f',prompt,{column},judge\n0,{RAIN},,\n1,"{TEA}",a b,\n')
    assert [(row.text, row.finish_reason) for row in rows] == [("a b", "unknown"), ("", "unknown")]
    assert "1 answer is empty, 0 words that count in every mean: b-2#0; leave out the rows" in caplog.text


@pytest.mark.parametrize("column", ["response", "answer"])
def test_a_null_of_parquet_is_a_missing_answer(column: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"prompt": [RAIN, TEA], column: [None, "a b"]}), out)
    rows = read(tmp_path / "a.parquet", out.getvalue())
    assert [(row.text, row.finish_reason) for row in rows] == [("a b", "unknown"), ("", "error")]
    assert "empty" not in caplog.text


def test_nan_is_a_missing_value(tmp_path: Path) -> None:
    content = lines({"prompt": TEA, "length": float("nan"), "response_length": 1, "response": "a b"},
                    {"prompt": RAIN, "length": 20.0, "response_length": 1, "response": float("nan")})  # fmt: skip
    assert "NaN" in content
    assert [(row.text, row.finish_reason) for row in read(tmp_path / "a.jsonl", content)] == [
        ("a b", "unknown"), ("", "error")
    ]  # fmt: skip


def test_a_length_with_a_decimal_point_is_compared_with_the_benchs(tmp_path: Path) -> None:
    for name, content in (
        ("a.csv", "prompt,required_words,repeat,response\n{},{}.0,0.0,c\n"),
        ("a.jsonl", '{{"prompt": "{}", "required_words": {}.0, "repeat": 0.0, "response": "c"}}\n'),
    ):
        assert [row.text for row in read(tmp_path / name, content.format(RAIN, 20))] == ["", "c"]
        with pytest.raises(LwexpError, match=r"asked for another length .*: line \d: 30 words, where b-2 asks for 20"):
            read(tmp_path / name, content.format(RAIN, 30))


def test_texts_that_are_as_long_as_excels_cells_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read(tmp_path / "a.csv", f'prompt,response\n{RAIN},{"x" * 32_767}\n"{TEA}",{"x" * 32_766}\n')
    assert "1 answer has exactly 32767 characters, at which Excel cuts a cell" in caplog.text
    caplog.clear()
    read(tmp_path / "a.csv", f"prompt,response\n{RAIN},{'x' * 32_768}\n")
    assert "Excel" not in caplog.text
