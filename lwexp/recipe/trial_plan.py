"""The plan of a sweep's trials: checks each config and sums up steps, hours, dollars, memory and disk."""

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from lwexp.config import Config
from lwexp.recipe.answers import require_trained_model
from lwexp.records import LwexpError


@dataclass
class TrialPlan:
    """The plan of one trial. None means unknown, such as steps without data."""

    label: str
    steps: int | None = None
    hours: float | None = None
    """Wall time of training."""
    gpu_hours: float | None = None
    dollars: float | None = None
    """Cost of calls to a teacher or a judge."""
    model_gib: float | None = None
    """Disk space of the exported model, which stays."""
    checkpoints_gib: float | None = None
    """Disk space of checkpoints while the trial trains."""
    memory: str = ""
    """fits, tight or no."""
    problems: tuple[str, ...] = ()
    """Why the trial would fail: one line per mistake."""


def plan_trial(label: str, command: str, compose: Callable[[], Config], *, has_setup: bool) -> TrialPlan:
    """Compose and check one trial, and estimate what it would need.

    Args:
        label: The settings that distinguish the trial.
        command: generate, train or evaluate.
        compose: Returns the trial's config; an LwexpError becomes the trial's problems.
        has_setup: Whether setup commands make runs first, so that a missing run is not a mistake yet.
    """
    plan = TrialPlan(label)
    try:
        config = compose()
        # A room may print its own dry run; the table has a row instead.
        with redirect_stdout(io.StringIO()):
            {"generate": _plan_generate, "train": _plan_train, "evaluate": _plan_evaluate}[command](
                config, plan, has_setup
            )
    except LwexpError as error:
        plan.problems = error.lines
    return plan


def _plan_train(config: Config, plan: TrialPlan, has_setup: bool) -> None:
    from lwexp.recipe.training import plan_training
    from lwexp.train.planner.hardware import settle_hardware

    found, problem = plan_training(settle_hardware(config), may_lack_runs=has_setup)
    plan.problems = () if problem is None else (problem,)
    plan.steps, plan.memory = found.steps, found.memory.label
    if found.hours is not None:
        plan.hours = found.hours.total
        plan.gpu_hours = plan.hours * found.hours.gpus
    plan.model_gib = found.disk.model
    plan.checkpoints_gib = (config.training.keep_checkpoints + 1) * found.disk.checkpoint
    if config.evaluate_after:
        require_trained_model(config.engine)
        plan.dollars = _judging(config)


def _plan_evaluate(config: Config, plan: TrialPlan, has_setup: bool) -> None:
    from lwexp.recipe.evaluation import trained_run

    if not has_setup:
        trained_run(config)
    plan.dollars = _judging(config)


def _judging(config: Config) -> float | None:
    from lwexp.benches.select import load_bench
    from lwexp.score.estimate import estimate_judging

    prompts, repeats = load_bench(config.bench), config.sample.repeats
    metrics = config.bench.scored_by
    return estimate_judging(config.judge, prompts, repeats, parts=config.score.segments, metrics=metrics).dollars


def _plan_generate(config: Config, plan: TrialPlan, has_setup: bool) -> None:
    """Price drafts. A file for select or import is only checked for existence, because reading it may take long."""
    if config.task == "agentwrite":
        from lwexp.generate.estimate import estimate_cost

        plan.dollars = estimate_cost(config)
    elif config.task in ("import", "select") and not has_setup:
        source = Path(str(config.source))
        if source.suffix and not source.exists():
            raise LwexpError(f"source={config.source}: does not exist; give a file, a folder or a hub id")


def show_plans(plans: Sequence[TrialPlan]) -> None:
    """Print a row for each trial, and the sums.

    Raises:
        LwexpError: If a trial would fail: a line for each of its mistakes, with the trial's number and settings.
    """
    columns: dict[str, tuple[list[float | None], str]] = {
        "steps": ([plan.steps for plan in plans], "{:,}"),
        "hours": ([plan.hours for plan in plans], "{:,.1f}"),
        "GPU hours": ([plan.gpu_hours for plan in plans], "{:,.0f}"),
        "dollars": ([plan.dollars for plan in plans], "{:,.2f}"),
        "disk GiB": ([plan.model_gib for plan in plans], "{:,.1f}"),
    }
    table = [["trial", "settings", *columns, "memory", "check"]]
    for number, plan in enumerate(plans):
        cells = [_cell(values[number], form) for values, form in columns.values()]
        table.append([str(number + 1), plan.label, *cells, plan.memory or "-", "FAILS" if plan.problems else "ok"])
    table.append(["", "sum", *(_sum(values, form) for values, form in columns.values()), "", ""])
    print(_aligned(table))
    if saved := [plan.checkpoints_gib for plan in plans if plan.checkpoints_gib is not None]:
        print(f"disk: the exported models; a trial's checkpoints need up to {max(saved):,.1f} GiB more while it trains")
    if any(plan.steps is None and plan.memory for plan in plans):
        print("-: unknown until the data exists, or because the hardware has no peak_tflops")
    if any(plan.problems for plan in plans):
        raise LwexpError(*_problems(plans))


def _problems(plans: Sequence[TrialPlan]) -> list[str]:
    """A line for each mistake; one that all trials share is listed once."""
    lines = [plan.problems for plan in plans]
    shared = [line for line in lines[0] if len(lines) > 1 and all(line in other for other in lines)]
    own = [
        f"trial {number} of {len(plans)} ({plan.label}): {line}"
        for number, (plan, said) in enumerate(zip(plans, lines, strict=True), start=1)
        for line in said
        if line not in shared
    ]
    return [f"all {len(plans)} trials: {line}" for line in shared] + own


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _sum(values: Sequence[float | None], form: str) -> str:
    """The sum of the known values, marked if some are unknown."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return form.format(sum(known)) + ("" if len(known) == len(values) else "+")


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Text columns: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 2 <= place < len(row) - 2 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
