"""A user's file becomes a run that mixtures find."""

import json
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.mix import import_conversations, resolve_mixture, take
from lwexp.records import Conversation, Failure, LwexpError, read_rows

GOOD = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello there"}]}


def write(path: Path, *rows: object) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_an_import_keeps_good_rows_lists_broken_ones_and_is_found_by_mixtures(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    source = write(tmp_path / "my data.json", GOOD, {"conversations": [{"from": "human", "value": "Hi"}]}, GOOD)
    config = compose(f"root={tmp_path}/runs", "task=import", f"source='{source}'")
    run = import_conversations(config)
    assert run.id.startswith("import-my-data-")
    assert run.manifest["results"]["tally"] == "3 in = 2 kept + 1 bad turns"
    rows = list(read_rows(run.path / "conversations.jsonl", Conversation))
    assert [row.id for row in rows] == ["my-data-1", "my-data-3"]
    assert pq.read_table(run.path / "conversations.parquet").column("id").to_pylist() == ["my-data-1", "my-data-3"]
    (failure,) = read_rows(run.path / "failures.jsonl", Failure)
    assert failure.detail == f"{source} row 2: ends with user, wanted assistant at the end"
    mixture = take(resolve_mixture(compose(f"root={tmp_path}/runs")), seed=0)
    assert sorted(row.id for row in mixture.conversations) == ["my-data-1", "my-data-3"]


def test_importing_again_does_nothing_and_a_changed_file_is_another_run(tmp_path: Path) -> None:
    source = write(tmp_path / "a.json", GOOD)
    config = compose(f"root={tmp_path}/runs", "task=import", f"source={source}")
    run = import_conversations(config)
    stamp = (run.path / "conversations.jsonl").stat().st_mtime_ns
    assert import_conversations(config).id == run.id
    assert (run.path / "conversations.jsonl").stat().st_mtime_ns == stamp
    write(source, GOOD, GOOD)
    assert import_conversations(config).id != run.id


def test_a_file_without_one_usable_row_is_refused_with_its_first_problem(tmp_path: Path) -> None:
    source = write(tmp_path / "a.json", {"text": "x"})
    config = compose(f"root={tmp_path}/runs", "task=import", f"source={source}")
    with pytest.raises(LwexpError, match=r"not one of 1 rows is a conversation; .*row 1: messages, conversations or"):
        import_conversations(config)


def test_a_preference_file_is_sent_to_the_right_place(tmp_path: Path) -> None:
    source = write(tmp_path / "a.json", {"prompt": "Hi", "chosen": "a", "rejected": "b"})
    config = compose(f"root={tmp_path}/runs", "task=import", f"source={source}")
    with pytest.raises(LwexpError, match=r"preference pairs.*\+mixture\.pairs\.a="):
        import_conversations(config)
