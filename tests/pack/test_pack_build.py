"""From rows to a folder of packs, and back to batches that can be read by eye."""

import json
import pickle
import resource

import numpy as np
import pytest
import torch

from lwexp.config.data import PackConfig
from lwexp.extend import CHAT_FORMATS
from lwexp.pack import tokens as tokens_module
from lwexp.pack.build import build_packs
from lwexp.pack.chat import chat_of, encode_stream
from lwexp.pack.dataset import PackedDataset
from lwexp.pack.rows import ConversationRows, PairRows
from lwexp.pack.tokenizer import train_tokenizer
from lwexp.pack.tokens import growing_array
from lwexp.records import LwexpError
from tests.pack.pack_rows import TEXT, conversation, encode_conversation, pair, turns


def config(max_tokens=64, overflow="error", strategy="best_fit_decreasing"):
    return PackConfig(max_tokens=max_tokens, overflow=overflow, strategy=strategy, order="balanced")


def ids_of(tokenizer, *tokens):
    return [tokenizer.convert_tokens_to_ids(token) for token in tokens]


@pytest.fixture(scope="module")
def bytewise():
    """A GLM-4 tokenizer without a single merge: one token a byte, so that lengths can be counted."""
    return train_tokenizer(TEXT, 256 + len(CHAT_FORMATS["glm4"]().control_tokens), "glm4")


ROWS = [conversation("ab", "ab", "c"), conversation("d", "d", "ef"), conversation("multi", "g", "h", "i", "j")]


@pytest.fixture
def packed(bytewise, tmp_path):
    """ab: 2 begin + 4 question + 1 role + 2 answer + 1 end = 10 tokens; d: 2 + 3 + 1 + 3 + 1 = 10; multi: 15."""
    build_packs(ROWS, ConversationRows(), bytewise, config(25), tmp_path / "packs")
    return PackedDataset(tmp_path / "packs")


def test_two_packs_by_eye(packed, bytewise):
    """Capacity 25: multi (15) opens a pack, ab (10) fills it, d (10) opens the second."""
    g, s, u, a, end, newline = ids_of(bytewise, "[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|endoftext|>", "Ċ")
    letter = {name: bytewise.convert_tokens_to_ids(name) for name in "abcdefghij"}
    multi = [g, s, u, newline, letter["g"], a, newline, letter["h"]]
    multi += [u, newline, letter["i"], a, newline, letter["j"], end]
    ab = [g, s, u, newline, letter["a"], letter["b"], a, newline, letter["c"], end]
    pack = packed[0]

    assert packed.num_packs == 2
    assert packed.num_documents == 3
    assert pack.document_ids == (2, 0)
    assert pack.input_ids.tolist() == [multi + ab]
    assert pack.position_ids.tolist() == [[*range(15), *range(10)]]
    assert pack.cu_seqlens.tolist() == [0, 15, 25]
    assert pack.lengths == (15, 10)
    assert pack.max_length == 15
    # Targets of multi are tokens 6, 7, 8 and 12, 13, 14; of ab tokens 7, 8, 9, which is 22, 23, 24 in the pack.
    assert pack.source_positions.tolist() == [5, 6, 7, 11, 12, 13, 21, 22, 23]
    assert pack.target_ids.tolist() == [
        newline, letter["h"], u, newline, letter["j"], end, newline, letter["c"], end,
    ]  # fmt: skip
    assert pack.target_documents.tolist() == [0] * 6 + [1] * 3
    assert pack.pack_id == 0
    assert packed[1].document_ids == (1,)
    assert packed[1].position_ids.tolist() == [list(range(10))]


def test_packs_know_their_sums(packed):
    """Pack 0 holds 15 and 10 tokens (6 and 3 targets), pack 1 holds 10 (4 targets: newline, e, f, end)."""
    assert packed.costs.tolist() == [15**2 + 10**2, 10**2]
    assert packed.token_counts.tolist() == [25, 10]
    assert packed.target_counts.tolist() == [9, 4]
    assert packed.document_counts.tolist() == [2, 1]
    assert str(packed.report) == (
        "conversations: 3 in = 3 kept; 2 packs x 25 = 35 tokens (13 targets) + 15 empty (70.00% full)"
    )


