"""Trials on this machine are stopped together, whenever they are told, and a trial that could not start says why."""

import signal
import time
from pathlib import Path

import pytest

from lwexp.config.sweep_keys import Subprocess
from lwexp.runs.jobs.local_jobs import LocalJobs
from lwexp.runs.trial_process import pid_file
from lwexp.runs.trials import Outcome, Trial, make_trials, settle_trial

# A trial that needs the other one to be told as well before it can end, as two that share a disk or a GPU may.
PARTNER = """
import pathlib, signal, sys, time
mine, other = sys.argv[1:]
folder = pathlib.Path(__file__).parent
def told(*_):
    (folder / f"{mine}.told").touch()
    deadline = time.monotonic() + 10
    while not (folder / f"{other}.told").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    (folder / f"{mine}.end").write_text("together" if (folder / f"{other}.told").exists() else "alone")
    sys.exit(143)
signal.signal(signal.SIGTERM, told)
(folder / f"{mine}.ready").touch()
time.sleep(60)
"""


def wait_for(*paths: Path) -> None:
    deadline = time.monotonic() + 60
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline, paths
        time.sleep(0.02)


def outcome_of(jobs: LocalJobs, trial: Trial) -> Outcome:
    deadline = time.monotonic() + 60
    while (found := jobs.outcome(trial)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.mark.slow
def test_all_trials_are_told_before_one_is_waited_for(tmp_path: Path) -> None:
    script = tmp_path / "partner.py"
    script.write_text(PARTNER)
    jobs, trials = LocalJobs(Subprocess(max_parallel_trials=2)), make_trials(tmp_path, [["a", "b"], ["b", "a"]])
    for place, trial in enumerate(trials):
        jobs.submit(trial, [str(script), *trial.overrides], place)
    wait_for(tmp_path / "a.ready", tmp_path / "b.ready")
    jobs.cancel(trials)
    assert [outcome_of(jobs, trial).exit_code for trial in trials] == [143, 143]
    assert {name: (tmp_path / f"{name}.end").read_text() for name in "ab"} == {"a": "together", "b": "together"}


@pytest.mark.slow
@pytest.mark.parametrize("stale", ["", "999999999"])
def test_a_trial_that_is_still_starting_does_not_outlive_its_sweep(tmp_path: Path, stale: str) -> None:
    """A process id that a killed sweep has left is not the trial's."""
    script = tmp_path / "sleeps.py"
    script.write_text("import time; time.sleep(60)")
    jobs, (trial,) = LocalJobs(Subprocess()), make_trials(tmp_path, [["lr=1"]])
    if stale:
        pid_file(trial.log).write_text(stale)
    jobs.submit(trial, [str(script)], 0)
    began = time.monotonic()
    jobs.cancel([trial])
    assert outcome_of(jobs, trial).exit_code == -signal.SIGTERM
    assert time.monotonic() - began < 50


@pytest.mark.slow
def test_the_job_files_of_two_hosts_or_starts_lie_apart(tmp_path: Path) -> None:
    """submitit names them by process id, and the same id on two hosts of a shared folder once ran one trial twice."""
    for trial in make_trials(tmp_path, [["lr=1"], ["lr=2"]]):
        jobs = LocalJobs(Subprocess())
        jobs.submit(trial, ["-c", "pass"], 0)
        assert outcome_of(jobs, trial).exit_code == 0
    files = list(tmp_path.rglob("*_submitted.pkl"))
    assert len(files) == len({file.parent for file in files}) == 2


@pytest.mark.slow
def test_a_trial_that_could_not_start_says_why(tmp_path: Path) -> None:
    jobs, (trial,) = LocalJobs(Subprocess()), make_trials(tmp_path, [["lr=1"]])
    Path(trial.log).mkdir()
    jobs.submit(trial, ["-c", "pass"], 0)
    settle_trial(trial, outcome_of(jobs, trial))
    assert (trial.status, trial.exit_code) == ("failed", 1)
    assert trial.reason == f"IsADirectoryError: [Errno 21] Is a directory: '{trial.log}'"
