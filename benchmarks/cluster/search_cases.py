"""A case of two workers on two nodes that share one Optuna study."""

import json
from pathlib import Path
from typing import Any

from benchmarks.cluster.case import LWEXP, Case, slurm, wait_for

_TRIALS = 4
_SRUN = ("srun", "--time=15", "--immediate=240", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1")


def search_two_nodes(case: Case) -> None:
    """Two workers on two nodes are killed in their first trials. Started again, they finish the study: the lost
    settings are tried again, and no setting is proposed twice."""
    words = [
        "train", "-m", "experiment=smoke", "root=runs/search", "evaluate_after=true", "hydra/sweeper=optuna",
        "hydra.sweeper.shared=true", f"hydra.sweeper.n_trials={_TRIALS}",
        "objective.optimizer.lr=tag(log, interval(1e-4, 1e-2))",
    ]  # fmt: skip
    case.run("generate", "experiment=smoke", "root=runs/search")
    with case.started(*_SRUN, "--job-name=workers", *LWEXP, *words) as workers:
        # A trial that is killed between its proposal and its start has no row in trials.json.
        wait_for("a trial on each node", lambda: len(list(case.folder.glob("runs/search/*/trial-*.log"))) == 2, 240)
        slurm("scancel", "--signal=KILL", "--name=workers")
        workers.wait(60)
    lost = _trials(case, "RUNNING")
    assert len({trial.user_attrs["worker"].partition("-")[0] for trial in lost}) == 2, lost

    case.run(*words, under=_SRUN)

    done = _trials(case, "COMPLETE")
    assert len(done) == _TRIALS, _trials(case)
    assert len({trial.params["objective.optimizer.lr"] for trial in done}) == _TRIALS, done
    assert {str(trial.params) for trial in lost} <= {str(trial.params) for trial in done}
    assert {trial.user_attrs["worker"].partition("-")[0] for trial in done} == {"node1", "node2"}, done
    (report,) = case.folder.glob("runs/search/search-*/report.html")
    statuses = [trial["status"] for trial in json.loads((report.parent / "trials.json").read_text())]
    assert sorted(statuses) == ["finished"] * _TRIALS + ["interrupted"] * len(lost), statuses


def _trials(case: Case, state: str | None = None) -> list[Any]:
    """The study's trials in this state; all without one."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found: list[Path] = list(case.folder.glob("runs/search/search-*/study.journal"))
    if not found:
        return []
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(found[0])))
    studies = optuna.get_all_study_names(storage)
    if not studies:
        return []
    trials = optuna.load_study(study_name=studies[0], storage=storage).trials
    return [trial for trial in trials if state in (None, trial.state.name)]
