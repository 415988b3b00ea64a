"""A row with a number beyond 64 bits is named and counted, wherever rows are read."""

import json
from pathlib import Path
from typing import Any

import pytest

from lwexp.config import compose
from lwexp.extend.columns import BrokenRowError, read_length
from lwexp.extend.rows import RawRow
from lwexp.generate.candidates import Rejected, read_candidate
from lwexp.generate.instructions import read_instructions
from lwexp.mix.importer import import_conversations
from lwexp.records import Conversation, Failure, LwexpError, Message, PreferencePair, prompt_sha, read_rows

GOOD = {"instruction": "Tea?", "output": "Yes."}
PAIR = {"prompt": "Tea?", "chosen": "Yes.", "rejected": "No."}


def imported(tmp_path: Path, *rows: dict[str, Any]) -> tuple[list[str], list[Failure]]:
    source = tmp_path / "set.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = import_conversations(compose(f"root={tmp_path}/runs", "task=import", f"source='{source}'"))
    assert run is not None
    kept = [row.id for row in read_rows(run.path / "conversations.jsonl", Conversation)]
    return kept, list(read_rows(run.path / "import_failures.jsonl", Failure))


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"required_words": 2**63}, "required_words is 9223372036854775808, wanted at most 10,000,000"),
        ({"required_words": 10**30}, "required_words is a number of 31 digits, wanted at most 10,000,000"),
        ({"required_words": 1e300}, "required_words is 1e+300, wanted at most 10,000,000"),
        ({"required_words": float("inf")}, "required_words is inf, wanted at most 10,000,000"),
    ],
)
def test_an_import_names_the_row_and_keeps_the_others(tmp_path: Path, columns: dict[str, Any], problem: str) -> None:
    kept, (failure,) = imported(tmp_path, GOOD, GOOD | columns, GOOD)
    assert kept == ["set-1", "set-3"]
    assert (failure.reason, failure.detail) == ("wrong_type", f"{tmp_path}/set.jsonl line 2: {problem}")


@pytest.mark.parametrize("score", [10**400, float("inf"), float("nan")])
def test_a_score_that_no_float_holds_breaks_its_pair(tmp_path: Path, score: float) -> None:
    kept, (failure,) = imported(tmp_path, PAIR, PAIR | {"rejected_score": score}, PAIR)
    assert kept == ["set-1", "set-3"]
    assert failure.detail.endswith("line 2: rejected_score is not a finite number of 64 bits")


def test_numbers_in_the_provenance_of_an_exported_row_are_checked_too(tmp_path: Path) -> None:
    sha = prompt_sha([Message(role="user", content="Tea?")])
    row = GOOD | {"provenance": json.dumps({"prompt_sha": sha, "id": "mine", "required_words": 2**64})}
    costly = GOOD | {"provenance": json.dumps({"prompt_sha": sha, "id": "mine", "cost_usd": 10**400})}
    kept, failures = imported(tmp_path, GOOD, row, costly)
    assert kept == ["set-1"]
    assert [failure.reason for failure in failures] == ["wrong_type", "wrong_type"]


def test_a_large_number_in_a_column_that_is_not_read_costs_nothing(tmp_path: Path) -> None:
    assert imported(tmp_path, GOOD | {"uid": 10**30}, GOOD | {"required_words": 10_000_000}) == (["set-1", "set-2"], [])


@pytest.mark.parametrize(
    ("value", "words"), [(300, 300), (300.0, 300), (True, None), (0, None), (-5, None), ("300", None), (0.5, None)]
)
def test_what_counts_as_a_required_length(value: object, words: int | None) -> None:
    assert read_length({"required_words": value}) == words


def test_the_other_doors_refuse_such_a_length_too(tmp_path: Path) -> None:
    with pytest.raises(BrokenRowError):  # the bench's column
        read_length({"length": 10**20}, "length")
    rejected = read_candidate(RawRow(1, "line", {"prompt": "Tea?", "required_words": 2**63}), "x")
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "wrong_type"
    path = tmp_path / "ins.jsonl"
    for words in (2**63, 1e30):
        path.write_text(json.dumps({"text": "Tea?", "required_words": words}))
        with pytest.raises(LwexpError, match="line 1: required_words: wanted at most 10,000,000"):
            read_instructions(path, count=None)


def test_a_set_of_pairs_is_known_by_its_first_readable_row(tmp_path: Path) -> None:
    source = tmp_path / "set.jsonl"
    source.write_text("{broken\n" + json.dumps({"note": "x"}) + "\n" + json.dumps(PAIR) + "\n")
    run = import_conversations(compose(f"root={tmp_path}/runs", "task=import", f"source='{source}'"))
    assert run is not None
    assert [row.id for row in read_rows(run.path / "pairs.jsonl", PreferencePair)] == ["set-3"]
    assert len(list(read_rows(run.path / "import_failures.jsonl", Failure))) == 2
