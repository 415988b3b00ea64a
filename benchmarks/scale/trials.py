"""Trials: what a sweep itself takes for each, when a trial takes a tenth of a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

Work = Callable[[int, Path], Mapping[str, float]]

_TRIAL = """
import json, os, shutil, sys
source, seed = sys.argv[1], sys.argv[2].partition("=")[2]
run = os.path.join(os.path.dirname(source), "runs", f"eval-trial{seed}-{int(seed):08x}")
shutil.copytree(source, run)
for name in ("manifest.json", "config.json"):
    with open(os.path.join(run, name)) as file:
        tree = json.load(file)
    tree["seed"] = int(seed)
    if "id" in tree:
        tree["id"] = tree["name"] = os.path.basename(run)
    with open(os.path.join(run, name), "w") as file:
        json.dump(tree, file)
with open(os.environ["LWEXP_TRIAL_RECORD"], "a") as file:
    file.write(json.dumps(run) + "\\n")
"""
"""Instead of training and evaluating, a trial copies a finished evaluation and sets its seed."""


def finished_run(trials: int, folder: Path) -> None:
    """The evaluation of 20 answers that every trial copies."""
    from benchmarks.report_page import write_runs

    [run] = write_runs(folder / "made", 1, 20, lengths=(50, 100, 200, 400, 800))
    run.rename(folder / "evaluation")
    (folder / "trial.py").write_text(_TRIAL)


def swept() -> Work:
    """A sweep of that many trials, two at a time, with its comparison; then the same command again."""
    from lwexp.config.sweep_keys import Subprocess
    from lwexp.recipe.sweep import Sweep

    def work(size: int, folder: Path) -> Mapping[str, float]:
        where = Subprocess(max_parallel_trials=2, question="What does the seed change?")
        entry = [str(folder / "trial.py"), str(folder / "evaluation")]
        sweep = Sweep(entry=entry, root=folder / "sweeps", name="scale", where=where)
        jobs = [[f"seed={number}"] for number in range(size)]
        began = time.perf_counter()
        trials = sweep.run(jobs)
        ended = time.perf_counter()
        assert all(trial.status == "finished" for trial in trials), trials[0].reason
        assert all(trial.kept for trial in sweep.run(jobs))
        return {
            "first_seconds": ended - began,
            "repeat_seconds": time.perf_counter() - ended,  # nearly all of it the comparison
            "seconds_a_trial": (ended - began) / size,
        }

    return work
