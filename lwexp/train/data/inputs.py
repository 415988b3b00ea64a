"""What a run is made from, before packing: its tokenizer, and how long the answers are that it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lwexp.config.schema import Config
from lwexp.pack.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from lwexp.records import Conversation, PreferencePair, atomic
from lwexp.train.model.dimensions import model_sizes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def prepare_tokenizer(
    config: Config, folder: Path, conversations: Sequence[Conversation] | None, start_from: Path | None
) -> PreTrainedTokenizerFast:
    """The start model's tokenizer, the base model's, or one fitted to the conversations and kept in the run."""
    if start_from is not None:
        return load_tokenizer(start_from, None, config.model.chat)
    if config.model.tokenizer == "from_path":
        assert config.model.path is not None
        return load_tokenizer(config.model.path, config.model.revision, config.model.chat)
    kept = folder / "tokenizer"
    if not kept.is_dir():
        texts = (message.content for row in conversations or () for message in row.messages)
        fitted = train_tokenizer(texts, model_sizes(config.model).vocab_size, config.model.chat)
        with atomic(kept) as aside:
            save_tokenizer(fitted, aside)
    # Read back even when it was just fitted, so that every start of the run sees the same one.
    return load_tokenizer(kept, None, config.model.chat)


def max_train_words(conversations: Sequence[Conversation] | None, pairs: Sequence[PreferencePair] | None) -> int:
    """Words of the longest answer that is trained towards: what bounds the model's outputs."""
    answers = [row.actual_words for row in conversations or ()] + [row.chosen_words for row in pairs or ()]
    return max(answers, default=0)
