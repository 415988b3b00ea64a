"""Makes text storable: characters that UTF-8 or SQLite refuse become U+FFFD, and are counted."""

import re
from collections import Counter
from typing import Any, NamedTuple

from lwexp.text.plain import plural

REPLACEMENT = "\ufffd"

_REFUSED = re.compile("[\x00\ud800-\udfff]")


class Mended(NamedTuple):
    """A storable text or JSON value, and how many of its characters were replaced."""

    value: Any
    replaced: int


def encodable(text: str) -> Mended:
    """Replace NUL and lone surrogates by U+FFFD; a whole surrogate pair becomes the character that it encodes.

    JSON may contain half an emoji ("\\ud83d"), because gateways and editors cut strings anywhere. Python keeps it, and
    UTF-8 and SQLite refuse it much later.
    """
    if not _REFUSED.search(text):
        return Mended(text, 0)
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\0", REPLACEMENT)
    return Mended(whole, whole.count(REPLACEMENT) - text.count(REPLACEMENT))


def encodable_json(value: Any) -> Mended:
    """Apply ``encodable`` to every text in a JSON value, keys included."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list):
        items = [encodable_json(item) for item in value]
        return Mended([item.value for item in items], sum(item.replaced for item in items))
    if isinstance(value, dict):
        pairs = [(encodable_json(name), encodable_json(item)) for name, item in value.items()]
        replaced = sum(name.replaced + item.replaced for name, item in pairs)
        return Mended({name.value: item.value for name, item in pairs}, replaced)
    return Mended(value, 0)


class Replaced:
    """Counts replaced characters by kind of text, for one message at the end."""

    def __init__(self) -> None:
        self._texts: Counter[str] = Counter()
        self._characters: Counter[str] = Counter()

    def count(self, replaced: int, kind: str) -> None:
        """Count characters replaced in one text of a kind; ``kind`` is a plural noun."""
        if replaced:
            self._texts[kind] += 1
            self._characters[kind] += replaced

    def __bool__(self) -> bool:
        return bool(self._texts)

    def __str__(self) -> str:
        found = (
            f"{plural(self._characters[kind], 'character')} in {texts:,} {kind}" for kind, texts in self._texts.items()
        )
        return f"{', '.join(found)} could not be stored as UTF-8 and became U+FFFD"
