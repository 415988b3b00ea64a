"""Selects which prompts of a bench are asked."""

import random
from collections.abc import Sequence

from lwexp.extend import Bench
from lwexp.extend.word_range import parse_range
from lwexp.records import LwexpError, Prompt
from lwexp.text.plain import plural


def load_bench(bench: Bench) -> list[Prompt]:
    """The selected prompts of a bench, in its order.

    Raises:
        LwexpError: If a file is missing or differs from the one that the config names, a line is not a prompt, an id
            is repeated, or nothing is selected.
    """
    prompts = bench.prompts()
    if bench.needs_lengths and all(prompt.required_words is None for prompt in prompts):
        needing = ", ".join(metric.kind for metric in bench.scored_by if metric.needs_length)
        raise LwexpError(
            f"bench={bench.name}: no prompt asks for a length, and {needing} need one; choose others with bench.metrics"
        )
    return select(prompts, bench)


def is_part(wanted: Bench) -> bool:
    """Whether ``select`` may leave out prompts."""
    return any(choice is not None for choice in (wanted.range, wanted.language, wanted.type, wanted.subset))


def select(prompts: Sequence[Prompt], wanted: Bench) -> list[Prompt]:
    """Prompts of the wanted lengths, language and type, or a seeded sample of them, in their order.

    The sample depends on the prompts' ids alone, so adding prompts to a bench changes it little.

    Raises:
        LwexpError: If nothing is left, or fewer than ``subset``.
    """
    lengths = None if wanted.range is None else parse_range(wanted.range)
    kept = [
        prompt
        for prompt in prompts
        if (lengths is None or prompt.required_words in lengths)
        and wanted.language in (None, prompt.language)
        and wanted.type in (None, prompt.type)
    ]
    if not kept:
        there = [prompt.required_words for prompt in prompts if prompt.required_words is not None]
        asked = f"of {min(there):,} to {max(there):,} words" if there else "that ask for no length"
        languages, types = (", ".join(sorted({getattr(p, name) for p in prompts})) for name in ("language", "type"))
        raise LwexpError(
            f"bench: no prompt has range={wanted.range} language={wanted.language} type={wanted.type}; there are "
            f"{len(prompts)} {asked}, in {languages}, of type {types}"
        )
    if wanted.subset is None:
        return kept
    if wanted.subset > len(kept):
        raise LwexpError(
            f"bench.subset={wanted.subset}: the selection has only {plural(len(kept), 'prompt')}; set that or less"
        )
    rank = {prompt.id: random.Random(f"{wanted.subset_seed}|{prompt.id}").random() for prompt in kept}
    drawn = set(sorted(rank, key=rank.__getitem__)[: wanted.subset])
    return [prompt for prompt in kept if prompt.id in drawn]
