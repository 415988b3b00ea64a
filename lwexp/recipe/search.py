"""A search: Optuna proposes trials, and a study on disk stores their results. Needs the extra ``lwexp[search]``."""

import hashlib
import json
import logging
import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from lwexp.config import Config
from lwexp.recipe.study import Study, load_optuna, make_sampler
from lwexp.recipe.sweep import Sweep
from lwexp.recipe.trial_plan import plan_trial, show_plans
from lwexp.records import LwexpError, lock_file, one_at_a_time
from lwexp.runs.artifacts import LOCK
from lwexp.runs.logs import console_log
from lwexp.runs.ranks import RANK_VARIABLES, require_one_process
from lwexp.runs.summaries import ComparisonSummary
from lwexp.runs.trial_process import is_running
from lwexp.runs.trial_runner import run_trials
from lwexp.runs.trials import Trial, make_trials, read_trials
from lwexp.text.plain import plural

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_SAME_MISTAKES = 3
"""A search stops if this many of its first trials fail for the same reason."""


class Search(NamedTuple):
    """The space, the metric and the length of a search."""

    space: Mapping[str, Any]
    """Key -> Optuna distribution."""
    fixed: Sequence[str]
    """Overrides of every trial."""
    n_trials: int
    """Trials of the whole study, including earlier starts."""
    metric: str
    """Key of a model in the evaluation's ``summary.json``, such as S_l or S_bar."""
    direction: str
    """maximize or minimize."""
    seed: int
    """Seed of the sampler."""
    shared: bool = False
    """Whether several processes may work on the study at the same time."""

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """Overrides of the trial with these settings."""
        return [*(f"{key}={value}" for key, value in params.items()), *self.fixed]


def plan(sweep: Sweep, search: Search, compose: Callable[[Sequence[str]], Config]) -> None:
    """Print the search space and the plan of its first trial; starts and writes nothing.

    Raises:
        LwexpError: If that trial would fail.
    """
    optuna = load_optuna()
    _require_space(search)
    console_log()
    sweep.describe()
    for key, found in search.space.items():
        print(f"  {key}: {_described(found)}")
    kind = f"{plural(search.n_trials, 'trial')} to {search.direction} {search.metric}"
    print(f"{kind}, {sweep.where.summary}; plan of the sampler's first trial:")
    study = optuna.create_study(sampler=make_sampler(search.seed), direction=search.direction)
    first = study.ask(dict(search.space))
    overrides = search.overrides(first.params)
    label = " ".join(f"{key}={value}" for key, value in first.params.items())
    show_plans([plan_trial(label, sweep.command, lambda: compose(overrides), has_setup=sweep.has_setup)])


def run(sweep: Sweep, search: Search) -> None:
    """Run trials until the study has ``n_trials`` that ended.

    A trial that was interrupted is repeated with the same settings; its own run resumes.

    Raises:
        LwexpError: If another process works on the study and not both share it, if the first trials all fail for the
            same mistake in their config, or if a trial that has finished has no such metric.
    """
    load_optuna()
    _require_space(search)
    if sweep.is_detached:
        raise LwexpError(
            "hydra.launcher.detach: a search chooses each trial by the scores of earlier ones; leave it out"
        )
    if search.shared:
        for name in RANK_VARIABLES:  # a worker that srun has started is no rank: it trains and logs as if alone
            os.environ.pop(name, None)
    else:
        require_one_process("a search without hydra.sweeper.shared=true")
    console_log()
    folder = _folder(sweep, search)
    folder.mkdir(parents=True, exist_ok=True)
    advice = "wait for it or stop it, or start all of its processes with hydra.sweeper.shared=true"
    with closing(lock_file(folder / LOCK, what=folder, advice=advice, shared=search.shared)):
        sweep.note(folder, list(search.space))
        with one_at_a_time(folder / "setup.lock"):
            sweep.run_setup_commands(folder)
        still_runs = partial(_still_runs_here, sweep, folder)
        with closing(Study(folder, search.space, search.direction, search.seed, still_runs)) as study:
            _work(sweep, search, study, folder)
            _say_best(study, search.metric)
        with one_at_a_time(folder / "report.lock"):
            sweep.finish(_ended_trials(folder), folder)


def _still_runs_here(sweep: Sweep, folder: Path, number: int) -> bool:
    """Whether a trial has outlived its sweep. A new start waits for it here; on SLURM it watches the job instead."""
    return not sweep.where.is_slurm and is_running(str(folder / f"trial-{number}.log"))


