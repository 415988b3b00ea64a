"""Packing strategies against their definitions, and the report that must balance."""

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import pytest

from lwexp.pack.packing import Counts, PackReport, Strategy, pack

STRATEGIES = get_args(Strategy)
DECREASING: Literal["best_fit_decreasing"] = "best_fit_decreasing"


def best_fit_by_definition(lengths, capacity):
    """Each item into the fullest pack that takes it: looked for among all packs, one item at a time."""
    loads: list[int] = []
    for length in lengths:
        fitting = [load for load in loads if load + length <= capacity]
        if fitting:
            loads[loads.index(max(fitting))] += length
        else:
            loads.append(length)
    return sorted(loads)


def next_fit(lengths, capacity):
    """The original packer (train/sort_and_group.py at 3fcfdff), with its last pack kept: number of packs."""
    packs, load = 0, capacity
    for length in lengths:
        if load + length > capacity:
            packs, load = packs + 1, 0
        load += length
    return packs


def random_case(seed):
    rng = np.random.default_rng(seed)
    capacity = int(rng.integers(1, 400))
    kind = rng.integers(3)
    size = int(rng.integers(1, 120))
    if kind == 0:
        lengths = rng.integers(1, capacity + 1, size)
    elif kind == 1:  # many equal ones
        lengths = rng.choice(rng.integers(1, capacity + 1, 3), size)
    else:  # few long, many short
        lengths = np.clip(rng.lognormal(np.log(max(capacity / 20, 1)), 1.3, size), 1, capacity).astype(np.int64)
    return lengths, capacity


def test_four_items_by_hand():
    """6 opens a pack, 4 another, 3 goes to the 4 (1 left), 2 fills the first."""
    assert pack(np.array([3, 6, 4, 2]), 8, DECREASING) == [[1, 3], [2, 0]]


def test_the_tightest_pack_is_taken_not_the_first_that_fits():
    """Capacity 10, packs open with 7 and 8: a 2 belongs to the 8."""
    assert pack(np.array([7, 8, 2]), 10, DECREASING) == [[1, 2], [0]]
    assert pack(np.array([7, 8, 2]), 10, "best_fit") == [[0], [1, 2]]


def test_the_last_items_of_a_pack_are_the_pair_that_fills_it():
    """Capacity 10, mean 4. 5 leaves room for a pair: 4 with nothing beside it leaves 1, 3 with the 2 leaves none."""
    assert pack(np.array([5, 4, 3, 6, 2]), 10, "exact_fit") == [[0, 2, 4], [1, 3]]


def test_an_item_is_no_partner_of_itself():
    """Capacity 10: two fives fill a pack, the last five stands alone, though 5 + 5 would fill its pack too."""
    assert pack(np.array([5, 5, 5]), 10, "exact_fit") == [[0, 1], [2]]


def test_items_stay_in_order_but_for_the_last_of_a_pack():
    """Capacity 30, all of length 3 or 4 (mean 3.5): three go in as they come before room drops to two items' worth."""
    lengths = np.array([3, 4] * 20)
    packs = pack(lengths, 30, "exact_fit")

    assert packs[0][:6] == [0, 1, 2, 3, 4, 5]
    assert sum(lengths[packs[0]]) == 30


def check_packs(packs, lengths, capacity):
    """Each item once, no empty pack, none overfull."""
    loads = [int(lengths[items].sum()) for items in packs]
    assert sorted(item for items in packs for item in items) == list(range(len(lengths)))
    assert min(len(items) for items in packs) >= 1
    assert max(loads) <= capacity
    assert sum(loads) == lengths.sum()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", range(200))
def test_every_item_is_packed_once_whole_and_within_capacity(seed, strategy):
    lengths, capacity = random_case(seed)
    packs = pack(lengths, capacity, strategy)
    check_packs(packs, lengths, capacity)
    loads = [int(lengths[items].sum()) for items in packs]

    assert packs == pack(lengths.copy(), capacity, strategy)
    if strategy != "exact_fit":
        in_turn = sorted(lengths.tolist(), reverse=True) if strategy == DECREASING else lengths.tolist()
        assert sorted(loads) == sorted(best_fit_by_definition(in_turn, capacity))


