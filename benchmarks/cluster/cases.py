"""The cases of ``make cluster-test``: each runs real commands and checks what a user would see."""

from collections.abc import Callable

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

CASES: dict[str, Callable[[Case], None]] = {
    case.__name__: case
    for case in (
        two_nodes, preemption, preemption_wandb, time_limit, cancelled_running, cancelled_pending, refused,
        failed_trial, attached_again, slots, killed_login, second_login, closed_terminal, setup_paid_once,
        two_processes_paid_once, node_without_power, torchrun_without_power, training_script, search_two_nodes,
    )
}  # fmt: skip