def test_no_document_predicts_the_first_token_of_the_next(packed):
    """The first tokens are never targets, so no hidden state of another document is a source of one."""
    pack = packed[0]
    bounds = pack.cu_seqlens
    owner = torch.repeat_interleave(torch.arange(len(pack.lengths)), torch.tensor(pack.lengths))

    assert torch.equal(owner[pack.source_positions], pack.target_documents)
    assert torch.equal(pack.input_ids[0, pack.source_positions + 1], pack.target_ids)
    assert not set((pack.source_positions + 1).tolist()) & set(bounds.tolist())


def test_a_document_that_starts_with_a_target_is_our_bug(packed):
    is_target = np.load(packed.folder / "is_target.npy")
    is_target[0] = 1
    np.save(packed.folder / "is_target.npy", is_target)
    (packed.folder / "checksums.json").unlink()  # they would notice it first

    with pytest.raises(AssertionError, match="nothing predicts"):
        PackedDataset(packed.folder)[0]


def test_documents_of_packs_are_the_conversations_encoded_alone(tokenizer, tmp_path):
    rows = [conversation(f"c{i}", "Hello " * (i % 5), "well " * i, "大海", "蓝色") for i in range(40)]
    build_packs(rows, ConversationRows(), tokenizer, config(300), tmp_path / "packs")
    data = PackedDataset(tmp_path / "packs")
    seen: list[int] = []
    for pack in (data[number] for number in range(data.num_packs)):
        parts = pack.input_ids[0].split(list(pack.lengths))
        for place, (number, ids) in enumerate(zip(pack.document_ids, parts, strict=True)):
            alone = encode_conversation(tokenizer, chat_of(tokenizer), rows[number].messages)
            assert ids.tolist() == alone.ids.tolist()
            assert pack.target_ids[pack.target_documents == place].tolist() == alone.ids[alone.is_target == 1].tolist()
            seen.append(number)

    assert sorted(seen) == list(range(40))
    assert [name.name for name in data.document_names()] == [row.id for row in rows]


def test_answers_of_a_pair_share_a_pack_and_a_prompt(glm4, tmp_path):
    pairs = [pair(f"p{i}", turns("Q" * (i + 1)), "well " * (i + 1), "no") for i in range(9)]
    pairs.append(pair("multi", turns("Q", "earlier answer", "R"), "yes", "no"))
    report = build_packs(pairs, PairRows(), glm4, config(100), tmp_path / "packs")
    data = PackedDataset(tmp_path / "packs")
    newline, end = ids_of(glm4, "Ċ", "<|endoftext|>")
    seen: list[int] = []
    for pack in (data[number] for number in range(data.num_packs)):
        chosen, rejected = pack.document_ids[::2], pack.document_ids[1::2]
        assert [number + 1 for number in chosen] == list(rejected)
        assert all(number % 2 == 0 for number in chosen)
        seen += chosen
        for place, number in enumerate(rejected):
            learned = pack.target_ids[pack.target_documents == 2 * place + 1].tolist()
            assert learned == [newline, *glm4("no", add_special_tokens=False).input_ids, end], number

    assert sorted(seen) == list(range(0, 20, 2))
    assert data.kind == "pairs"
    assert report.tally == (10, 10, {})
    assert data.document_names()[1] == ("p0/rejected", "made")


def test_a_pair_that_exceeds_a_pack_is_dropped_whole(bytewise, tmp_path):
    """8 tokens of frame and question for each answer, so 16 + 2 x 1 fit into 20, and 16 + 1 + 4 do not."""
    pairs = [pair("fits", turns("q"), "a", "b"), pair("long", turns("q"), "a", "bbbb")]
    report = build_packs(pairs, PairRows(), bytewise, config(20, "drop"), tmp_path / "packs")

    assert str(report.tally) == "2 in = 1 kept + 1 too long"
    assert (report.dropped.documents, report.dropped.tokens) == (2, 21)
    assert PackedDataset(tmp_path / "packs")[0].lengths == (9, 9)