def _work(sweep: Sweep, search: Search, study: Study, folder: Path) -> None:
    """Run proposals until the study is complete, also by the work of other processes."""
    ended: list[Trial] = []
    while study.ended < search.n_trials:
        batch = study.ask(sweep.where.max_parallel_trials or 1, search.n_trials)
        if not batch:  # other processes run the last trials; if one of these is lost, ask() proposes it again
            time.sleep(_POLL_SECONDS)
            continue
        # One by one: the batch may hold a lost trial, whose number does not follow the others'.
        started = [make_trials(folder, [search.overrides(asked.params)], first=asked.number)[0] for asked in batch]
        for trial, asked in zip(started, batch, strict=True):
            trial.label = " ".join(f"{key}={value}" for key, value in asked.params.items())
        run_trials(sweep.entry, started, sweep.where, folder, total=search.n_trials)
        ended += started
        for trial, asked in zip(started, batch, strict=True):
            score = score_of(trial, search.metric)
            study.tell(asked, score)
            if score is not None:
                log.info("trial %d: %s = %.4g", trial.number + 1, search.metric, score)
        _stop_at_the_same_mistake(ended)


def _ended_trials(folder: Path) -> list[Trial]:
    """All trials of a complete study. One that still counts as running was lost with its process, and done again."""
    trials = read_trials(folder)
    for trial in trials:
        if trial.status == "running":
            trial.status = "interrupted"
    return trials


def _require_space(search: Search) -> None:
    if not search.space:
        raise LwexpError(
            "hydra/sweeper=optuna: nothing to search; give a sweep such as "
            "'objective.optimizer.lr=tag(log, interval(1e-6, 1e-4))'"
        )


def _folder(sweep: Sweep, search: Search) -> Path:
    """The folder of this space, fixed settings and metric, so that the same search finds its study again."""
    to_json = load_optuna().distributions.distribution_to_json
    space = {key: json.loads(to_json(found)) for key, found in search.space.items()}
    digest = hashlib.sha256(json.dumps([space, list(search.fixed), search.metric]).encode()).hexdigest()[:8]
    return sweep.root / f"search-{sweep.name}-{digest}"


def _described(distribution: Any) -> str:
    """A distribution in words."""
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return "one of " + ", ".join(map(str, choices))
    whole = "whole numbers " if "Int" in type(distribution).__name__ else ""
    step = f" in steps of {distribution.step:g}" if distribution.step not in (None, 1) else ""
    log_scale = ", on a logarithmic scale" if distribution.log else ""
    return f"{whole}{distribution.low:g} to {distribution.high:g}{step}{log_scale}"


def _stop_at_the_same_mistake(ended: Sequence[Trial]) -> None:
    """Stop at a mistake that all trials share. Messages are compared without numbers, which differ by trial.

    Raises:
        LwexpError: If the first trials of this start all ended with exit code 2 and the same message.
    """
    first = ended[:_SAME_MISTAKES]
    said = {re.sub(r"[-+.\w]*\d[-+.\w]*", "#", trial.reason or "") for trial in first}
    if len(first) == _SAME_MISTAKES and len(said) == 1 and all(trial.exit_code == 2 for trial in first):
        raise LwexpError(
            f"the first {_SAME_MISTAKES} trials failed because of the same mistake, so the search has stopped: "
            f"{first[-1].reason}; correct it and run the same command again"
        )


def score_of(trial: Trial, metric: str) -> float | None:
    """The metric of a trial's evaluation; None if the trial failed, or if the evaluation could not tell its value.

    Raises:
        LwexpError: If the trial was not evaluated, or evaluations have no such number: no trial would be scored.
    """
    if trial.status != "finished":
        return None
    found = next(filter(None, (ComparisonSummary.read(Path(path)) for path in trial.runs)), None)
    if found is None:
        raise LwexpError(
            f"hydra.sweeper.metric={metric}: trial {trial.number + 1} was not evaluated, so it has no score; add "
            f"evaluate_after=true to the command"
        )
    (model,) = found.models.values()
    values = {name: getattr(model, name) for name in type(model).model_fields} | (model.model_extra or {})
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float | None)}
    if metric not in numbers:
        scores = ", ".join(
            name for name, value in numbers.items() if value is not None and f"{name}_interval" in values
        )
        raise LwexpError(
            f"hydra.sweeper.metric={metric}: an evaluation has no such number; choose {scores or 'one of summary.json'}"
        )
    value = numbers[metric]
    return float(value) if value is not None and math.isfinite(value) else None


def _say_best(study: Study, metric: str) -> None:
    best = study.best
    if best is None:
        log.warning("no trial was scored, so there is no best one")
        return
    settings = " ".join(f"{key}={value}" for key, value in best.params.items())
    count = plural(study.ended, "trial")
    log.info("best of %s: trial %d, %s = %.4g: %s", count, best.number + 1, metric, best.value, settings)
