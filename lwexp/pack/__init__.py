"""pack: conversations or preference pairs become token arrays, packs and a batch plan.

Reads conversations or preference pairs and a tokenizer; writes one folder of flat arrays, which ``train`` maps
into memory, with the report that accounts for every token. Never touches models, devices or the network (but for
fetching a tokenizer by hub id), and never cuts a document short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

    from lwexp.config.data import PackConfig
    from lwexp.pack.packing import PackReport
    from lwexp.records import Conversation, PreferencePair

__all__ = ["build_packs"]


def build_packs(
    conversations: Collection[Conversation] | None,
    pairs: Collection[PreferencePair] | None,
    tokenizer: PreTrainedTokenizerFast,
    config: PackConfig,
    out: Path,
) -> PackReport:
    """Tokenise and pack into the folder ``out``, or return the report of what is already there.

    Args:
        conversations: For SFT; null when packing pairs. Read in order, perhaps twice: a list, or ``StoredRows``.
        pairs: For DPO; null when packing conversations. Both answers of a pair go into one pack.
        tokenizer: From ``pack.tokenizer``: it knows its chat format.
        config: Capacity, and what happens to a document that exceeds it.
        out: Replaced in one step when its fingerprint (of data, tokenizer and settings) differs. One process at
            a time may build it: call on rank 0, under the run's lock.

    Raises:
        LwexpError: If there is nothing to pack, or a document is too long and ``config.overflow`` is "error".
    """
    from lwexp.pack.build import build

    return build(conversations, pairs, tokenizer, config, out)
