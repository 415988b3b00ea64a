"""SLURM's commands as they answer in a test. No SLURM is needed."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from lwexp.runs.jobs.job_process import JobFile, exit_path, job_path
from lwexp.runs.trial_process import TrialProcess
from lwexp.runs.trials import make_trials, read_trials, write_trials

Answer = tuple[int, str, str] | None
"""Exit code, standard output, standard error; None for no answer."""
UNREACHABLE = (1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
LIVE: Answer = (0, "17|RUNNING|None\n18|RUNNING|None\n", "")


class Commands:
    """SLURM's commands, and what they were asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {
            "sbatch": (0, "99\n", ""),
            "sacct": (1, "", "disabled"),
            "scancel": (0, "", ""),
            "squeue %o": (0, "", ""),
        }
        self.asked: list[str] = []

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
        self.asked.append(command[0])
        asks_for_scripts = any(word.endswith("%o") for word in command)
        answer = self.answers.get(command[0])
        if asks_for_scripts and answer is not None and answer[0] == 0:
            answer = self.answers["squeue %o"]
        return None if answer is None else subprocess.CompletedProcess(command, *answer)


class Clock:
    """Time that passes only while a sweep sleeps; ``events`` happen at their second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events: dict[float, Callable[[], object]] = {}

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def sleep(self, _: float) -> None:
        self.now += 5.0
        assert self.now < 10_000, "the sweep waits for ever"
        for moment in [moment for moment in self.events if moment <= self.now]:
            self.events.pop(moment)()


def answers(commands: Commands, **said: Answer) -> Callable[[], None]:
    return lambda: commands.answers.update(said)


def finish(folder: Path, *numbers: int) -> None:
    for number in numbers:
        exit_path(str(folder / f"trial-{number}.log")).write_text(json.dumps({"exit_code": 0, "seconds": 5.0}))


def states(folder: Path) -> list[tuple[str | None, str, str | None]]:
    return [(trial.job, trial.status, trial.reason) for trial in read_trials(folder)]


def submitted_sweep(folder: Path) -> Path:
    """A sweep whose two trials an earlier process has submitted as jobs 17 and 18."""
    folder.mkdir()
    trials = make_trials(folder, [["lr=1"], ["lr=2"]])
    for trial, job in zip(trials, ("17", "18"), strict=True):
        trial.job, trial.status = job, "running"
        JobFile(TrialProcess(("script.py",), trial.log, trial.record), 150, 3, "USR2@150").write(job_path(trial.log))
    write_trials(folder, trials)
    return folder
