"""What inspect_batch shows: targets, boundaries, weights; readable on a terminal and in a pipe."""

import io

import pytest
from rich.console import Console

from lwexp.config.data import PackConfig
from lwexp.extend import CHAT_FORMATS
from lwexp.pack.build import build_packs
from lwexp.pack.dataset import PackedDataset
from lwexp.pack.inspection import inspect_packs
from lwexp.pack.rows import ConversationRows
from lwexp.pack.tokenizer import train_tokenizer
from tests.pack.pack_rows import TEXT, conversation

ROWS = [conversation("ab", "ab", "c"), conversation("d", "d", "ef"), conversation("multi", "g", "h", "i", "j")]


@pytest.fixture(scope="module")
def bytewise():
    return train_tokenizer(TEXT, 256 + len(CHAT_FORMATS["glm4"]().control_tokens), "glm4")


def shown(tokenizer, folder, rows, *, tokens=4000, terminal=False, weigh=None, packs=(0,)):
    config = PackConfig(max_tokens=tokens, overflow="error", strategy="best_fit_decreasing", order="balanced")
    build_packs(rows, ConversationRows(), tokenizer, config, folder / "packs")
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=terminal, color_system="standard" if terminal else None, highlight=False,
        soft_wrap=True, width=200,
    )  # fmt: skip
    inspect_packs(PackedDataset(folder / "packs"), tokenizer, packs, weigh=weigh, console=console)
    return out.getvalue()


def test_in_a_pipe_braces_enclose_targets(bytewise, tmp_path):
    text = shown(bytewise, tmp_path, ROWS, tokens=25)

    assert "conversations: 3 in = 3 kept; 2 packs x 25" in text
    assert "=== pack 0: 2 documents, 25 of 25 tokens, 9 targets ===" in text
    assert "--- document 2: multi (source made), 15 tokens, 6 targets ---" in text
    assert "[gMASK]<sop><|user|>\nab<|assistant|>{+\nc<|endoftext|>+}" in text
    assert "pack 1" not in text
    assert "\x1b" not in text


def test_on_a_terminal_targets_are_green_and_the_rest_is_dim(bytewise, tmp_path):
    text = shown(bytewise, tmp_path, ROWS[:1], terminal=True)

    assert "\x1b[2m[gMASK]<sop><|user|>\x1b[0m\n\x1b[2mab<|assistant|>\x1b[0m\n\x1b[32mc<|endoftext|>\x1b[0m" in text
    assert "{+" not in text.split("===")[2]


def test_packs_come_in_the_order_asked_for(bytewise, tmp_path):
    text = shown(bytewise, tmp_path, ROWS, tokens=25, packs=(1, 0))

    assert text.index("=== pack 1") < text.index("=== pack 0")


def test_each_document_has_its_share_of_the_step(bytewise, tmp_path):
    """Weight 1/20 a target: multi has 6 of them, 30% of the step, ab has 3, 15%."""
    text = shown(bytewise, tmp_path, ROWS, tokens=25, weigh=lambda pack: [0.05] * len(pack.target_ids))

    assert "multi (source made), 15 tokens, 6 targets, weight 30.000% of the step, 5.00e-02 a token" in text
    assert "ab (source made), 10 tokens, 3 targets, weight 15.000% of the step" in text


def test_the_middle_of_a_long_answer_is_cut_and_counted(bytewise, tmp_path):
    """1,000 characters, a line break and <|endoftext|> (13) make 1,014: 300 at either end leave 414."""
    text = shown(bytewise, tmp_path, [conversation("long", "q", "x" * 1000)])

    assert "[... 414 characters ...]" in text
    assert "<|endoftext|>+}" in text


def test_the_middle_of_many_documents_is_counted_with_its_tokens(bytewise, tmp_path):
    """20 documents of 9 tokens: the first 6 and the last 2 are shown, 12 with 108 tokens are not."""
    text = shown(bytewise, tmp_path, [conversation(f"n{i}", "q", "a") for i in range(20)])

    assert text.count("--- document") == 8
    assert "--- 12 more documents, 108 tokens ---" in text


def test_a_document_cannot_steer_the_terminal(bytewise, tmp_path):
    text = shown(bytewise, tmp_path, [conversation("evil", "q", "\x1b]0;owned\x07 [red]a[/red]")], terminal=True)

    assert "<U+001B>]0;owned<U+0007> [red]a[/red]" in text
    assert "\x1b]0" not in text
