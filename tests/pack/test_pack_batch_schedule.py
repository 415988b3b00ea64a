"""Which packs each step takes."""

from collections import Counter

import numpy as np
import pytest

from lwexp.pack.batch_schedule import BatchSchedule


def plan_of(num_packs, *, seed=0, epochs=1, global_batch=1, costs=None):
    costs = np.arange(num_packs) if costs is None else costs
    return BatchSchedule(num_packs, costs, seed, epochs, global_batch)


@pytest.mark.parametrize("global_batch", [1, 2, 3, 4, 8, 25])
@pytest.mark.parametrize("num_packs", [1, 3, 8, 10, 101])
@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_each_pack_is_taken_once_an_epoch(num_packs, epochs, global_batch):
    plan = plan_of(num_packs, epochs=epochs, global_batch=global_batch)
    steps = [plan[k] for k in range(len(plan))]
    flat = [number for step in steps for number in step]

    assert len(plan) == -(-num_packs * epochs // global_batch)
    assert [len(step) for step in steps[:-1]] == [global_batch] * (len(plan) - 1)
    assert Counter(flat) == dict.fromkeys(range(num_packs), epochs)


def test_epochs_follow_each_other_without_a_gap():
    """10 packs in steps of 4: step 2 takes the last 2 of the first epoch and the first 2 of the second."""
    plan = plan_of(10, epochs=2, global_batch=4)
    first_two = {*plan[0], *plan[1]}

    assert len(plan) == 5
    assert len(first_two) == 8
    assert set(range(10)) - first_two <= set(plan[2])


def test_a_step_depends_on_seed_and_number_alone():
    """As after a crash: a new plan, asked for one late step only, knows it; so does one asked backwards."""
    steps = list(plan_of(37, seed=3, epochs=4, global_batch=5))

    assert plan_of(37, seed=3, epochs=4, global_batch=5)[21] == steps[21]
    backwards = plan_of(37, seed=3, epochs=4, global_batch=5)
    assert [backwards[k] for k in reversed(range(len(steps)))] == steps[::-1]
    assert list(plan_of(37, seed=4, epochs=4, global_batch=5)) != steps


def test_more_epochs_do_not_change_what_came_before():
    short = list(plan_of(20, epochs=2, global_batch=4))

    assert list(plan_of(20, epochs=5, global_batch=4))[: len(short)] == short


def test_epochs_differ():
    plan = plan_of(50, epochs=2)

    assert list(plan)[:50] != list(plan)[50:]


def test_splitting_steps_over_ranks_gives_the_same_packs_for_every_number_of_ranks():
    plan = plan_of(64, epochs=2, global_batch=8)
    for step in plan:
        for ranks in (1, 2, 4, 8):
            by_rank = [step[rank::ranks] for rank in range(ranks)]
            assert sorted(number for part in by_rank for number in part) == sorted(step)
            assert {len(part) for part in by_rank} == {8 // ranks}


def busy(steps, costs):
    """Share of time that ranks compute, one pack a rank: mean over maximum of each step's costs."""
    return sum(costs[step].mean() for step in steps) / sum(costs[step].max() for step in steps)


def test_packs_of_a_step_cost_alike_while_steps_come_in_random_order():
    rng = np.random.default_rng(0)
    costs = 1.48 + 0.9 * rng.random(2000) ** 3  # PFLOP a pack: even work, and attention that differs
    plan = BatchSchedule(2000, costs, 0, 1, 8)
    steps = list(plan)
    random_order = rng.permutation(2000).reshape(-1, 8)
    means = np.array([costs[step].mean() for step in steps])

    assert busy(steps, costs) > 0.98
    assert busy(random_order, costs) < 0.9  # control: without grouping
    assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 0.2  # a cheap step says nothing about the next
    assert all(costs[step].tolist() == sorted(costs[step]) for step in steps)


def test_a_random_plan_ignores_costs_and_takes_each_pack_once():
    costs = np.arange(64.0)
    plan = BatchSchedule(64, costs, 3, 2, 8, order="random")
    balanced = BatchSchedule(64, costs, 3, 2, 8)

    assert sorted(number for step in plan[:8] for number in step) == list(range(64))
    assert [set(step) for step in plan] == [
        set(step) for step in BatchSchedule(64, costs[::-1], 3, 2, 8, order="random")
    ]
    assert busy(list(plan), costs) < busy(list(balanced), costs)
    assert [set(step) for step in balanced] != [set(step) for step in plan]  # control: grouping is not a no-op


def test_steps_of_two_epochs_are_not_the_same_groups():
    plan = plan_of(1024, epochs=2, global_batch=4)
    groups = [frozenset(step) for step in plan]

    assert len(set(groups[:256]) & set(groups[256:])) < 20


def test_a_step_beyond_the_plan_is_an_error():
    with pytest.raises(IndexError, match="step 10 of a schedule of 10 steps"):
        plan_of(10)[10]
