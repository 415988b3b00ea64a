"""Which changes rebuild the packs: twelve that must, eight that must not."""

import json
import logging
import shutil

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from lwexp.config.data import PackConfig
from lwexp.pack import build as build_module
from lwexp.pack.build import build_packs
from lwexp.pack.rows import ConversationRows, PairRows
from lwexp.pack.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from lwexp.records import Conversation, Message, StoredRows, write_rows
from tests.pack.pack_rows import TEXT, conversation, pair, turns

ROWS = [conversation("ab", "ab", "c"), conversation("d", "d", "ef"), conversation("multi", "g", "h", "i", "j")]
SETTINGS = PackConfig(max_tokens=64, overflow="error", strategy="exact_fit", order="balanced")


@pytest.fixture
def built(glm4, tmp_path, monkeypatch):
    """Packs of ROWS, and a function that says whether a call builds anew."""
    out = tmp_path / "packs"
    calls: list[int] = []
    real = build_module._write

    def counting(*args):
        calls.append(1)
        return real(*args)

    monkeypatch.setattr(build_module, "_write", counting)
    build_packs(ROWS, ConversationRows(), glm4, SETTINGS, out)

    def is_rebuilt(rows=ROWS, tokenizer=glm4, settings=SETTINGS, kind=None, folder=out):
        before = len(calls)
        build_packs(rows, kind or ConversationRows(), tokenizer, settings, folder)
        return len(calls) > before

    assert calls == [1]
    return is_rebuilt


def changed(row, **values):
    return row.model_copy(update=values)


def with_setting(**values):
    return SETTINGS.model_copy(update=values)


def edited(tokenizer, **parts):
    """A tokenizer whose serialised form differs, with its chat format."""
    tree = json.loads(tokenizer.backend_tokenizer.to_str())
    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(tree | parts)))
    made.init_kwargs["lwexp_chat"] = tokenizer.init_kwargs["lwexp_chat"]
    return made


MATTERS = {
    "one letter of an answer": lambda glm4: {"rows": [*ROWS[:2], conversation("multi", "g", "h", "i", "k")]},
    "who says it": lambda glm4: {
        "rows": [
            changed(ROWS[0], messages=(Message(role="system", content="ab"), *turns("x", "c"))),
            *ROWS[1:],
        ]
    },
    "a name": lambda glm4: {"rows": [changed(ROWS[0], id="ba"), *ROWS[1:]]},
    "a source": lambda glm4: {"rows": [changed(ROWS[0], source="books"), *ROWS[1:]]},
    "the order": lambda glm4: {"rows": [ROWS[1], ROWS[0], ROWS[2]]},
    "a row fewer": lambda glm4: {"rows": ROWS[:2]},
    "where one text ends": lambda glm4: {"rows": [conversation("ab", "a", "bc"), *ROWS[1:]]},
    "the vocabulary": lambda glm4: {"tokenizer": train_tokenizer(TEXT, 300, "glm4")},
    "the normaliser": lambda glm4: {"tokenizer": edited(glm4, normalizer={"type": "Lowercase"})},
    "the chat format": lambda glm4: {"tokenizer": train_tokenizer(TEXT, 400, "llama31")},
    "the capacity": lambda glm4: {"settings": with_setting(max_tokens=65)},
    "what happens to long ones": lambda glm4: {"settings": with_setting(overflow="drop")},
    "the strategy": lambda glm4: {"settings": with_setting(strategy="best_fit")},
    "pairs of the same texts": lambda glm4: {"rows": [pair("ab", turns("ab"), "c", "d")], "kind": PairRows()},
}


@pytest.mark.parametrize("what", MATTERS)
def test_what_changes_the_arrays_is_built_anew(built, glm4, what):
    assert built(**MATTERS[what](glm4))
    assert built()  # and the way back is a change too


def saved_and_opened(tokenizer, folder):
    save_tokenizer(tokenizer, folder)
    return load_tokenizer(folder)


def truncating(tokenizer, folder):
    other = saved_and_opened(tokenizer, folder)
    other.backend_tokenizer.enable_truncation(4)
    other.backend_tokenizer.enable_padding()
    return other


def stored(folder):
    write_rows(folder / "rows.jsonl", ROWS)
    return StoredRows(folder / "rows.jsonl", Conversation)


DOES_NOT = {
    "a copy of the rows": lambda glm4, folder: {"rows": [changed(row) for row in ROWS]},
    "rows from a file": lambda glm4, folder: {"rows": stored(folder)},
    "counts of words": lambda glm4, folder: {"rows": [changed(row, actual_words=9, required_words=8) for row in ROWS]},
    "teacher and cost": lambda glm4, folder: {"rows": [changed(row, teacher="t", cost_usd=1.0) for row in ROWS]},
    "plan and finish reasons": lambda glm4, folder: {
        "rows": [changed(row, plan="p", finish_reasons=("stop",)) for row in ROWS]
    },
    "the language label": lambda glm4, folder: {"rows": [changed(row, language="zh") for row in ROWS]},
    "a saved tokenizer": lambda glm4, folder: {"tokenizer": saved_and_opened(glm4, folder / "t")},
    "truncation left in it": lambda glm4, folder: {"tokenizer": truncating(glm4, folder / "t")},
    "the order of steps": lambda glm4, folder: {"settings": with_setting(order="random")},
}


@pytest.mark.parametrize("what", DOES_NOT)
def test_what_cannot_change_the_arrays_is_reused(built, glm4, tmp_path, what):
    assert not built(**DOES_NOT[what](glm4, tmp_path))


def test_a_moved_folder_and_a_louder_log_are_reused(built, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    shutil.move(tmp_path / "packs", tmp_path / "elsewhere")

    assert not built(folder=tmp_path / "elsewhere")
    assert built()  # control: the old place is empty


def test_rows_in_a_file_give_the_same_arrays_as_rows_in_memory(glm4, tmp_path):
    write_rows(tmp_path / "rows.jsonl", ROWS)
    build_packs(ROWS, ConversationRows(), glm4, SETTINGS, tmp_path / "memory")
    build_packs(
        StoredRows(tmp_path / "rows.jsonl", Conversation), ConversationRows(), glm4, SETTINGS, tmp_path / "file"
    )

    for name in ("tokens", "is_target", "offsets", "targets", "packs", "pack_offsets"):
        assert (tmp_path / "memory" / f"{name}.npy").read_bytes() == (tmp_path / "file" / f"{name}.npy").read_bytes()


def test_a_file_of_rows_counts_without_blank_lines(tmp_path):
    write_rows(tmp_path / "rows.jsonl", ROWS)
    with (tmp_path / "rows.jsonl").open("a") as out:
        out.write("\n\n")
    rows = StoredRows(tmp_path / "rows.jsonl", Conversation)

    assert len(rows) == 3
    assert [row.id for row in rows] == [row.id for row in rows] == ["ab", "d", "multi"]
    assert ROWS[1] in rows
    assert conversation("no", "q", "a") not in rows
