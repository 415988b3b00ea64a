"""Whether a model is worse than another where it must not be: paired differences by required length. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean

from lwexp.config.evaluate import WordRange
from lwexp.records import Response, Verdict
from lwexp.score.bootstrap import interval

ALL = "all"


def regression(
    ours: tuple[Sequence[Response], Sequence[Verdict]],
    other: tuple[Sequence[Response], Sequence[Verdict]],
    ranges: Sequence[WordRange],
) -> dict[str, dict[str, dict[str, object]]]:
    """Range label -> S_l, S_q and S_bar -> both means, their difference over the prompts both have, and its interval.

    ``is_worse`` where the whole 95% interval of ours minus other lies below 0. Parts that have no prompt scored on
    both sides are absent.
    """
    mine, theirs = _by_prompt(*ours), _by_prompt(*other)
    lengths = {response.prompt_id: response.required_words for response in ours[0]}
    tests: dict[str, Callable[[int], bool]] = {ALL: lambda words: True}
    tests |= {part.label: part.__contains__ for part in ranges}
    found: dict[str, dict[str, dict[str, object]]] = {}
    for label, is_inside in tests.items():
        parts = {}
        for part in ("S_l", "S_q", "S_bar"):
            a, b = mine[part], theirs[part]
            shared = [prompt for prompt in a if prompt in b and is_inside(lengths[prompt])]
            if shared:
                parts[part] = _compare([a[prompt] for prompt in shared], [b[prompt] for prompt in shared])
        if parts:
            found[label] = parts
    return found


def _compare(ours: Sequence[float], other: Sequence[float]) -> dict[str, object]:
    differences = [a - b for a, b in zip(ours, other, strict=True)]
    between = interval(differences)
    return {
        "n": len(ours),
        "ours": fmean(ours),
        "other": fmean(other),
        "difference": fmean(differences),
        "interval": between,
        "is_worse": between is not None and between[1] < 0,
    }


def _by_prompt(responses: Sequence[Response], verdicts: Sequence[Verdict]) -> dict[str, dict[str, float]]:
    """Part -> prompt id -> mean over the prompt's scored repeats."""
    prompt_of = {response.id: response.prompt_id for response in responses}
    score = {(verdict.response_id, verdict.kind): verdict.score for verdict in verdicts}
    values: dict[str, dict[str, list[float]]] = {part: defaultdict(list) for part in ("S_l", "S_q", "S_bar")}
    for id, prompt in prompt_of.items():
        length, quality = score.get((id, "length")), score.get((id, "quality"))
        for part, value in (("S_l", length), ("S_q", quality)):
            if value is not None:
                values[part][prompt].append(value)
        if length is not None and quality is not None:
            values["S_bar"][prompt].append((length + quality) / 2)
    return {part: {prompt: fmean(given) for prompt, given in found.items()} for part, found in values.items()}
