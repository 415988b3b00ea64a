"""Tests lwexp on a real SLURM with two nodes, in Linux namespaces of this machine. Needs root on Debian or Ubuntu.

    python -m benchmarks.cluster                       every case; ``make cluster-test`` does the same
    python -m benchmarks.cluster --case two_nodes      one case
    python -m benchmarks.cluster --keep                leaves the cluster running, to try commands by hand

Takes up to half an hour. Installs SLURM if it is missing, starts the cluster, and stops it however the cases end.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.cluster.case import MACHINE, Case
from benchmarks.cluster.cases import CASES, GROUPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this one; may be repeated")
    parser.add_argument("--keep", action="store_true", help="leave the cluster and the files where they are")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster is stopped then, too
    _machine("install")
    os.environ["SLURM_CONF"] = "/run/lwexp-cluster/slurm.conf"
    _machine("up")
    groups = [[[CASES[name] for name in options.case]]] if options.case else GROUPS
    outcomes: list[bool] = []
    try:
        folder = Path(tempfile.mkdtemp(prefix="lwexp-cluster-", dir=os.environ.get("CLUSTER_FOLDER")))
        print(f"cluster is up; files in {folder}", flush=True)
        case = Case(folder)
        begun = time.monotonic()
        case.run("generate", "experiment=smoke")
        for group in groups:
            outcomes += _run_group(group, case)
            if not all(outcomes):
                _end_all_jobs()
        count = f"{len(outcomes)} cases, {outcomes.count(False)} failed"
        print(f"{count}, {time.monotonic() - begun:.0f} s", flush=True)
    finally:
        if not options.keep:
            _machine("down")
    wanted = sum(len(lane) for group in groups for lane in group)
    sys.exit(0 if all(outcomes) and len(outcomes) == wanted else 1)


def _run_group(group: Sequence[Sequence[Callable[[Case], None]]], case: Case) -> list[bool]:
    """Run the lanes of a group beside each other; returns for each case whether it passed."""
    passed: list[bool] = []
    # Daemons, so that Ctrl-C does not wait for their cases.
    lanes = [threading.Thread(target=_run_lane, args=(lane, case, passed), daemon=True) for lane in group]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    return passed


def _run_lane(lane: Sequence[Callable[[Case], None]], case: Case, passed: list[bool]) -> None:
    """Run cases one after the other, and append for each whether it passed."""
    for run in lane:
        start = time.monotonic()
        try:
            run(case)
            outcome = "passed"
        except Exception as error:
            outcome = f"FAILED: {type(error).__name__}: {error}"
        passed.append(outcome == "passed")
        print(f"{run.__name__:<24} {time.monotonic() - start:6.1f} s  {outcome}", flush=True)


def _end_all_jobs() -> None:
    """Failed cases may leave jobs, for which the next group would wait."""
    subprocess.run(["scancel", "--me", "--full"], check=False)
    time.sleep(5)


def _machine(action: str) -> None:
    if code := subprocess.run(["bash", str(MACHINE), action], check=False).returncode:
        sys.exit(code)  # the script has said why


if __name__ == "__main__":
    main()
