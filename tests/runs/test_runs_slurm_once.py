"""A job that SLURM has got without saying so is found, and not submitted twice. No SLURM is needed."""

import json
from pathlib import Path

import pytest

from lwexp.config.sweep_keys import Slurm
from lwexp.records import LwexpError
from lwexp.runs.trial_runner import run_setup, run_trials
from lwexp.runs.trials import make_trials, read_trials
from tests.runs.slurm_commands import Answer, Clock, Commands, answers, finish, states

TIMED_OUT: Answer = (1, "", "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n")


@pytest.mark.parametrize("sbatch", [TIMED_OUT, None], ids=["it says that it timed out", "it never returned"])
def test_the_next_start_of_a_sweep_finds_the_job_that_the_first_one_knew_nothing_of(
    commands: Commands, tmp_path: Path, sbatch: Answer
) -> None:
    folder = tmp_path / "sweep"
    commands.answers |= {"sbatch": sbatch, "squeue": (0, "", "")}
    with pytest.raises(LwexpError, match=r"^sbatch does not answer: .*; try again$"):
        run_trials(["script.py"], make_trials(folder, [["lr=1"]]), Slurm(detach=True), folder)
    assert states(folder) == [(None, "waiting", None)]

    script = folder / "trial-0.sbatch"
    commands.answers |= {"sbatch": (0, "99\n", ""), "squeue %o": (0, f"18|PENDING|{script}\n", "")}
    run_trials(["script.py"], make_trials(folder, [["lr=1"]]), Slurm(detach=True), folder)
    assert states(folder) == [("18", "running", None)]


def test_a_job_that_slurm_has_got_although_sbatch_failed_is_taken_at_once(commands: Commands, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    commands.answers |= {"sbatch": TIMED_OUT, "squeue": (0, "", "")}
    commands.answers["squeue %o"] = (0, f"18|PENDING|{folder / 'trial-0.sbatch'}\n", "")
    run_trials(["script.py"], make_trials(folder, [["lr=1"]]), Slurm(detach=True), folder)
    assert states(folder) == [("18", "running", None)]


def test_the_same_sweeps_jobs_below_another_root_and_ended_ones_are_not_taken(
    commands: Commands, tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    commands.answers |= {"sbatch": None, "squeue": (0, "", "")}
    with pytest.raises(LwexpError, match=r"^sbatch does not answer"):
        run_trials(["script.py"], make_trials(folder, [["lr=1"]]), Slurm(detach=True), folder)
    others = f"7|RUNNING|/elsewhere/sweep/trial-0.sbatch\n8|CANCELLED|{folder / 'trial-0.sbatch'}\n"
    commands.answers |= {"sbatch": (0, "99\n", ""), "squeue %o": (0, others, "")}
    run_trials(["script.py"], make_trials(folder, [["lr=1"]]), Slurm(detach=True), folder)
    assert states(folder) == [("99", "running", None)]


def test_what_a_job_has_written_before_it_is_found_stays(commands: Commands, tmp_path: Path, clock: Clock) -> None:
    """The second trial's job ends while it is not known: its exit code and its runs are its own."""
    folder = tmp_path / "sweep"
    trials = make_trials(folder, [["lr=1"], ["lr=2"]])
    commands.answers |= {"sbatch": (0, "17\n", ""), "squeue": (0, "17|RUNNING|None\n", "")}
    clock.events = {
        64: answers(commands, sbatch=None, squeue=None),
        65: lambda: finish(folder, 0),
        200: lambda: finish(folder, 1),
        205: lambda: Path(trials[1].record).write_text(json.dumps("runs/made") + "\n"),
        300: answers(commands, squeue=(0, "18|COMPLETING|None\n", "")),
        310: answers(commands, squeue=(0, "18|COMPLETED|None\n", "")),
    }
    commands.answers["squeue %o"] = (0, f"18|COMPLETING|{folder / 'trial-1.sbatch'}\n", "")
    run_trials(["script.py"], trials, Slurm(max_parallel_trials=1), folder)
    assert states(folder) == [("17", "finished", None), ("18", "finished", None)]
    assert read_trials(folder)[1].runs == ["runs/made"]


@pytest.mark.parametrize(("command", "job"), [("script.py", "17"), ("other.py", "99")])
def test_a_setup_command_that_still_runs_is_waited_for_unless_another_takes_its_place(
    commands: Commands, tmp_path: Path, clock: Clock, command: str, job: str
) -> None:
    """Its sweep has ended, because SLURM was silent for too long."""
    folder = tmp_path / "sweep"
    commands.answers |= {"sbatch": (0, "17\n", ""), "squeue": None}
    with pytest.raises(LwexpError, match=r"run the same command to go on$"):
        run_setup(["script.py"], 1, folder, Slurm())

    running = f"17|RUNNING|{folder / 'setup-1.sbatch'}\n"
    commands.answers |= {"sbatch": (0, "99\n", ""), "squeue": (0, "17|RUNNING|None\n99|RUNNING|None\n", "")}
    commands.answers["squeue %o"] = (0, running, "")
    ended = (folder / "setup-1.exit.json").write_text
    clock.events[clock.now + 60] = lambda: ended(json.dumps({"exit_code": 0, "seconds": 5.0}))
    done = run_setup([command], 1, folder, Slurm())
    assert (done.job, done.status) == (job, "finished")
