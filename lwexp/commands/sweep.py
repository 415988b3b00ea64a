"""Sweeps on SLURM, after their command has ended: see their jobs, wait for them, cancel them.

    lwexp sweep status runs/sweep-lr-1a2b3c4d     each trial with its job's state, in SLURM's words
    lwexp sweep wait runs/sweep-lr-1a2b3c4d       waits for the jobs, then compares the trials
    lwexp sweep cancel runs/sweep-lr-1a2b3c4d     cancels the jobs; those that run save first

The folder is the one that the sweep has named. To submit what is missing, repeat the sweep's own command.
"""

import argparse
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Entry point of ``lwexp sweep``. Returns 1 if a trial has failed."""
    parser = argparse.ArgumentParser(
        prog="lwexp sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["status", "wait", "cancel"])
    parser.add_argument("folder", type=Path, help="the sweep's folder")
    options = parser.parse_args(argv)

    from lwexp.recipe.sweep_jobs import cancel, status, wait

    trials = {"status": status, "wait": wait, "cancel": cancel}[options.action](options.folder)
    return int(any(trial.status == "failed" for trial in trials))
