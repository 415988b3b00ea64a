"""Text that is given out while tokens still come."""

import random
from pathlib import Path
from typing import Any

import pytest

from lwexp.pack.tokenizer import load_tokenizer
from lwexp.serve.text_stream import TextStream


@pytest.fixture(scope="module")
def tokenizer(llama_folder: Path) -> Any:
    return load_tokenizer(llama_folder, revision=None, chat=None)


def streamed(tokenizer: Any, tokens: list[int], *stops: str) -> tuple[list[str], bool]:
    text = TextStream(tokenizer, stops)
    pieces = []
    for token in tokens:
        pieces.append(text.add(token))
        if text.is_stopped:
            break
    return [*pieces, text.finish()], text.is_stopped


def test_the_pieces_add_up_to_the_whole_text(tokenizer: Any) -> None:
    """Random tokens: cut characters, special tokens and whitespace anywhere. Witness: transformers' decode."""
    draws = random.Random(0)
    for _ in range(200):
        tokens = [draws.randrange(len(tokenizer)) for _ in range(draws.randrange(1, 60))]
        pieces, _ = streamed(tokenizer, tokens)
        assert "".join(pieces) == tokenizer.decode(tokens, skip_special_tokens=True).strip()


def test_a_stop_over_several_tokens_never_shows(tokenizer: Any) -> None:
    tokens = tokenizer.encode("Hello there, 河流 old maps. END of it", add_special_tokens=False)
    pieces, is_stopped = streamed(tokenizer, tokens, "nothing", ". END")
    assert is_stopped
    assert "".join(pieces) == "Hello there, 河流 old maps"
    assert sum(map(bool, pieces)) > 3  # text came before the end was known
    pieces, is_stopped = streamed(tokenizer, tokens, ". ENDE")
    assert not is_stopped
    assert "".join(pieces) == "Hello there, 河流 old maps. END of it"


def test_the_first_of_two_stops_ends_the_text(tokenizer: Any) -> None:
    tokens = tokenizer.encode("one two three", add_special_tokens=False)
    assert "".join(streamed(tokenizer, tokens, "three", "two")[0]) == "one"
    assert "".join(streamed(tokenizer, tokens, "one")[0]) == ""