@pytest.mark.parametrize("seed", range(40))
def test_nothing_left_over_would_have_fitted_an_earlier_pack(seed):
    """What exact fit promises: a pack is closed only when every item that comes later is too long for it."""
    lengths, capacity = random_case(seed)
    packs = pack(lengths, capacity, "exact_fit")
    later = float("inf")
    for items in reversed(packs):
        assert capacity - lengths[items].sum() < later
        later = min(later, lengths[items].min())


@pytest.mark.parametrize(
    "wrong",
    [[[0], [2]], [[0], [1], [1, 2]], [[0, 1], [2]], [[0], [1, 2], []]],
    ids=["lost", "twice", "overfull", "empty"],
)
def test_wrong_packs_would_be_seen(wrong):
    """Negative control for the check above: 5, 4 and 3 at capacity 8."""
    lengths = np.array([5, 4, 3])
    check_packs([[0], [1, 2]], lengths, 8)
    with pytest.raises(AssertionError):
        check_packs(wrong, lengths, 8)


def test_the_definition_of_best_fit_by_hand():
    """5 and 4 do not go into 8."""
    assert best_fit_by_definition([5, 4], 8) == [4, 5]


def test_an_item_longer_than_a_pack_and_one_of_no_tokens_are_refused():
    with pytest.raises(AssertionError, match="longer than a pack"):
        pack(np.array([9]), 8)
    with pytest.raises(AssertionError, match="longer than a pack"):
        pack(np.array([0, 1]), 8)


@pytest.mark.parametrize("strategy", ["exact_fit", DECREASING])
def test_a_mix_of_few_long_and_many_short_fills_better_than_the_original(strategy):
    rng = np.random.default_rng(0)
    long = np.clip(rng.lognormal(np.log(6000), 0.6, 300), 1000, 32768).astype(np.int64)
    short = np.clip(rng.lognormal(np.log(500), 1.0, 9000), 20, 32768).astype(np.int64)
    mix = rng.permutation(np.concatenate([long, short]))
    packs = pack(mix, 32768, strategy)
    fill = mix.sum() / (len(packs) * 32768)

    assert len(packs) == -(-mix.sum() // 32768)  # no packing can use fewer
    assert fill > 0.995
    assert mix.sum() / (next_fit(mix, 32768) * 32768) < fill - 0.02


def test_long_outputs_alone_fill_packs_while_their_lengths_stay_mixed():
    """About four a pack. Sorting puts the longest together, so the mean length of a pack varies more."""
    lengths = np.clip(np.random.default_rng(1).lognormal(np.log(6500), 0.6, 1500), 16, 32768).astype(np.int64)
    fill, spread = {}, {}
    for strategy in STRATEGIES:
        packs = pack(lengths, 32768, strategy)
        means = np.array([lengths[items].mean() for items in packs])
        fill[strategy] = lengths.sum() / (len(packs) * 32768)
        spread[strategy] = means.std() / means.mean()

    assert fill["exact_fit"] > 0.99
    assert fill["exact_fit"] > fill["best_fit"]
    assert spread["exact_fit"] < spread[DECREASING]  # control: the sorted packs are less mixed


REPORT = PackReport(
    kind="sft",
    capacity=10,
    packs=2,
    received=Counts(4, 29, 12),
    packed=Counts(3, 17, 8),
    dropped=Counts(1, 12, 4),
    longest=9,
    sources={"a": Counts(2, 12, 6), "b": Counts(1, 5, 2)},
)


def test_the_report_balances_in_words():
    """17 of 2 x 10 places hold a token: 3 empty, 85% full."""
    assert str(REPORT) == (
        "conversations: 4 in = 3 kept + 1 too long; 2 packs x 10 = 17 tokens (8 targets) + 3 empty (85.00% full)"
    )
    assert PackReport.from_tree(REPORT.to_tree()) == REPORT


@pytest.mark.parametrize(
    "change",
    [
        {"received": Counts(4, 30, 12)},
        {"dropped": Counts(0, 12, 4)},
        {"sources": {"a": Counts(3, 17, 7)}},
        {"packs": 1},
    ],
)
def test_a_report_that_does_not_balance_cannot_be_made(change):
    with pytest.raises(AssertionError):
        replace(REPORT, **change)
