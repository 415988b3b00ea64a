"""Instructions: even, stable, and read from files with every mistake named."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from lwexp.generate.instructions import make_instructions, read_instructions
from lwexp.records import LwexpError


def test_synthetic_instructions_are_even_over_lengths_and_languages() -> None:
    rows = make_instructions(24, (50, 100, 200), seed=0)
    assert set(Counter((row.language, row.required_words) for row in rows).values()) == {4}
    assert all(str(row.required_words) in row.text for row in rows)
    assert len({row.text for row in rows}) == 24


def test_a_larger_run_begins_with_the_smaller_one() -> None:
    assert make_instructions(24, (50, 100), seed=3)[:7] == make_instructions(7, (50, 100), seed=3)


def test_another_seed_asks_for_other_texts_under_the_same_ids() -> None:
    one, two = make_instructions(12, (50, 100), seed=0), make_instructions(12, (50, 100), seed=1)
    assert [row.id for row in one] == [row.id for row in two]
    assert [row.text for row in one] != [row.text for row in two]


def test_ids_stay_unique_when_topics_come_round_again() -> None:
    rows = make_instructions(300, (50,), seed=0)
    assert len({row.id for row in rows}) == 300


def write_lines(path: Path, *rows: object) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_rows_of_several_shapes_are_read(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "set.jsonl",
        {"prompt": "Write about tea.", "length": 500},
        {"instruction": "请写一篇关于茶的文章，提到GitHub。"},
        {"text": "Schreib über Tee", "language": "en", "required_words": 9, "id": 7, "source": "mine"},
        "",
        {"id": "x", "text": "t", "language": "zh", "source": "s", "required_words": None},
    )
    rows = read_instructions(path, count=None)
    assert [(row.id, row.language, row.required_words, row.source) for row in rows] == [
        ("set-000001", "en", 500, "set"),
        ("set-000002", "zh", None, "set"),
        ("7", "en", 9, "mine"),
        ("x", "zh", None, "s"),
    ]
    assert len(read_instructions(path, count=2)) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "torn', "line 2: is not JSON"),
        ('{"question": "?"}', "line 2: wanted an object with a text"),
        ('{"text": "  "}', "line 2: wanted an object with a text"),
        ('["text"]', "line 2: wanted an object with a text"),
        ('{"text": "a", "required_words": "many"}', "line 2: required_words"),
        ('{"text": "a", "required_words": 0}', "line 2: required_words"),
        ('{"text": "a", "language": "de"}', "line 2: language"),
        ('{"text": "a", "id": "set-000001"}', "line 2: id 'set-000001' is already in line 1"),
    ],
)
def test_a_bad_row_names_its_line(line: str, message: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "set.jsonl", {"text": "fine"}, line)
    with pytest.raises(LwexpError, match=message):
        read_instructions(path, count=None)


def test_no_file_and_no_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match="does not exist"):
        read_instructions(tmp_path / "none.jsonl", count=None)
    with pytest.raises(LwexpError, match="holds no instructions"):
        read_instructions(write_lines(tmp_path / "set.jsonl", ""), count=None)
