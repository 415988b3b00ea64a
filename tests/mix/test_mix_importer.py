"""A user's file becomes a run that mixtures find."""

import json
from pathlib import Path
from typing import Any

import pytest

from lwexp.config import Config, compose
from lwexp.mix.importer import import_conversations
from lwexp.mix.mixture import take
from lwexp.mix.resolve import resolve_mixture
from lwexp.pack.rows import ConversationRows
from lwexp.records import Conversation, Failure, LwexpError, PreferencePair, read_rows, write_rows
from lwexp.runs import RunDirectory, open_run
from lwexp.runs.artifacts import Artifact

GOOD = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello there"}]}


def write(path: Path, *rows: object) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def imported(config: Config) -> RunDirectory:
    run = import_conversations(config)
    assert run is not None
    return run


def results_of(run: RunDirectory) -> dict[str, Any]:
    assert run.manifest.results is not None
    return run.manifest.results


def test_an_import_keeps_good_rows_lists_broken_ones_and_is_found_by_mixtures(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    source = write(tmp_path / "my data.json", GOOD, {"conversations": [{"from": "human", "value": "Hi"}]}, GOOD)
    config = compose(f"root={tmp_path}/runs", "task=import", f"source='{source}'")
    run = imported(config)
    assert run.id.startswith("import-my-data-")
    assert results_of(run)["tally"] == "3 in = 2 kept + 1 bad turns"
    rows = list(read_rows(run.path / "conversations.jsonl", Conversation))
    assert [row.id for row in rows] == ["my-data-1", "my-data-3"]
    assert pq.read_table(run.path / "conversations.parquet").column("id").to_pylist() == ["my-data-1", "my-data-3"]
    (failure,) = read_rows(run.path / "import_failures.jsonl", Failure)
    assert failure.detail == f"{source} row 2: ends with user, wanted assistant at the end"
    named = compose(f"root={tmp_path}/runs", "mixture.sources.drafts.run=import-my-data")
    mixture = take(resolve_mixture(named), 0, ConversationRows())
    assert sorted(row.id for row in mixture.rows) == ["my-data-1", "my-data-3"]


def test_newest_is_the_import_only_while_there_is_no_data_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs, plain = f"root={tmp_path}/runs", compose(f"root={tmp_path}/runs")
    with pytest.raises(LwexpError, match="no finished data run"):
        resolve_mixture(plain)
    mine = imported(compose(runs, "task=import", f"source='{write(tmp_path / 'mine.json', GOOD)}'"))
    assert [row.id for row in take(resolve_mixture(plain), 0, ConversationRows()).rows] == ["mine-1"]
    with pytest.raises(LwexpError, match="no finished pairs run"):  # the import has no pairs
        resolve_mixture(compose(runs, "objective=dpo"))

    with open_run("data", plain, default_name="data", inputs={}) as data:
        write_rows(data.path / "conversations.jsonl", [])
        data.finish(Artifact())
    other = imported(compose(runs, "task=import", f"source='{write(tmp_path / 'other.json', GOOD)}'"))
    caplog.clear()
    with caplog.at_level("INFO"):
        (drafts,) = resolve_mixture(plain)
    assert drafts.found.run == data.path
    assert f"the import {other.id} is newer and is not used; to use it, add mixture.sources.drafts.run=" in caplog.text
    assert mine.id not in caplog.text


def test_importing_again_does_nothing_and_a_changed_file_is_another_run(tmp_path: Path) -> None:
    source = write(tmp_path / "a.json", GOOD)
    config = compose(f"root={tmp_path}/runs", "task=import", f"source={source}")
    run = imported(config)
    stamp = (run.path / "conversations.jsonl").stat().st_mtime_ns
    assert imported(config).id == run.id
    assert (run.path / "conversations.jsonl").stat().st_mtime_ns == stamp
    write(source, GOOD, GOOD)
    assert imported(config).id != run.id


def test_a_file_without_one_usable_row_is_refused_with_its_first_problem(tmp_path: Path) -> None:
    source = write(tmp_path / "a.json", {"text": "x"})
    config = compose(f"root={tmp_path}/runs", "task=import", f"source={source}")
    with pytest.raises(LwexpError, match=r"no row can be used \(1 read\); .*row 1: messages, conversations or"):
        import_conversations(config)


def test_a_preference_file_gives_pairs_and_its_chosen_answers_as_conversations(tmp_path: Path) -> None:
    """Shape of LLaMA-Factory's ranking files; row 2 lacks its rejected answer."""
    good = {
        "conversations": [{"from": "human", "value": "Hi"}],
        "chosen": {"from": "gpt", "value": "good day"},
        "rejected": {"from": "gpt", "value": "what"},
    }
    source = write(tmp_path / "a.json", good, {**good, "rejected": None})
    run = imported(compose(f"root={tmp_path}/runs", "task=import", f"source={source}"))

    (pair,) = read_rows(run.path / "pairs.jsonl", PreferencePair)
    (conversation,) = read_rows(run.path / "conversations.jsonl", Conversation)
    assert (pair.chosen, pair.rejected) == ("good day", "what")
    assert [message.content for message in conversation.messages] == ["Hi", "good day"]
    assert results_of(run)["tally"].startswith("2 in = 1 kept + 1 ")


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "a.json", {"instruction": "Hi", "output": "Hello"})
    config = compose(f"root={tmp_path}/runs", "task=import", f"source={source}", "dry_run=true")

    assert import_conversations(config) is None
    assert not (tmp_path / "runs").exists()


