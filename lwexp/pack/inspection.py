"""Prints training packs: decoded text with target tokens, document boundaries and loss weights.

On a terminal targets are green and the rest is dim; in a pipe ``{+`` and ``+}`` enclose them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from lwexp.text.plain import plural

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from lwexp.pack.dataset import DocumentName, PackBatch, PackedDataset

# A longer text is shown with this many characters at each end, a pack of many documents with the first and last few.
_SHOWN_CHARACTERS = 300
_FIRST_DOCUMENTS, _LAST_DOCUMENTS = 6, 2
_STYLES = {True: "green", False: "dim"}

Weigh = Callable[["PackBatch"], "Sequence[float] | None"]


def inspect_packs(
    dataset: PackedDataset,
    tokenizer: PreTrainedTokenizerFast,
    pack_ids: Iterable[int],
    *,
    weigh: Weigh | None = None,
    console: Console | None = None,
) -> None:
    """Print packs.

    Args:
        dataset: The packs.
        tokenizer: The one they were built with.
        pack_ids: Which packs, in this order.
        weigh: Returns the weight of each target of a pack in its step's loss; None shows no weights.
        console: Where to print; None for standard output.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    names = dataset.document_names()
    console.print(Text(str(dataset.report)))
    legend = "green" if console.is_terminal else "{+ and +}"
    console.print(Text(f"{legend}: target tokens, which carry loss; the rest is context."))
    for pack_id in pack_ids:
        pack = dataset[pack_id]
        tokens, targets = sum(pack.lengths), len(pack.target_ids)
        heading = (
            f"\n=== pack {pack_id}: {plural(len(pack.lengths), 'document')}, {tokens:,} of {dataset.report.capacity:,} "
        )
        console.print(Text(f"{heading}tokens, {targets:,} targets ===", style="bold"))
        _show_documents(pack, names, tokenizer, weigh(pack) if weigh else None, console)


def _show_documents(
    pack: PackBatch,
    names: Sequence[DocumentName],
    tokenizer: PreTrainedTokenizerFast,
    weights: Sequence[float] | None,
    console: Console,
) -> None:
    """Print the documents of a pack; if there are many, those in the middle are only counted."""
    starts = pack.cu_seqlens.tolist()
    owners = pack.target_documents.tolist()
    targets = set((pack.source_positions + 1).tolist())
    ids = pack.input_ids[0].tolist()
    last = len(pack.lengths) - _LAST_DOCUMENTS
    for place, (number, length) in enumerate(zip(pack.document_ids, pack.lengths, strict=True)):
        if _FIRST_DOCUMENTS <= place < last:
            if place == _FIRST_DOCUMENTS:
                hidden = pack.lengths[place:last]
                console.print(
                    Text(f"--- {plural(len(hidden), 'more document')}, {sum(hidden):,} tokens ---", style="bold blue")
                )
            continue
        mine = [index for index, owner in enumerate(owners) if owner == place]
        heading = f"--- document {number}: {names[number].name} (source {names[number].source}), {length:,} tokens, "
        heading += f"{len(mine):,} targets"
        if weights is not None and mine:
            share = sum(weights[index] for index in mine)
            heading += f", weight {share:.3%} of the step, {share / len(mine):.2e} a token"
        console.print(Text(heading + " ---", style="bold blue"))
        console.print(_text_of(range(starts[place], starts[place + 1]), ids, targets, tokenizer, console))


def _text_of(
    places: Iterable[int], ids: Sequence[int], targets: set[int], tokenizer: PreTrainedTokenizerFast, console: Console
) -> Text:
    """Text of one document, in runs of targets and of other tokens."""
    shown = Text()
    for is_target, stretch in groupby(places, key=targets.__contains__):
        text = tokenizer.decode([ids[place] for place in stretch], skip_special_tokens=False)
        if (hidden := len(text) - 2 * _SHOWN_CHARACTERS) > 0:
            text = f"{text[:_SHOWN_CHARACTERS]} [... {hidden:,} characters ...] {text[-_SHOWN_CHARACTERS:]}"
        text = _harmless(text)
        if console.is_terminal:
            shown.append(text, style=_STYLES[is_target])
        else:
            shown.append(f"{{+{text}+}}" if is_target else text)
    return shown


def _harmless(text: str) -> str:
    """Show control characters as code points: a document must not move the cursor or change the terminal's title."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: f"<U+{ord(found[0]):04X}>", text)