def test_a_document_that_exceeds_a_pack_stops_the_build_and_says_what_would_help(bytewise, tmp_path):
    rows = [*ROWS, conversation("big", "q", "x" * 20), conversation("huge", "q", "x" * 91, source="books")]

    with pytest.raises(LwexpError) as error:
        build_packs(rows, ConversationRows(), bytewise, config(16), tmp_path / "packs")
    assert str(error.value) == (
        "2 of 5 conversations are longer than a pack (pack.max_tokens=16); the longest is huge (source books) with "
        "99 tokens; set pack.max_tokens=99 or more, or pack.overflow=drop to continue with 3"
    )
    assert list(tmp_path.iterdir()) == []


def test_dropped_documents_are_counted_and_leave_no_gap(bytewise, tmp_path):
    rows = [conversation("huge", "q", "x" * 91), *ROWS]
    report = build_packs(rows, ConversationRows(), bytewise, config(16, "drop"), tmp_path / "packs")
    data = PackedDataset(tmp_path / "packs")

    assert str(report.tally) == "4 in = 3 kept + 1 too long"
    assert report.received.tokens == 99 + 35
    assert [name.name for name in data.document_names()] == ["ab", "d", "multi"]
    assert sorted(number for k in range(data.num_packs) for number in data[k].document_ids) == [0, 1, 2]


@pytest.mark.parametrize(
    ("rows", "settings", "problem"),
    [
        ([], config(), "nothing to pack.*check mixture.sources"),
        ([conversation("huge", "q", "x" * 91)], config(16, "drop"), "set pack.max_tokens=99 or more$"),
        (
            [conversation("odd", "q", "a", "q")],
            config(),
            r"odd \(source made\): ends with user, wanted assistant at the end",
        ),
    ],
)
def test_rows_that_cannot_be_packed_are_named(bytewise, tmp_path, rows, settings, problem):
    with pytest.raises(LwexpError, match=problem):
        build_packs(rows, ConversationRows(), bytewise, settings, tmp_path / "packs")


def test_the_same_input_is_built_once_and_any_other_anew(bytewise, glm4, tmp_path, monkeypatch):
    out = tmp_path / "packs"
    calls: list[int] = []

    def counting(*args, **more):
        calls.append(1)
        return encode_stream(*args, **more)

    monkeypatch.setattr(tokens_module, "encode_stream", counting)

    first = build_packs(ROWS, ConversationRows(), bytewise, config(25), out)
    assert build_packs(list(ROWS), ConversationRows(), bytewise, config(25), out) == first
    assert len(calls) == 1
    changes = [
        (ROWS[:2], bytewise, config(25)),
        ([*ROWS[:2], conversation("multi", "g", "h", "i", "k")], bytewise, config(25)),
        (ROWS, glm4, config(25)),
        (ROWS, glm4, config(26)),
        (ROWS, glm4, config(26, "drop")),
    ]
    for number, (rows, tokenizer, settings) in enumerate(changes, start=2):
        build_packs(rows, ConversationRows(), tokenizer, settings, out)
        assert len(calls) == number
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packs"]


