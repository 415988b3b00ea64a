"""Tests lwexp on a real SLURM with two nodes, in Linux namespaces of this machine. Needs root on Debian or Ubuntu.

    python -m benchmarks.cluster                       every case; ``make cluster-test`` does the same
    python -m benchmarks.cluster --case two_nodes      one case
    python -m benchmarks.cluster --keep                leaves the cluster running, to try commands by hand

Takes minutes. Installs SLURM if it is missing, starts the cluster, and stops it however the cases end.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.cluster.case import MACHINE, Case
from benchmarks.cluster.cases import CASES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this one; may be repeated")
    parser.add_argument("--keep", action="store_true", help="leave the cluster and the files where they are")
    options = parser.parse_args()
    _machine("install")
    os.environ["SLURM_CONF"] = "/run/lwexp-cluster/slurm.conf"
    _machine("up")
    failed = []
    try:
        folder = Path(tempfile.mkdtemp(prefix="lwexp-cluster-", dir=os.environ.get("CLUSTER_FOLDER")))
        print(f"cluster is up; files in {folder}", flush=True)
        case = Case(folder)
        begun = time.monotonic()
        case.run("generate", "experiment=smoke")
        for name in options.case or CASES:
            start = time.monotonic()
            try:
                CASES[name](case)
                outcome = "passed"
            except Exception as error:
                outcome = f"FAILED: {type(error).__name__}: {error}"
                failed.append(name)
                _end_all_jobs()
            print(f"{name:<24} {time.monotonic() - start:6.1f} s  {outcome}", flush=True)
        print(f"{len(options.case or CASES)} cases, {len(failed)} failed, {time.monotonic() - begun:.0f} s", flush=True)
    finally:
        if not options.keep:
            _machine("down")
    sys.exit(1 if failed else 0)


def _end_all_jobs() -> None:
    """A failed case may leave jobs, which the next one would wait for."""
    subprocess.run(["scancel", "--me", "--full"], check=False)
    time.sleep(5)


def _machine(action: str) -> None:
    subprocess.run(["bash", str(MACHINE), action], check=True)


if __name__ == "__main__":
    main()
