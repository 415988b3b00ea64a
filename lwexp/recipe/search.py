"""A search: Optuna proposes, trials run, the study on disk remembers. The optional extra ``lwexp[search]``."""

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lwexp.recipe.sweep import Sweep
from lwexp.records import LwexpError
from lwexp.runs.logs import console_log
from lwexp.runs.summaries import ComparisonSummary, SweepSummary
from lwexp.runs.trials import Trial, make_trials, read_trials, run_trials

log = logging.getLogger(__name__)


def run(
    sweep: Sweep,
    space: Mapping[str, Any],
    fixed: Sequence[str],
    *,
    n_trials: int,
    metric: str,
    direction: str,
    seed: int,
) -> None:
    """Run trials until the study has ``n_trials`` that ended.

    The study is an SQLite file in the sweep's folder. A trial that was cut off by the end of its process is
    asked again with the same settings; its own run resumes.

    Args:
        sweep: The sweep whose trials these are.
        space: Key -> Optuna distribution.
        fixed: Overrides of every trial.
        n_trials: Of the whole study, earlier starts included.
        metric: Key of a model in the evaluation's ``summary.json``, such as S_l or S_bar.
        direction: "maximize" or "minimize".
        seed: Of the sampler.
    """
    optuna = _optuna()
    console_log()
    if not space:
        raise LwexpError(
            "hydra/sweeper=optuna: nothing to search; give a sweep such as "
            "'objective.optimizer.lr=tag(log, interval(1e-6, 1e-4))'"
        )
    described = {key: json.loads(optuna.distributions.distribution_to_json(found)) for key, found in space.items()}
    digest = hashlib.sha256(json.dumps([described, list(fixed), metric]).encode()).hexdigest()[:8]
    folder = sweep.root / f"search-{sweep.name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    SweepSummary(name=sweep.name, question=sweep.question, varied=list(space)).write(folder)
    study = optuna.create_study(
        study_name=folder.name,
        storage=f"sqlite:///{folder / 'study.sqlite'}",
        sampler=optuna.samplers.TPESampler(seed=seed),
        direction=direction,
        load_if_exists=True,
    )
    _ask_again(optuna, study)
    sweep.prepare_in(folder)
    trials = read_trials(folder)
    while (missing := n_trials - _ended(study)) > 0:
        batch = [study.ask(dict(space)) for _ in range(min(sweep.machine.slots, missing))]
        jobs = [[f"{key}={value}" for key, value in asked.params.items()] + list(fixed) for asked in batch]
        started = make_trials(folder, jobs, first=batch[0].number)
        for trial, asked in zip(started, batch, strict=True):
            trial.label = " ".join(f"{key}={value}" for key, value in asked.params.items())
        run_trials(sweep.entry, started, sweep.machine, folder, others=trials)
        trials = [*trials, *started]
        for trial, asked in zip(started, batch, strict=True):
            value = score_of(trial, metric)
            if value is None:
                study.tell(asked, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(asked, value)
                log.info("trial %d: %s = %.4g", trial.number + 1, metric, value)
    _say_best(optuna, study, metric)
    sweep.finish(trials, folder)


def score_of(trial: Trial, metric: str) -> float | None:
    """The metric of a trial's evaluation; None where the trial failed or was not evaluated."""
    for path in trial.runs if trial.status == "finished" else ():
        summary = ComparisonSummary.read(Path(path))
        if summary is not None:
            (model,) = summary.models.values()
            value = getattr(model, metric, None)
            return float(value) if value is not None and math.isfinite(value) else None
    return None


def _ask_again(optuna: Any, study: Any) -> None:
    """Trials that were running when an earlier process ended: give them up and put their settings first in line."""
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.set_user_attr("given_up", [*study.user_attrs.get("given_up", []), trial.number])
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _ended(study: Any) -> int:
    """Trials that have ended by themselves, scored or failed."""
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
    log.info("best of %d trials: trial %d, %s = %.4g: %s", count, best.number + 1, metric, best.value, settings)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise LwexpError("hydra/sweeper=optuna needs the package optuna: pip install 'lwexp[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
