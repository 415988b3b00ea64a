"""Which prompts of a bench are asked."""

import random
from collections.abc import Sequence
from typing import Any

from lwexp.extend import Bench
from lwexp.extend.word_range import parse_range
from lwexp.records import LwexpError, Prompt


def load_bench(bench: Bench) -> list[Prompt]:
    """The selected prompts of a bench, in its order.

    Raises:
        LwexpError: If a file is missing or is not the one that the config names, a line is not a prompt, an id comes
            twice, or nothing is selected.
    """
    prompts = bench.prompts()
    if bench.needs_lengths and all(prompt.required_words is None for prompt in prompts):
        needing = ", ".join(metric.kind for metric in bench.scored_by if metric.needs_length)
        raise LwexpError(
            f"bench={bench.name}: no prompt asks for a length, and {needing} need one; name others in bench.metrics"
        )
    return select(prompts, bench)


def select(prompts: Sequence[Prompt], wanted: Bench) -> list[Prompt]:
    """Those of the required lengths, language and type; of these, a seeded draw, still in order.

    Which prompts a draw takes depends on their ids alone, so adding prompts to a bench moves few of them.

    Raises:
        LwexpError: If nothing is left, or fewer than ``subset``.
    """
    kept = list(prompts)
    if wanted.range is not None:
        lengths = parse_range(wanted.range)
        kept = [prompt for prompt in kept if prompt.required_words in lengths]
    if wanted.language is not None:
        kept = [prompt for prompt in kept if prompt.language == wanted.language]
    if wanted.type is not None:
        kept = [prompt for prompt in kept if prompt.type == wanted.type]
    if not kept:
        there = [prompt.required_words for prompt in prompts if prompt.required_words is not None]
        asked = f"of {min(there):,} to {max(there):,} words" if there else "that ask for no length"
        raise LwexpError(
            f"bench: no prompt has range={wanted.range} language={wanted.language} type={wanted.type}; there are "
            f"{len(prompts)} {asked}, in {_listed(p.language for p in prompts)}, of "
            f"type {_listed(p.type for p in prompts)}"
        )
    if wanted.subset is None:
        return kept
    if wanted.subset > len(kept):
        raise LwexpError(f"bench.subset={wanted.subset}: the selection has only {len(kept)} prompts; set that or less")
    drawn = {p.id for p in sorted(kept, key=lambda prompt: _rank(prompt.id, wanted.subset_seed))[: wanted.subset]}
    return [prompt for prompt in kept if prompt.id in drawn]


def _rank(id: str, seed: int) -> float:
    return random.Random(f"{seed}|{id}").random()


def _listed(values: Any) -> str:
    return ", ".join(sorted(set(values)))
