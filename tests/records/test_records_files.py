"""Files of rows: what was written is read back, and a bad row is named, never lost."""

import json

import pytest

from lwexp.records import (
    BadRow,
    Conversation,
    Failure,
    LwexpError,
    Message,
    RowLog,
    TableWriter,
    Tally,
    TooDeepError,
    parse_json,
    parse_json_lines,
    read_rows,
    scan_rows,
    tally,
    write_rows,
)
from lwexp.text.encodable import encodable_json

ROWS = [Message(role="user", content="hello"), Message(role="assistant", content="\u4f60\u597d")]


def test_rows_come_back_from_jsonl_and_parquet(tmp_path):
    import pyarrow.parquet as pq

    with TableWriter(tmp_path, "rows", Message) as table:
        for row in ROWS:
            table.append(row)

    assert list(read_rows(tmp_path / "rows.jsonl", Message)) == ROWS
    assert [Message(**row) for row in pq.read_table(tmp_path / "rows.parquet").to_pylist()] == ROWS


def test_a_bad_row_is_named_by_file_line_and_field(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"role":"user","content":"a"}\n{"role":"robot","content":"b"}\nnot json\n')

    items = list(scan_rows(path, Message))

    assert items[0] == Message(role="user", content="a")
    assert [item.line for item in items if isinstance(item, BadRow)] == [2, 3]
    with pytest.raises(LwexpError, match=r"rows\.jsonl line 2: not a Message: role: "):
        list(read_rows(path, Message))


def test_a_missing_file_says_what_was_wanted(tmp_path):
    with pytest.raises(LwexpError, match=r"does not exist \(wanted: a JSONL file of Message rows\)"):
        list(read_rows(tmp_path / "none.jsonl", Message))


@pytest.mark.parametrize("kept_bytes", range(31))
def test_a_log_torn_at_any_byte_keeps_every_earlier_row(tmp_path, kept_bytes):
    """The last record is 30 bytes with its newline; a kill may leave any part of it."""
    path = tmp_path / "log.jsonl"
    first, last = (row.model_dump_json() + "\n" for row in (ROWS[0], Message(role="user", content="b")))
    assert len(last) == 30
    path.write_text(first + last[:kept_bytes])

    with RowLog(path) as log:
        log.append(ROWS[1])

    survivors = [ROWS[0], Message(role="user", content="b"), ROWS[1]] if kept_bytes == 30 else [ROWS[0], ROWS[1]]
    assert list(read_rows(path, Message)) == survivors


def test_writing_is_one_step(tmp_path):
    """A failure in the middle leaves the old file whole."""
    path = tmp_path / "rows.jsonl"
    write_rows(path, ROWS)

    def broken():
        yield ROWS[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_rows(path, broken())
    assert list(read_rows(path, Message)) == ROWS


def test_a_tally_adds_up_or_is_our_bug():
    """6 = 3 + 2 + 1."""
    assert str(tally(6, 3, ["too_long", "refused", "too_long"])) == "6 in = 3 kept + 1 refused + 2 too long"
    assert tally(1, 1, []) == Tally(1, 1, {})
    with pytest.raises(AssertionError):
        tally(6, 3, ["refused"])


def test_a_row_refuses_unknown_columns_and_changes():
    with pytest.raises(ValueError, match="extra"):
        Message.model_validate(json.loads('{"role":"user","content":"a","mood":"good"}'))
    failure = Failure(id="1", stage="plan", reason="refusal", detail="", attempts=1)
    with pytest.raises(ValueError, match="frozen"):
        failure.reason = "other"  # type: ignore[misc]


def test_parquet_columns_do_not_hang_on_the_values(tmp_path):
    """Without a fixed schema a column of nulls has type null, and two runs' files cannot be read as one set."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    turns = (Message(role="user", content="a"), Message(role="assistant", content="b"))
    bare = Conversation(id="1", source="s", language="en", messages=turns, actual_words=1)
    full = bare.model_copy(update={"teacher": "t", "cost_usd": 0.5, "finish_reasons": ("stop",), "plan": "p"})
    for name, row in (("bare", bare), ("full", full)):
        with TableWriter(tmp_path, name, Conversation) as table:
            table.append(row)
    with TableWriter(tmp_path, "none", Conversation):
        pass

    tables = [pq.read_table(tmp_path / f"{name}.parquet") for name in ("bare", "full", "none")]
    assert tables[0].schema == tables[1].schema == tables[2].schema
    assert tables[0].schema.field("cost_usd").type == pa.float64()
    assert [Conversation(**row) for row in pa.concat_tables(tables).to_pylist()] == [bare, full]
    assert (tmp_path / "none.jsonl").read_bytes() == b""


def test_a_table_whose_block_fails_keeps_the_one_before_it(tmp_path):
    with TableWriter(tmp_path, "rows", Message) as table:
        table.append(ROWS[0])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail_halfway():
        with TableWriter(tmp_path, "rows", Message) as table:
            table.append(ROWS[1])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert set(before) == {"rows.jsonl", "rows.parquet"}


@pytest.mark.parametrize("deep", ['{"a":%s}', "[%s]"], ids=["objects", "lists"])
def test_json_has_a_limit_of_nesting_that_does_not_depend_on_python(deep: str) -> None:
    """From Python 3.12 on, ``json`` reads deeper values than a recursive function can walk."""
    value = "1"
    for _ in range(200):
        value = deep.replace("%s", value)
    assert encodable_json(parse_json(value)).replaced == 0
    with pytest.raises(TooDeepError, match=r"^is nested too deeply$"):
        parse_json(deep.replace("%s", value))
    assert list(parse_json_lines([b"1\n", deep.replace("%s", value).encode()])) == [
        (1, 1),
        BadRow(2, "is nested too deeply"),
    ]