def test_what_a_killed_build_left_is_swept_away(bytewise, tmp_path):
    torn = tmp_path / "packs.tmp"
    torn.mkdir()
    (torn / "tokens.npy").write_bytes(b"half")
    build_packs(ROWS, ConversationRows(), bytewise, config(25), tmp_path / "packs")

    assert PackedDataset(tmp_path / "packs").num_documents == 3
    assert not torn.exists()


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing_behind(bytewise, tmp_path):
    """A limit of 200 bytes a file stands in for the full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    try:
        with pytest.raises(LwexpError, match=r"cannot write packs.*free some space"):
            build_packs(ROWS, ConversationRows(), bytewise, config(25), tmp_path / "packs")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_the_log_ends_with_the_tally(bytewise, tmp_path, caplog):
    caplog.set_level("INFO", logger="lwexp")
    build_packs(ROWS, ConversationRows(), bytewise, config(25), tmp_path / "packs")
    build_packs(ROWS, ConversationRows(), bytewise, config(25), tmp_path / "packs")

    first, second = caplog.messages
    assert first.startswith("packed conversations: 3 in = 3 kept; 2 packs x 25 = 35 tokens")
    assert "up to date: conversations: 3 in = 3 kept" in second


def test_a_folder_that_is_not_ours_is_left_alone(bytewise, tmp_path):
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "thesis.txt").write_text("years of work")

    with pytest.raises(LwexpError, match="holds other files"):
        build_packs(ROWS, ConversationRows(), bytewise, config(25), tmp_path / "packs")
    assert (tmp_path / "packs" / "thesis.txt").read_text() == "years of work"


def test_a_file_that_lost_its_end_is_noticed_when_opening(packed):
    path = packed.folder / "tokens.npy"
    path.write_bytes(path.read_bytes()[:-4])

    with pytest.raises(LwexpError, match=r"tokens.npy has 264 bytes, 268 were written; delete .*packs and rerun"):
        PackedDataset(packed.folder)
    (packed.folder / "checksums.json").unlink()  # packs of earlier versions have none
    with pytest.raises(LwexpError, match=r"no finished packs.*delete it"):
        PackedDataset(packed.folder)
    with pytest.raises(LwexpError, match="no finished packs"):
        PackedDataset(packed.folder / "nowhere")


@pytest.mark.parametrize(
    "name",
    [f"{name}.npy" for name in ("tokens", "is_target", "offsets", "targets", "packs", "pack_offsets", "labels")]
    + ["documents.jsonl", "meta.json"],
)
def test_one_changed_byte_in_any_file_of_the_packs_is_noticed(packed, name):
    """The last byte: the headers stay right, and so do all lengths."""
    path = packed.folder / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(LwexpError, match=rf"{name} has changed since it was written; delete .*packs and rerun"):
        PackedDataset(packed.folder)
    path.write_bytes(content)  # negative control
    assert PackedDataset(packed.folder).num_documents == 3


def test_batches_of_tokens_do_not_change_the_arrays(bytewise, tmp_path, monkeypatch):
    build_packs(ROWS, ConversationRows(), bytewise, config(25), tmp_path / "whole")
    monkeypatch.setattr(tokens_module, "_BATCH_CHARACTERS", 1)
    build_packs(ROWS, ConversationRows(), bytewise, config(25), tmp_path / "single")

    for name in ("tokens", "is_target", "offsets", "targets", "packs", "pack_offsets"):
        one, other = (np.load(tmp_path / folder / f"{name}.npy") for folder in ("whole", "single"))
        assert one.dtype == other.dtype
        assert np.array_equal(one, other), name


def test_disk_use_is_five_bytes_a_token_and_little_a_document(packed):
    assert np.load(packed.folder / "tokens.npy").dtype == np.int32
    assert np.load(packed.folder / "is_target.npy").dtype == np.uint8
    assert json.loads((packed.folder / "meta.json").read_text())["report"]["packed"]["tokens"] == 35


def test_an_array_written_in_pieces_opens_as_one(tmp_path):
    """The header of 2 values and that of 3,000,000 have the same size."""
    with growing_array(tmp_path / "x.npy", np.uint8) as append:
        append(np.array([7], np.uint8))
        append(np.zeros(3_000_000, np.uint8))

    values = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert values.shape == (3_000_001,)
    assert values[0] == 7


def test_a_dataset_is_sent_to_workers_as_a_path(packed):
    assert len(pickle.dumps(packed)) < 500
    assert torch.equal(pickle.loads(pickle.dumps(packed))[0].input_ids, packed[0].input_ids)


def test_a_batch_moves_with_its_plain_numbers(packed):
    moved = packed[0].to("meta")

    assert moved.input_ids.is_meta
    assert moved.cu_seqlens.is_meta
    assert (moved.lengths, moved.max_length, moved.document_ids) == ((15, 10), 15, (2, 0))
