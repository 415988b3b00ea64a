"""How full packs are, how long packing takes, and how evenly eight ranks finish.

    python -m benchmarks.packing            186k conversations, 6k long ones, balance over eight ranks
    python -m benchmarks.packing --quick    a tenth of it, in seconds

Lengths are lognormal with the means of the LongWriter mix: 6k long outputs of about 7,770 tokens and 180k general
conversations of about 900. Rivals are re-implemented from their algorithms: next_fit is the original's packer
(THUDM/LongWriter train/sort_and_group.py), with its last pack kept; llamafactory_knapsack fills each pack with the
largest conversation that still fits (LLaMA-Factory processor_utils.py), here over all rows instead of batches.
"ours" is best-fit decreasing, "ours_best_fit" the default, which keeps the mixture's order.
"""

from __future__ import annotations

import bisect
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.output import Results, show
from lwexp.pack.packing import pack
from lwexp.pack.plan import BatchPlan

CAPACITY = 32_768
RANKS = 8
REPEATS = 3
Packer = Callable[[np.ndarray], list[list[int]]]


def main() -> None:
    """Run all cases."""
    scale = 10 if "--quick" in sys.argv[1:] else 1
    long_only = lengths(6_000 // scale, mean=7_770, sigma=0.6, seed=1)
    mixed = np.random.default_rng(3).permutation(
        np.concatenate([long_only, lengths(180_000 // scale, mean=900, sigma=1.0, seed=2)])
    )
    systems: dict[str, Packer] = {
        "ours": lambda n: pack(n, CAPACITY),
        "ours_best_fit": lambda n: pack(n, CAPACITY, "best_fit"),
        "next_fit": next_fit,
        "llamafactory_knapsack": knapsack,
    }
    results: Results = {}
    for case, sizes in (("mixed_186k", mixed), ("long_only_6k", long_only)):
        results[case] = {name: measure(packer, sizes) for name, packer in systems.items()}
        results[case]["ideal"] = {"fill": 1.0, "packs": float(-(-int(sizes.sum()) // CAPACITY))}
    results["balance_8_ranks"] = balance(mixed)
    show("packing", results, ("numpy", "lwexp"))


def lengths(count: int, *, mean: float, sigma: float, seed: int) -> np.ndarray:
    """Lognormal token counts between 16 and a full pack."""
    draw = np.random.default_rng(seed).lognormal(np.log(mean) - sigma**2 / 2, sigma, count)
    return np.clip(draw.astype(np.int64), 16, CAPACITY)


def measure(packer: Packer, sizes: np.ndarray) -> dict[str, float]:
    """Fill, packs and the median time of three."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        packs = packer(sizes)
        seconds.append(time.perf_counter() - start)
    assert sorted(item for items in packs for item in items) == list(range(len(sizes)))
    fill = float(sizes.sum()) / (len(packs) * CAPACITY)
    return {"fill": fill, "packs": float(len(packs)), "seconds": statistics.median(seconds)}


def next_fit(sizes: np.ndarray) -> list[list[int]]:
    """Close the pack when the next conversation does not fit."""
    packs: list[list[int]] = [[]]
    used = 0
    for item, size in enumerate(sizes.tolist()):
        if used + size > CAPACITY:
            packs.append([])
            used = 0
        packs[-1].append(item)
        used += size
    return packs


def knapsack(sizes: np.ndarray) -> list[list[int]]:
    """Fill one pack after the other with the largest conversation that still fits."""
    order = np.argsort(sizes, kind="stable").tolist()
    ascending = sizes[order].tolist()
    packs = []
    while ascending:
        room, items = CAPACITY, []
        while (place := bisect.bisect_right(ascending, room) - 1) >= 0:
            room -= ascending.pop(place)
            items.append(order.pop(place))
        packs.append(items)
    return packs


def balance(sizes: np.ndarray) -> dict[str, dict[str, float]]:
    """Mean over maximum cost of the packs that eight ranks do at the same time; attention cost is quadratic.

    Cost of a pack: tokens x 45e9 (matrix products of an 8B model) + 6 x 32 layers x 4,096 x sum of squared lengths.
    """
    packs = pack(sizes, CAPACITY)
    squares = np.array([float((sizes[items] ** 2).sum()) for items in packs])
    flops = np.array([float(sizes[items].sum()) for items in packs]) * 45e9 + 6 * 32 * 4096 * squares
    ours = BatchPlan(len(packs), squares, seed=0, epochs=1, global_batch=RANKS)
    random = np.random.default_rng(0).permutation(len(packs))
    steps = {
        "ours": [ours[k] for k in range(len(ours))],
        "random_order": [random[k : k + RANKS].tolist() for k in range(0, len(packs), RANKS)],
    }
    return {
        name: {
            "step_balance": float(
                np.sum([flops[step].mean() for step in groups if len(step) == RANKS])
                / np.sum([flops[step].max() for step in groups if len(step) == RANKS])
            )
        }
        for name, groups in steps.items()
    }


if __name__ == "__main__":
    main()
