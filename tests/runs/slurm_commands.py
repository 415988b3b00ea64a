"""SLURM's commands as they answer in a test. No SLURM is needed."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from lwexp.runs.jobs.job_process import JobFile, job_path
from lwexp.runs.trial_process import TrialProcess
from lwexp.runs.trials import make_trials, write_trials

Answer = tuple[int, str, str] | None
"""Exit code, standard output, standard error; None for no answer."""
UNREACHABLE = (1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")


class Commands:
    """SLURM's commands, and what they were asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {
            "sbatch": (0, "99\n", ""),
            "sacct": (1, "", "disabled"),
            "scancel": (0, "", ""),
            "squeue --name": (0, "", ""),
        }
        self.asked: list[str] = []

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
        self.asked.append(command[0])
        asks_for_a_name = any(word.startswith("--name=") for word in command)
        answer = self.answers.get("squeue --name" if asks_for_a_name else command[0])
        return None if answer is None else subprocess.CompletedProcess(command, *answer)


def submitted_sweep(folder: Path) -> Path:
    """A sweep whose two trials an earlier process has submitted as jobs 17 and 18."""
    folder.mkdir()
    trials = make_trials(folder, [["lr=1"], ["lr=2"]])
    for trial, job in zip(trials, ("17", "18"), strict=True):
        trial.job, trial.status = job, "running"
        JobFile(TrialProcess(("script.py",), trial.log, trial.record), 150, 3, "USR2@150").write(job_path(trial.log))
    write_trials(folder, trials)
    return folder
