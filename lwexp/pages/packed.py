"""Packs many texts into a searchable page: an index, and blocks that the page's script unpacks on demand.

Blocks are JSON, deflated, as base64: nothing in them can close the element that holds them, and browsers can unpack
them natively. A page stays usable at 120 prompts x 2 models x 20,000 words, or 6,000 long drafts (docs/LOG.md).
"""

import base64
import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lwexp.pages.word_index import WordIndex
from lwexp.text.plain import visible

_BLOCK_CHARACTERS = 200_000  # unpacking one takes about 2 ms


class Packer:
    """Collects entries for ``reader.js``.

    Attributes:
        choices: Facet -> value -> entries that have it; what the page's filters offer.
    """

    def __init__(self, facets: Sequence[str], measures: Sequence[str], *, index_words: bool = False) -> None:
        self.choices: dict[str, Counter[str]] = {name: Counter() for name in facets}
        self._measures = list(measures)
        self._lines: list[list[Any]] = []
        self._blocks: list[str] = []
        self._waiting: list[str] = []
        # Indexed only if a page asks for the index: a page that holds its texts itself has none.
        self._searched: list[list[str]] | None = [] if index_words else None

    def __len__(self) -> int:
        return len(self._lines)

    def add(
        self,
        id: str,
        title: str,
        language: str,
        *,
        meta: Sequence[Sequence[Any]],
        facets: Mapping[str, Sequence[str]],
        measures: Mapping[str, Sequence[float]],
        detail: Mapping[str, Any],
    ) -> None:
        """Add one entry.

        Args:
            id: Shown above the text, and searched.
            title: What the list shows.
            language: Of title and texts.
            meta: Pieces of the line under the title: text, CSS class, place of a model.
            facets: Facet -> the values by which the entry is found.
            measures: Measure -> its values, to filter and order by.
            detail: What is shown when the entry is opened: ``ask``, ``about``, ``facts``, ``notice``, and ``groups``
                of panels (``reader.js``).
        """
        for name, counts in self.choices.items():
            counts.update(facets.get(name, ()))
        values = [[list(facets.get(name, ())) for name in self.choices], [measures.get(m, ()) for m in self._measures]]
        self._lines.append([visible(id), title, language, meta, *values, len(self._blocks), len(self._waiting)])
        spelled = _spelled_out(detail)
        if self._searched is not None:
            self._searched.append(searched(spelled))
        self._waiting.append(_json(spelled))
        if sum(map(len, self._waiting)) >= _BLOCK_CHARACTERS:
            self._close_block()

    def pack(self) -> list[str]:
        if self._waiting:
            self._close_block()
        index = {"facets": list(self.choices), "measures": self._measures, "rows": self._lines}
        return [_packed(_json(index)), *self._blocks]

    def pack_index(self) -> list[str]:
        """The index of words, then the parts of that of pairs; empty without ``index_words``."""
        if self._searched is None:
            return []
        index = WordIndex()
        for texts in self._searched:
            index.add(texts)
        return [_packed(_json(tree)) for tree in (index.tree(), *index.pair_trees())]

    def _close_block(self) -> None:
        self._blocks.append(_packed(f"[{','.join(self._waiting)}]"))
        self._waiting = []


def searched(detail: Mapping[str, Any]) -> list[str]:
    """The texts of an entry that a search looks into, in the order of ``search.js``."""
    panels = [panel for _, panels in detail["groups"] for panel in panels]
    return [detail["ask"], *(text for panel in panels for text in (panel["text"], panel.get("thinking", "")))]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _packed(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode("utf-8"), 6)).decode("ascii")


def _spelled_out(value: Any) -> Any:
    """Every text in a JSON value with its hidden characters spelled out."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list | tuple):
        return [_spelled_out(item) for item in value]
    return {key: _spelled_out(item) for key, item in value.items()} if isinstance(value, Mapping) else value
