"""Cases of jobs in the queue, whose command has ended, was killed or lost its terminal."""

import fcntl
import os
import pty
import signal
import subprocess
import termios

from benchmarks.cluster.case import LWEXP, Case, slurm, state_of, wait_for

_LATER = "hydra.launcher.sbatch.begin=now+1hour"
_LR = "objective.optimizer.lr=1e-3"


def cancelled_pending(case: Case) -> None:
    """``scancel`` of a waiting job: the sweep notices it without accounting and reports SLURM's own word for it."""
    sacct = subprocess.run(["sacct"], capture_output=True, text=True, check=False)
    assert "accounting storage is disabled" in sacct.stderr, "this cluster has accounting, so the case shows nothing"
    job = case.detached("gone", _LATER)
    assert "PENDING" in case.run("sweep", "status", case.sweep_folder("gone"))
    slurm("scancel", job)
    case.run("sweep", "wait", case.sweep_folder("gone"), code=1)
    (trial,) = case.trials("gone")
    assert trial["status"] == "failed", trial
    assert trial["reason"].startswith("CANCELLED"), trial


def refused(case: Case) -> None:
    """sbatch refuses a job: lwexp prints its message in one line, without a traceback."""
    said = case.sweep("no", "hydra.launcher.partition=nosuch", _LR, code=1)
    (trial,) = case.trials("no")
    assert "invalid partition" in trial["reason"], trial
    assert sum("sbatch refused the job" in line for line in said.splitlines()) >= 1, said[-500:]


def failed_trial(case: Case) -> None:
    """A trial with a mistake: its line is the reason, and its job has failed in SLURM too; the other one trains."""
    case.sweep("bad", "objective.optimizer.lr=-1,1e-3", "hydra.launcher.sbatch.comment=bad", code=1)
    bad, good = case.trials("bad")
    assert (bad["status"], bad["exit_code"], good["status"]) == ("failed", 2, "finished"), (bad, good)
    assert "objective.optimizer.lr" in bad["reason"], bad
    states = dict(line.split() for line in slurm("squeue", "-h", "--states=all", "--format=%i %T").splitlines())
    assert (states[bad["job"]], states[good["job"]]) == ("FAILED", "COMPLETED"), states


def attached_again(case: Case) -> None:
    """Running the same command again watches the waiting jobs and submits nothing. One of the two runs at a time."""
    words = ["objective.optimizer.lr=1e-3,2e-3", "hydra.launcher.max_parallel_trials=1"]
    case.sweep("back", *words, "hydra.launcher.detach=true")
    first = [trial["job"] for trial in case.trials("back")]
    assert "(Dependency)" in slurm("squeue", "-h", "-j", first[1], "-o", "%R")
    case.sweep("back", *words)
    assert [trial["job"] for trial in case.trials("back")] == first
    assert [trial["status"] for trial in case.trials("back")] == ["finished", "finished"]


def slots(case: Case) -> None:
    """``max_parallel_trials=1`` without detach: the second of two trials is not submitted while the first waits."""
    words = [_LATER, "hydra.launcher.max_parallel_trials=1", "objective.optimizer.lr=1e-3,2e-3"]
    with case.started(*LWEXP, *case.sweep_words("slots", *words)) as sweep:
        wait_for("the first job", lambda: _jobs(case, "slots"), 120)
        assert not _within(15, lambda: len(_jobs(case, "slots")) > 1), _jobs(case, "slots")
        assert sweep.poll() is None
        slurm("scancel", *_jobs(case, "slots"))
        wait_for("the second job", lambda: len(_jobs(case, "slots")) == 2, 120)
        slurm("scancel", *_jobs(case, "slots"))
        assert sweep.wait(180) == 1


def killed_login(case: Case) -> None:
    """``kill -9`` of the sweep's process: its job stays, and the same command takes it over."""
    words = case.sweep_words("killed", _LATER, _LR)
    with case.started(*LWEXP, *words) as sweep:
        wait_for("the job", lambda: _jobs(case, "killed"), 120)
        sweep.kill()
        sweep.wait(30)
    _is_taken_over(case, "killed")


def second_login(case: Case) -> None:
    """The same command while another process watches the sweep: one line, and no second job."""
    with case.started(*LWEXP, *case.sweep_words("twice", _LATER, _LR)) as sweep:
        wait_for("the job", lambda: _jobs(case, "twice"), 120)
        said = case.run(*case.sweep_words("twice", _LATER, _LR), code=2)
        assert f"is in use by another process (process {sweep.pid} on " in said, said
        sweep.kill()
    _is_taken_over(case, "twice")


def closed_terminal(case: Case) -> None:
    """The terminal is closed, which sends SIGHUP: the job stays, and the same command takes it over."""
    terminal, end = pty.openpty()
    words = [*LWEXP, *case.sweep_words("closed", _LATER, _LR)]
    with case.started(*words, stdin=end, stdout=end, stderr=end, preexec_fn=lambda: _own(end)) as sweep:
        os.close(end)
        wait_for("the job", lambda: _jobs(case, "closed"), 120)
        os.close(terminal)
        assert sweep.wait(60) == 143, f"exit code {sweep.returncode}"
    _is_taken_over(case, "closed")


def _own(end: int) -> None:
    """Make the terminal that of this process, which may have inherited that it ignores SIGHUP, from nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.setsid()
    fcntl.ioctl(end, termios.TIOCSCTTY, 0)


def _is_taken_over(case: Case, name: str) -> None:
    (job,) = _jobs(case, name)
    assert state_of(job) == "PENDING", state_of(job)
    case.sweep(name, _LATER, "hydra.launcher.detach=true", _LR)
    assert _jobs(case, name) == [job]
    named = slurm("squeue", "--noheader", "--format=%j").splitlines()
    folder = case.sweep_folder(name).rpartition("/")[2]
    assert named.count(f"{folder}-1") == 1, named
    case.cancel(name, job)


def _jobs(case: Case, name: str) -> list[str]:
    return [trial["job"] for trial in case.trials(name) if trial["job"] is not None]


def _within(seconds: float, happens: object) -> bool:
    assert callable(happens)
    try:
        wait_for("", happens, seconds)
    except AssertionError:
        return False
    return True
