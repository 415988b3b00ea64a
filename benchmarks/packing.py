"""How full packs are, how long packing takes, and how evenly eight ranks finish.

    python -m benchmarks.packing            186k conversations, 6k long ones, balance over eight ranks
    python -m benchmarks.packing --quick    a hundredth of the documents, once

Lengths are lognormal with the means of the LongWriter mix: 6k long outputs of about 7,770 tokens and 180k general
conversations of about 900. "ours" is the default, exact_fit; best_fit and best_fit_decreasing are listed by name. trl
is the real ``trl.pack_dataset`` with its default settings; its time includes moving the tokens, which the others do not
do. next_fit (the original's packer, THUDM/LongWriter train/sort_and_group.py, with its last pack kept) and
llamafactory_knapsack (each pack takes the largest conversation that still fits, LLaMA-Factory processor_utils.py, here
over all rows instead of batches) are reimplemented from their algorithms.

"spread" says how much packs differ in the lengths they hold: each pack's mean document length, weighted by tokens; the
standard deviation of that over packs relative to its mean. next_fit keeps the random order, so its spread is
that of documents packed at random.
"""

from __future__ import annotations

import bisect
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from benchmarks.output import Results, show
from lwexp.pack.batch_schedule import BatchSchedule, Order
from lwexp.pack.packing import pack

CAPACITY = 32_768
RANKS = 8
Packer = Callable[[np.ndarray], list[list[int]]]


def main() -> None:
    """Run all cases."""
    is_quick = "--quick" in sys.argv[1:]
    scale, repeats = (100, 1) if is_quick else (1, 3)
    long_only = lengths(6_000 // scale, mean=7_770, sigma=0.6, seed=1)
    mixed = np.random.default_rng(3).permutation(
        np.concatenate([long_only, lengths(180_000 // scale, mean=900, sigma=1.0, seed=2)])
    )
    systems: dict[str, Packer] = {
        "ours": lambda n: pack(n, CAPACITY),
        "ours_best_fit": lambda n: pack(n, CAPACITY, "best_fit"),
        "ours_decreasing": lambda n: pack(n, CAPACITY, "best_fit_decreasing"),
        "next_fit": next_fit,
        "llamafactory_knapsack": knapsack,
    }
    results: Results = {}
    for case, sizes in (("mixed_186k", mixed), ("long_only_6k", long_only)):
        results[case] = {name: measure(packer, sizes, repeats) for name, packer in systems.items()}
        results[case]["trl"] = trl_pack(sizes)
        results[case]["ideal"] = {"fill": 1.0, "packs": float(-(-int(sizes.sum()) // CAPACITY))}
    results["balance_8_ranks"] = balance(mixed)
    show("packing", results, ("numpy", "trl", "lwexp"))


def lengths(count: int, *, mean: float, sigma: float, seed: int) -> np.ndarray:
    """Lognormal token counts between 16 and a full pack."""
    draw = np.random.default_rng(seed).lognormal(np.log(mean) - sigma**2 / 2, sigma, count)
    return np.clip(draw.astype(np.int64), 16, CAPACITY)


def measure(packer: Packer, sizes: np.ndarray, repeats: int) -> dict[str, float]:
    """Fill, packs, the median time of repeats, and how packs differ in the lengths they hold."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        packs = packer(sizes)
        seconds.append(time.perf_counter() - start)
    assert sorted(item for items in packs for item in items) == list(range(len(sizes)))
    fill = float(sizes.sum()) / (len(packs) * CAPACITY)
    return {"fill": fill, "packs": float(len(packs)), "seconds": statistics.median(seconds)} | mixing(sizes, packs)


def mixing(sizes: np.ndarray, packs: list[list[int]]) -> dict[str, float]:
    """How much packs differ: spread of their mean document length, weighted by tokens as the loss weighs them."""
    means = np.array([float((sizes[items] ** 2).sum() / sizes[items].sum()) for items in packs])
    return {"spread": float(means.std() / means.mean())}


def trl_pack(sizes: np.ndarray) -> dict[str, float]:
    """TRL's own packer on rows of as many tokens; it packs batches of 1,000 rows."""
    import pyarrow as pa
    from datasets import Dataset, disable_caching, disable_progress_bars
    from trl import pack_dataset

    disable_progress_bars()
    disable_caching()
    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))
    rows = pa.LargeListArray.from_arrays(offsets, pa.array(np.zeros(int(sizes.sum()), np.int8)))
    dataset = Dataset(pa.table({"input_ids": rows}))
    start = time.perf_counter()
    packed = pack_dataset(dataset, CAPACITY, map_kwargs={"keep_in_memory": True})
    seconds = time.perf_counter() - start
    lengths_of_packs = packed["seq_lengths"]
    assert sum(map(sum, lengths_of_packs)) == sizes.sum()
    sizes_again = np.array([length for lengths in lengths_of_packs for length in lengths])
    bounds = np.cumsum([0, *map(len, lengths_of_packs)]).tolist()
    groups = [list(range(start, stop)) for start, stop in pairwise(bounds)]
    fill = float(sizes.sum()) / (len(packed) * CAPACITY)
    return {"fill": fill, "packs": float(len(packed)), "seconds": seconds} | mixing(sizes_again, groups)


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
    "spread" here is over steps: how much steps differ in the lengths they hold, which is the cost of grouping.
    """
    packs = pack(sizes, CAPACITY)
    squares = np.array([float((sizes[items] ** 2).sum()) for items in packs])
    flops = np.array([float(sizes[items].sum()) for items in packs]) * 45e9 + 6 * 32 * 4096 * squares
    results = {}
    orders: dict[str, Order] = {"ours": "balanced", "random_order": "random"}
    for name, order in orders.items():
        plan = BatchSchedule(len(packs), squares, seed=0, epochs=1, global_batch=RANKS, order=order)
        steps = [step for step in plan if len(step) == RANKS]
        busy = sum(flops[step].mean() for step in steps) / sum(flops[step].max() for step in steps)
        held = [[item for number in step for item in packs[number]] for step in steps]
        results[name] = {"step_balance": float(busy), "spread": mixing(sizes, held)["spread"]}
    return results


if __name__ == "__main__":
    main()
