"""What differs between configs, and labels made from it; pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lwexp.config.fields import key_at
from lwexp.config.schema import Config
from lwexp.pages.display import NO_VALUE
from lwexp.text.plain import one_line

_VALUE_LENGTH = 120
_MOST_KEYS_IN_A_NAME = 2


def flatten(tree: Mapping[str, Any], prefix: str = "", *, length: int = _VALUE_LENGTH) -> dict[str, str]:
    """Dotted key -> value in one line of at most ``length`` characters; lists stay whole, as one value."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        name = one_line(f"{prefix}{key}", _VALUE_LENGTH)
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{name}.", length=length))
        else:
            flat[name] = one_line("null" if value is None else str(value), length)
    return flat


def differing(trees: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Key -> its value in each tree, for keys whose value is not the same in all; a dash where it is absent."""
    flat = [flatten(tree) for tree in trees]
    keys = dict.fromkeys(key for tree in flat for key in tree)
    rows = {
        key: [tree.get(key, NO_VALUE) for tree in flat]
        for key in keys
        if key_at(Config, key).affects not in ("speed", "label")
    }
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Key -> its shortest dotted suffix that no other key has.

    Example: a.long.count, a.short.count and seed become long.count, short.count and seed.
    """
    endings = {key: [".".join(key.split(".")[-n:]) for n in range(1, key.count(".") + 2)] for key in keys}
    shared = Counter(ending for of_key in endings.values() for ending in of_key)
    return {key: next((e for e in of_key if shared[e] == 1), key) for key, of_key in endings.items()}


def tell_apart(
    labels: Sequence[str], trees: Sequence[Mapping[str, Any]], ids: Sequence[str], last_resort: Sequence[str]
) -> list[str]:
    """Make names unique: equal names get the one or two settings that differ, or else the run's id.

    Example:
        Two runs called ``sft`` with seeds 0 and 1, beside ``dpo``, become ``sft seed=0`` and ``sft seed=1``.
    """
    named = list(labels)
    for label in [label for label, count in Counter(labels).items() if count > 1]:
        places = [place for place, other in enumerate(labels) if other == label]
        rows = differing([trees[place] for place in places])
        if 1 <= len(rows) <= _MOST_KEYS_IN_A_NAME:
            for column, place in enumerate(places):
                settings = " ".join(f"{name}={rows[key][column]}" for key, name in short_names(list(rows)).items())
                # A name that all models share distinguishes nothing.
                named[place] = settings if len(places) == len(labels) else f"{label} {settings}"
    for unique in (ids, last_resort):
        clashing = {label for label, count in Counter(named).items() if count > 1}
        named = [unique[place] if name in clashing else name for place, name in enumerate(named)]
    return named
