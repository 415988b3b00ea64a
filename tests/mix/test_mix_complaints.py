"""Public complaints about rows of data, replayed through whole commands; docs/reliability.md lists them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lwexp.config import compose
from lwexp.mix.importer import import_conversations
from lwexp.mix.mixture import take
from lwexp.mix.resolve import resolve_mixture
from lwexp.recipe.data import select
from lwexp.records import Conversation, Failure, LwexpError, PreferencePair, read_rows
from lwexp.runs import RunDirectory

ASK = {"role": "user", "content": "Write a long novel about a mill and a hundred years."}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("The mill stood by the river.", "No."))
SHAPES: dict[str, dict[str, Any]] = {
    "TRL, plain": {"prompt": ASK["content"], "completion": GOOD["content"]},
    "TRL, messages": {"prompt": [ASK], "completion": [GOOD]},
    "ms-swift": {"query": ASK["content"], "response": GOOD["content"], "history": []},
    "text parts": {"messages": [{**ASK, "content": [{"type": "text", "text": ASK["content"]}]}, GOOD]},
    "developer": {"messages": [{"role": "developer", "content": "Be brief."}, ASK, GOOD]},
    "empty system": {"messages": [{"role": "system", "content": ""}, ASK, GOOD]},
    "name": {"messages": [{**ASK, "name": "kim"}, GOOD]},
}
KTO = {"messages": [ASK, BAD], "label": False}
SWIFT_PAIR = {"messages": [ASK, GOOD], "rejected_messages": [ASK, BAD]}
WEIGHTED = {"messages": [ASK, {**BAD, "weight": 0}, ASK, {**GOOD, "weight": 1}]}


def written(folder: Path, *rows: dict[str, Any], name: str = "set.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def imported(folder: Path, source: Path) -> RunDirectory:
    run = import_conversations(compose(f"root={folder}/runs", "task=import", f"source={source}"))
    assert run is not None
    return run


def selected(folder: Path, source: Path) -> str:
    """The tally of a selection by the offline teacher."""
    counts = "select.counts={en: 9, zh: 0}"
    run = select(compose(f"root={folder}/runs", "task=select", f"source={source}", counts))
    assert run is not None
    return str(run.tally)


def mixed(folder: Path, source: Path, *overrides: str) -> Any:
    """What ``lwexp train mixture=file`` reads."""
    config = compose(f"root={folder}/runs", "mixture=file", f"mixture.path={source}", *overrides)
    return take(resolve_mixture(config), 0, config.objective.rows)


@pytest.mark.parametrize("row", SHAPES.values(), ids=SHAPES)
def test_a_shape_of_row_is_read_at_every_door(row: dict[str, Any], tmp_path: Path) -> None:
    """R13: refused by the import. The other doors are a selection and the mixture of a training."""
    source = written(tmp_path, row)
    (kept,) = read_rows(imported(tmp_path, source).path / "conversations.jsonl", Conversation)
    assert [message.content for message in kept.messages[-2:]] == [ASK["content"], GOOD["content"]]
    assert selected(tmp_path, source) == "1 in = 1 kept"
    assert [row.messages for row in mixed(tmp_path, source).rows] == [kept.messages]


def test_an_answer_of_weight_0_keeps_its_mark_through_an_import(tmp_path: Path) -> None:
    """R13: it was trained on in silence."""
    source = written(tmp_path, WEIGHTED)
    run = imported(tmp_path, source)
    (kept,) = read_rows(run.path / "conversations.jsonl", Conversation)
    (line,) = (run.path / "conversations.jsonl").read_text().splitlines()
    assert [message.get("weight") for message in json.loads(line)["messages"]] == [None, 0, None, None]
    import pyarrow.parquet as pq

    (column,) = pq.read_table(run.path / "conversations.parquet").to_pylist()
    assert Conversation.model_validate(column) == kept
    assert [row.messages for row in mixed(tmp_path, source).rows] == [kept.messages]


def test_rejected_messages_are_a_pair_at_every_door(tmp_path: Path) -> None:
    """R12: they became an SFT conversation in silence. A training with SFT names the mistake, one with DPO takes it."""
    source = written(tmp_path, SWIFT_PAIR)
    (pair,) = read_rows(imported(tmp_path, source).path / "pairs.jsonl", PreferencePair)
    assert (pair.chosen, pair.rejected) == (GOOD["content"], BAD["content"])
    with pytest.raises(LwexpError, match="holds preference pairs, not conversations"):
        mixed(tmp_path, source)
    (row,) = mixed(tmp_path, source, "objective=dpo").rows
    assert (row.chosen, row.rejected) == (pair.chosen, pair.rejected)


def test_a_bad_answer_of_a_kto_set_is_never_trained_on(tmp_path: Path) -> None:
    """R12: the bad answer became an SFT conversation. Its instruction may still be selected."""
    source = written(tmp_path, KTO, {"messages": [ASK, GOOD]})
    run = imported(tmp_path, source)
    (kept,) = read_rows(run.path / "conversations.jsonl", Conversation)
    (failure,) = read_rows(run.path / "import_failures.jsonl", Failure)
    assert (kept.messages[-1].content, failure.reason) == (GOOD["content"], "kto_row")
    taken = mixed(tmp_path, source)
    assert [row.messages[-1].content for row in taken.rows] == [GOOD["content"]]
    assert [failure.reason for failure in taken.failures] == ["kto_row"]
    assert selected(tmp_path, source) == "2 in = 1 kept + 1 duplicate"


def test_a_folder_of_mixed_columns_can_be_selected_from_and_trained_on(tmp_path: Path) -> None:
    """R15: TypeError, because ``meta`` is null in one file and an object in the other."""
    folder = tmp_path / "set"
    folder.mkdir()
    written(folder, {"messages": [ASK, GOOD], "meta": None, "uid": 0}, name="a.jsonl")
    written(folder, {"messages": [{**ASK, "content": "Tea?"}, GOOD], "meta": {"k": "v"}, "uid": "x"}, name="b.jsonl")
    assert selected(tmp_path, folder) == "2 in = 1 kept + 1 other language"  # "Tea?" is too short to tell
    sources = f"mixture.sources={{hub: {{kind: hub, path: {folder}}}}}"
    config = compose(f"root={tmp_path}/runs", sources, "~mixture.sources.drafts")
    assert len(take(resolve_mixture(config), 0, config.objective.rows).rows) == 2


def test_a_whole_section_of_sources_is_added_to_the_mixture(tmp_path: Path) -> None:
    """R21: "no such key; did you mean mixture.sources?". Hydra merges, so the mixture's own sources stay; what is
    missing then says how to leave it out."""
    typed = f"mixture.sources={{f: {{kind: file, path: {written(tmp_path, SHAPES['name'])}}}}}"
    config = compose(f"root={tmp_path}/runs", typed)
    assert list(config.mixture.sources) == ["drafts", "f"]
    with pytest.raises(LwexpError, match=r"or leave this source out: '~mixture\.sources\.drafts'$"):
        resolve_mixture(config)
    alone = compose(f"root={tmp_path}/runs", typed, "~mixture.sources.drafts")
    assert [item.name for item in resolve_mixture(alone)] == ["f"]
    pairs = compose("mixture.pairs={f: {kind: file, path: p.jsonl}}", "~mixture.pairs.long")
    assert list(pairs.mixture.pairs) == ["f"]


@pytest.mark.parametrize("words", [2**63, 10**30])
def test_a_length_beyond_64_bits_costs_its_own_row_alone(words: int, tmp_path: Path) -> None:
    """R16: ArrowInvalid, and the whole import was lost."""
    source = written(tmp_path, SHAPES["name"], SHAPES["name"] | {"required_words": words})
    (failure,) = read_rows(imported(tmp_path, source).path / "import_failures.jsonl", Failure)
    assert failure.reason == "wrong_type"
    assert selected(tmp_path, source) == "2 in = 1 kept + 1 wrong type"
    taken = mixed(tmp_path, source)
    assert (len(taken.rows), [failure.reason for failure in taken.failures]) == (1, ["wrong_type"])
