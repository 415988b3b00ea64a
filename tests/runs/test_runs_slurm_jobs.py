"""Trials as jobs of SLURM: what sbatch gets, and what is made of squeue's answers. The commands are stand-ins."""

import json
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from lwexp.config.sweep_keys import Slurm
from lwexp.runs.jobs import runner, slurm_jobs, slurm_queue
from lwexp.runs.jobs.job_process import exit_path
from lwexp.runs.jobs.slurm_jobs import SlurmJobs
from lwexp.runs.progress import counted
from lwexp.runs.trial_runner import run_trials
from lwexp.runs.trials import make_trials, write_trials

SBATCH = """#!/bin/bash
# Stands in for SLURM: keeps what it is given, and refuses a job of the partition nosuch.
grep -q partition=nosuch "$2" && { echo "sbatch: error: invalid partition specified: nosuch" >&2; exit 1; }
cp "$2" "$(dirname "$0")/submitted.sh"
number=$(( $(cat "$(dirname "$0")/count" 2>/dev/null || echo 4710) + 1 ))
echo $number > "$(dirname "$0")/count"
echo $number
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Stand-ins for SLURM's commands; returns how to set what squeue prints."""

    def tool(name, text):
        path = tmp_path / "slurm" / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    (tmp_path / "slurm").mkdir()
    tool("sbatch", SBATCH)
    tool("squeue", "true")
    tool("sacct", "echo Slurm accounting storage is disabled >&2; exit 1")
    tool("scancel", 'echo "$@" >> "$(dirname "$0")/cancelled"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'slurm'}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm_jobs, "ASK_SECONDS", 0)
    monkeypatch.setattr(slurm_jobs, "_FILE_SECONDS", 0)
    return lambda text: tool("squeue", f"printf '{text}'")


def ends(trial, code):
    exit_path(trial.log).write_text(json.dumps({"exit_code": code, "seconds": 12.5}))


def test_slurm_gets_the_right_batch_script(tmp_path, slurm):
    where = Slurm(
        gpus=8, processes=8, nodes=2, partition="long", account="lab", qos="high", time="10:00:00", cpus=16,
        memory_gb=512, container="/images/lwexp.sqsh", setup_lines=["module load cuda"],
    )  # fmt: skip
    (trial,) = make_trials(tmp_path / "sweep", [["lr=1"]])

    SlurmJobs(where, "sweep-lr", {"nodelist": "gpu[1-2]"}).submit(trial, ["script.py", "lr=1"], ["afterany:17"])

    lines = (tmp_path / "slurm" / "submitted.sh").read_text().splitlines()
    wanted = {
        "--gpus-per-node=8", "--nodes=2", "--ntasks-per-node=1", "--partition=long", "--account=lab", "--qos=high",
        "--time=600", "--cpus-per-task=16", "--mem=512G", "--signal=USR2@150", "--job-name=sweep-lr-1",
        "--nodelist='gpu[1-2]'", "--dependency=afterany:17", "--requeue",
    }  # fmt: skip
    assert wanted <= {line.removeprefix("#SBATCH ") for line in lines}, lines
    assert {"export SRUN_CPUS_PER_TASK=16", "export LWEXP_SAVE_SECONDS=150"} <= set(lines)
    assert lines.index("module load cuda") > max(i for i, line in enumerate(lines) if line.startswith("#SBATCH"))
    (srun,) = [line for line in lines if line.startswith("srun ")]
    assert "--container-image=/images/lwexp.sqsh" in srun
    assert "-m lwexp.runs.jobs.job_process" in srun
    assert trial.job == "4711"


def test_a_key_that_is_not_set_leaves_the_choice_to_the_cluster(tmp_path, slurm):
    (trial,) = make_trials(tmp_path / "sweep", [["lr=1"]])
    SlurmJobs(Slurm(), "sweep", {}).submit(trial, ["script.py"])
    text = (tmp_path / "slurm" / "submitted.sh").read_text()
    absent = ("--time", "--partition", "--mem", "--gpus-per-node", "--cpus-per-task", "--dependency")
    assert not [option for option in absent if option in text]


def test_a_trial_has_the_exit_code_of_its_first_failing_node(tmp_path, slurm):
    (trial,) = make_trials(tmp_path / "sweep", [["lr=1"]])
    jobs = SlurmJobs(Slurm(nodes=2), "sweep", {})
    jobs.submit(trial, ["script.py"])
    ends(trial, 0)
    assert jobs.outcome(trial) is None  # node 1 has not ended
    exit_path(trial.log.replace(".log", ".node1.log")).write_text('{"exit_code": 2, "seconds": 14.0}')
    assert jobs.outcome(trial) == (2, 14.0, None)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("4711|CANCELLED|None", "CANCELLED, job 4711"),
        ("4711|TIMEOUT|TimeLimit", "TIMEOUT (TimeLimit), job 4711, not saved within hydra.launcher.save_seconds=150"),
        ("4711|OUT_OF_MEMORY|OutOfMemory", "OUT_OF_MEMORY (OutOfMemory), job 4711"),
        ("4711|NODE_FAIL|NodeDown", "NODE_FAIL (NodeDown), job 4711"),
    ],
)
def test_a_job_that_leaves_no_exit_code_has_failed_in_slurms_words(tmp_path, slurm, said, reason):
    (trial,) = make_trials(tmp_path / "sweep", [["lr=1"]])
    jobs = SlurmJobs(Slurm(), "sweep", {})
    jobs.submit(trial, ["script.py"])
    slurm("4711|PENDING|Priority")
    jobs.refresh([trial])
    assert jobs.outcome(trial) is None
    assert trial.state == "PENDING (Priority)"
    slurm(said)
    jobs.refresh([trial])
    assert jobs.outcome(trial) == (None, None, reason)


