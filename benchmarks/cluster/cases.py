"""The cases of ``make cluster-test``: each runs real commands and checks what a user would see."""

from collections.abc import Callable

from benchmarks.cluster.accounting_cases import accounting
from benchmarks.cluster.case import Case
from benchmarks.cluster.paid_cases import setup_paid_once, two_processes_paid_once
from benchmarks.cluster.queue_cases import (
    attached_again,
    cancelled_pending,
    closed_terminal,
    failed_trial,
    killed_login,
    refused,
    second_login,
    slots,
)
from benchmarks.cluster.search_cases import search_two_nodes
from benchmarks.cluster.stop_cases import (
    cancelled_running,
    node_without_power,
    preemption,
    preemption_wandb,
    time_limit,
    torchrun_without_power,
    training_script,
    two_nodes,
)

GROUPS: list[list[list[Callable[[Case], None]]]] = [
    [
        [two_nodes, cancelled_running, failed_trial, attached_again, setup_paid_once, two_processes_paid_once],
        [time_limit, training_script],
        [cancelled_pending, refused, slots, killed_login, second_login, closed_terminal],
    ],
    [[preemption, preemption_wandb, node_without_power, torchrun_without_power, search_two_nodes, accounting]],
]
"""Groups run one after the other. The lanes of a group run at the same time, because their cases mostly wait. Cases
that take nodes away from others run alone."""

CASES = {case.__name__: case for group in GROUPS for lane in group for case in lane}
