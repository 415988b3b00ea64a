"""A case of a cluster with accounting, where sacct knows the jobs that squeue has forgotten."""

from benchmarks.cluster.case import Case, slurm, wait_for, with_accounting


def accounting(case: Case) -> None:
    """Jobs that were cancelled and that reached their limit, long gone from squeue: reported in sacct's words.

    It changes the cluster, so it is the last case. The second job gets no signal before its limit.
    """
    with_accounting()
    gone = case.detached("forgotten", "hydra.launcher.sbatch.begin=now+1hour")
    slurm("scancel", gone)
    unwarned = ["hydra.launcher.sbatch.signal=null", "hydra.launcher.save_seconds=30", "objective.epochs=20000"]
    late = case.detached("late", *unwarned, minutes=1)
    wait_for("the end of both jobs in squeue", lambda: not {gone, late} & _in_squeue(), 300)

    rows = slurm("sacct", "-n", "-P", "-X", f"--jobs={gone},{late}", "--format=JobID,State").splitlines()
    assert sorted(rows) == sorted([f"{gone}|CANCELLED by 0", f"{late}|TIMEOUT"]), rows
    for name, words in (("forgotten", f"CANCELLED, job {gone}"), ("late", "TIMEOUT")):
        case.run("sweep", "status", case.sweep_folder(name), code=1)
        (trial,) = case.trials(name)
        assert trial["status"] == "failed", trial
        assert trial["reason"].startswith(words), trial
    # Not warned before its limit, it saved at SLURM's own SIGTERM, so nothing is said of a save that failed.
    assert "not told to save" not in trial["reason"], trial
    assert "SIGTERM at step" in trial["reason"], trial
    assert "; saved; run the same command again" in trial["reason"], trial


def _in_squeue() -> set[str]:
    """Ids of all jobs that squeue knows, also of those that have ended."""
    return set(slurm("squeue", "--noheader", "--states=all", "--me", "--format=%i").split())
