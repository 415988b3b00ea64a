"""pack: an objective's rows become token arrays, packs and a batch plan.

Reads conversations, preference pairs or rows of a plugin, and a tokenizer; writes one folder of flat arrays, which
``train`` maps into memory, with the report that accounts for every token. Never touches models, devices or the
network (but for fetching a tokenizer by hub id), and never cuts a document short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

    from lwexp.config.data import PackConfig
    from lwexp.extend import TrainingRows
    from lwexp.extend.training_rows import R
    from lwexp.pack.packing import PackReport

__all__ = ["build_packs"]


def build_packs(
    rows: Collection[R], kind: TrainingRows[R], tokenizer: PreTrainedTokenizerFast, config: PackConfig, out: Path
) -> PackReport:
    """Tokenise and pack into the folder ``out``, or return the report of what is already there.

    Args:
        rows: Read in order, perhaps twice: a list, or ``StoredRows``.
        kind: How they become documents, such as ``pack.rows.PairRows()``. All documents of a row go into one pack.
        tokenizer: From ``pack.tokenizer``: it knows its chat format.
        config: Capacity, and what happens to a document that exceeds it.
        out: Replaced in one step when its fingerprint (of data, tokenizer and settings) differs. One process at
            a time may build it: call on rank 0, under the run's lock.

    Raises:
        LwexpError: If there is nothing to pack, or a document is too long and ``config.overflow`` is "error".
    """
    from lwexp.pack.build import build

    return build(rows, kind, tokenizer, config, out)