def test_a_broken_row_stops_the_import_where_that_is_asked_for(tmp_path: Path) -> None:
    source = write(tmp_path / "a.json", {"instruction": "Hi", "output": "Hello"}, {"instruction": "Hi"})
    config = compose(f"root={tmp_path}/runs", "task=import", f"source={source}", "on_bad_row=error")

    with pytest.raises(LwexpError, match=r"a\.json row 2: .*on_bad_row=skip"):
        import_conversations(config)


def test_a_folder_is_read_through_datasets_and_a_hub_id_is_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LongWriter-6k as published: a folder with one JSONL file of messages rows. The hub itself is out of reach."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "LongWriter-6k"
    folder.mkdir()
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello there"}]}
    (folder / "long.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n", encoding="utf-8")
    run = imported(compose(f"root={tmp_path}/runs", "task=import", f"source={folder}"))

    assert run.id.startswith("import-LongWriter-6k-")
    rows = list(read_rows(run.path / "conversations.jsonl", Conversation))
    assert [(row.id, row.actual_words) for row in rows] == [("LongWriter-6k-1", 2), ("LongWriter-6k-2", 2)]
    with pytest.raises(LwexpError, match=r"cannot open the data set .*split test"):
        import_conversations(compose(f"root={tmp_path}/runs", "task=import", f"source={folder}", "split=test"))
    with pytest.raises(LwexpError, match=r"cannot (find|open) the data set THUDM/LongWriter-6k"):
        import_conversations(compose(f"root={tmp_path}/runs", "task=import", "source=THUDM/LongWriter-6k"))


def test_an_import_that_fails_halfway_leaves_no_file_that_looks_whole(tmp_path: Path) -> None:
    source = write(tmp_path / "a.json", GOOD, {"conversations": []})
    config = compose(f"root={tmp_path}/runs", "task=import", f"source={source}", "on_bad_row=error", "name=half")
    with pytest.raises(LwexpError):
        import_conversations(config)
    (folder,) = (tmp_path / "runs").iterdir()
    assert not [path.name for path in folder.iterdir() if path.name.startswith(("conversations", "pairs"))]


@pytest.mark.parametrize(("batch", "groups"), [(32_000_000, 1), (800, 3)])
def test_a_row_as_large_as_a_batch_is_written_alone_and_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, groups: int
) -> None:
    """Small, large, small. A text has neither statistics nor a dictionary, which would hold copies of it."""
    import pyarrow.parquet as pq

    monkeypatch.setattr("lwexp.records.table._BATCH_BYTES", batch)
    large = {"conversations": [GOOD["conversations"][0], {"from": "gpt", "value": "Hello \u4f60\n" * 90}]}
    run = imported(
        compose(f"root={tmp_path}/runs", "task=import", f"source='{write(tmp_path / 'a.json', GOOD, large, GOOD)}'")
    )

    rows = list(read_rows(run.path / "conversations.jsonl", Conversation))
    table = pq.read_table(run.path / "conversations.parquet")
    assert [Conversation(**row) for row in _without_empty(table.to_pylist())] == rows
    about = pq.ParquetFile(run.path / "conversations.parquet").metadata
    assert about.num_row_groups == groups
    columns = {about.schema.column(at).path: about.row_group(0).column(at) for at in range(about.num_columns)}
    assert not columns["messages.list.element.content"].is_stats_set
    assert "RLE_DICTIONARY" not in columns["messages.list.element.content"].encodings
    assert columns["actual_words"].is_stats_set  # the control
    assert "RLE_DICTIONARY" in columns["actual_words"].encodings


def _without_empty(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As the row type has it: a missing weight or reasoning is absent."""
    for row in rows:
        row["messages"] = [{name: value for name, value in m.items() if value is not None} for m in row["messages"]]
    return [{name: value for name, value in row.items() if value is not None} for row in rows]