@pytest.mark.parametrize(
    ("options", "truth"),
    [
        ({}, "not saved within hydra.launcher.save_seconds=60"),
        ({"signal": None}, "not told to save, because its sbatch option signal is null"),
        ({"signal": False}, "not told to save, because its sbatch option signal is null"),
        ({"signal": "USR1@900"}, "not saved after its sbatch option signal=USR1@900"),
    ],
    ids=["ours", "null", "false", "another"],
)
def test_a_job_at_its_time_limit_has_been_told_to_save_or_not(tmp_path, slurm, options, truth):
    """The script says what SLURM was asked for, and the reason agrees with it, also in a later process."""
    (trial,) = make_trials(tmp_path / "sweep", [["lr=1"]])
    SlurmJobs(Slurm(save_seconds=60), "sweep", options).submit(trial, ["script.py"])
    script = (tmp_path / "slurm" / "submitted.sh").read_text()
    assert ("--signal=" in script) == ("null" not in truth)
    assert ("LWEXP_SAVE_SECONDS=60" in script) == ("save_seconds" in truth)
    slurm("4711|TIMEOUT|TimeLimit")
    later = SlurmJobs(Slurm(), "sweep", {})
    later.ask([trial])
    assert later.outcome(trial, at_once=True) == (None, None, f"TIMEOUT (TimeLimit), job 4711, {truth}")


def test_a_trial_that_saved_and_was_not_queued_again_is_not_called_unsaved(tmp_path, slurm):
    """It has reached its limit more often than max_timeouts allows."""
    (trial,) = make_trials(tmp_path / "sweep", [["lr=1"]])
    jobs = SlurmJobs(Slurm(), "sweep", {})
    jobs.submit(trial, ["script.py"])
    Path(trial.log).write_text("error: the time limit was reached 4 times; raise hydra.launcher.time\n")
    ends(trial, 143)
    slurm("4711|TIMEOUT|TimeLimit")
    jobs.refresh([trial])
    assert jobs.outcome(trial) == (
        143, 12.5,
        "TIMEOUT (TimeLimit), job 4711, after: the time limit was reached 4 times; raise hydra.launcher.time",
    )  # fmt: skip


def test_a_second_start_watches_the_jobs_of_the_first_and_submits_what_is_missing(tmp_path, slurm):
    """The first start submits two of three trials and is killed; one of their jobs was cancelled since."""
    folder = tmp_path / "sweep"
    first = make_trials(folder, [["lr=1"], ["lr=2"], ["lr=3"]])
    jobs = SlurmJobs(Slurm(), "sweep", {})
    for trial in first[:2]:
        jobs.submit(trial, ["script.py"])
        trial.status = "running"
    write_trials(folder, first)
    slurm("4711|RUNNING|None\n4712|CANCELLED|None")

    again = make_trials(folder, [["lr=1"], ["lr=2"], ["lr=3"]])
    run_trials(["script.py"], again, Slurm(detach=True), folder)

    assert [trial.job for trial in again] == ["4711", "4713", "4714"]
    assert [trial.status for trial in again] == ["running"] * 3


def test_a_refusal_of_sbatch_is_one_line_and_the_other_trials_go_on(tmp_path, slurm, monkeypatch):
    folder, counts = tmp_path / "sweep", []

    @contextmanager
    def kept(*about):
        with counted(*about) as count:
            counts.append(count)
            yield count

    monkeypatch.setattr(runner, "counted", kept)
    trials = make_trials(folder, [["lr=1"], ["lr=2"]])
    run_trials(["script.py"], trials, Slurm(partition="nosuch"), folder)
    assert [trial.status for trial in trials] == ["failed", "failed"]
    assert trials[0].reason == "sbatch refused the job: invalid partition specified: nosuch"
    (count,) = counts
    assert (count.done, count.total) == (2, 2)


@pytest.mark.parametrize(("state", "queued"), [("RUNNING", True), ("COMPLETING", False)])
def test_a_preempted_job_is_queued_again_and_a_cancelled_one_is_not(tmp_path, slurm, state, queued):
    slurm(state)
    scontrol = tmp_path / "slurm" / "scontrol"
    scontrol.write_text('#!/bin/bash\necho "$@" > "$(dirname "$0")/asked"\n')
    scontrol.chmod(0o755)
    assert slurm_queue.requeue("4711") == queued
    assert (tmp_path / "slurm" / "asked").exists() == queued
