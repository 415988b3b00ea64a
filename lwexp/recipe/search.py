"""A search: Optuna proposes trials, and a study on disk stores their results. Needs the extra ``lwexp[search]``."""

import hashlib
import json
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lwexp.config import Config
from lwexp.recipe.sweep import Sweep
from lwexp.recipe.trial_plan import plan_trial, show_plans
from lwexp.records import LwexpError
from lwexp.runs.logs import console_log
from lwexp.runs.summaries import ComparisonSummary, SweepSummary
from lwexp.runs.trial_runner import run_trials
from lwexp.runs.trials import Trial, make_trials, read_trials
from lwexp.text.plain import plural

log = logging.getLogger(__name__)

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

    def sampler(self, optuna: Any, asked_before: int) -> Any:
        """A sampler that does not repeat the proposals of an earlier start with the same seed."""
        return optuna.samplers.TPESampler(seed=self.seed + asked_before)

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """Overrides of the trial with these settings."""
        return [*(f"{key}={value}" for key, value in params.items()), *self.fixed]


def plan(sweep: Sweep, search: Search, compose: Callable[[Sequence[str]], Config]) -> None:
    """Print the search space and the plan of its first trial; starts and writes nothing.

    Raises:
        LwexpError: If that trial would fail.
    """
    optuna = _optuna()
    _require_space(search)
    console_log()
    sweep.describe()
    for key, found in search.space.items():
        print(f"  {key}: {_described(found)}")
    kind = f"{plural(search.n_trials, 'trial')} to {search.direction} {search.metric}"
    print(f"{kind}, {sweep.where.summary}; plan of the sampler's first trial:")
    first = optuna.create_study(sampler=search.sampler(optuna, 0), direction=search.direction).ask(dict(search.space))
    overrides = search.overrides(first.params)
    label = " ".join(f"{key}={value}" for key, value in first.params.items())
    show_plans([plan_trial(label, sweep.command, lambda: compose(overrides), has_setup=sweep.has_setup)])


def run(sweep: Sweep, search: Search) -> None:
    """Run trials until the study has ``n_trials`` that ended.

    The study is an SQLite file in the sweep's folder. A trial that was interrupted is repeated with the same
    settings; its own run resumes.

    Raises:
        LwexpError: If the first trials all fail for the same mistake in their config.
    """
    optuna = _optuna()
    console_log()
    _require_space(search)
    if sweep.is_detached:
        raise LwexpError(
            "hydra.launcher.detach: a search chooses each trial by the scores of earlier ones; leave it out"
        )
    folder = _folder(optuna, sweep, search)
    folder.mkdir(parents=True, exist_ok=True)
    SweepSummary(name=sweep.name, question=sweep.where.question, varied=list(search.space)).write(folder)
    storage = f"sqlite:///{folder / 'study.sqlite'}"
    study = optuna.create_study(
        study_name=folder.name, storage=storage, direction=search.direction, load_if_exists=True
    )
    study.sampler = search.sampler(optuna, len(study.trials))
    _ask_again(optuna, study)
    sweep.run_setup_commands(folder)
    trials = read_trials(folder)
    ended: list[Trial] = []
    while (missing := search.n_trials - _ended(study)) > 0:
        batch = [study.ask(dict(search.space)) for _ in range(min(sweep.where.max_parallel_trials or 1, missing))]
        started = make_trials(folder, [search.overrides(asked.params) for asked in batch], first=batch[0].number)
        for trial, asked in zip(started, batch, strict=True):
            trial.label = " ".join(f"{key}={value}" for key, value in asked.params.items())
        run_trials(sweep.entry, started, sweep.where, folder, others=trials, total=search.n_trials)
        trials, ended = [*trials, *started], [*ended, *started]
        for trial, asked in zip(started, batch, strict=True):
            _tell(optuna, study, asked, trial, search.metric)
        _stop_at_the_same_mistake(ended)
    _say_best(optuna, study, search.metric)
    sweep.finish(trials, folder)


def _require_space(search: Search) -> None:
    if not search.space:
        raise LwexpError(
            "hydra/sweeper=optuna: nothing to search; give a sweep such as "
            "'objective.optimizer.lr=tag(log, interval(1e-6, 1e-4))'"
        )


def _folder(optuna: Any, sweep: Sweep, search: Search) -> Path:
    """The folder of this space, fixed settings and metric, so that the same search finds its study again."""
    space = {key: json.loads(optuna.distributions.distribution_to_json(found)) for key, found in search.space.items()}
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


def _tell(optuna: Any, study: Any, asked: Any, trial: Trial, metric: str) -> None:
    value = score_of(trial, metric)
    if value is None:
        study.tell(asked, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(asked, value)
        log.info("trial %d: %s = %.4g", trial.number + 1, metric, value)


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
    """The metric of a trial's evaluation; None if the trial failed or was not evaluated."""
    for path in trial.runs if trial.status == "finished" else ():
        summary = ComparisonSummary.read(Path(path))
        if summary is not None:
            (model,) = summary.models.values()
            value = getattr(model, metric, None)
            return float(value) if value is not None and math.isfinite(value) else None
    return None


def _ask_again(optuna: Any, study: Any) -> None:
    """Give up trials that were running when an earlier process ended, and queue their settings first."""
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.set_user_attr("given_up", [*study.user_attrs.get("given_up", []), trial.number])
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _ended(study: Any) -> int:
    """Number of trials that ended on their own, scored or failed."""
    given_up = set(study.user_attrs.get("given_up", []))
    return sum(trial.state.is_finished() and trial.number not in given_up for trial in study.trials)


def _say_best(optuna: Any, study: Any, metric: str) -> None:
    try:
        best = study.best_trial
    except ValueError:
        log.warning("no trial was scored, so there is no best one")
        return
    settings = " ".join(f"{key}={value}" for key, value in best.params.items())
    count = _ended(study)
    log.info(
        "best of %s: trial %d, %s = %.4g: %s", plural(count, "trial"), best.number + 1, metric, best.value, settings
    )


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise LwexpError("hydra/sweeper=optuna needs the package optuna: pip install 'lwexp[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
