"""Spelling help: the key that a mistyped one was probably meant to be."""

from __future__ import annotations

import difflib


def closest(key: str, known: list[str]) -> str | None:
    """The known key most like ``key``, or None when nothing is near.

    A wrong parent with the right last word counts as near: ``lr`` finds ``objective.optimizer.lr``.
    """
    matches = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    if matches:
        return matches[0]
    last = key.rsplit(".", 1)[-1]
    same_last = [name for name in known if name.rsplit(".", 1)[-1] == last]
    if same_last:
        return min(same_last, key=len)
    lasts = {name.rsplit(".", 1)[-1]: name for name in known}
    near = difflib.get_close_matches(last, list(lasts), n=1, cutoff=0.8)
    return lasts[near[0]] if near else None
