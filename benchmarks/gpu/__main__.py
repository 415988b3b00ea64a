"""Checks and measurements that need a GPU. Each case prints one JSON line when it is done.

    python -m benchmarks.gpu --deadline 380    all stages; cases that do not fit into 380 s are left out
    python -m benchmarks.gpu parity zero       two of the stages
    python -m benchmarks.gpu --quick           tiny shapes, also on a machine without a GPU, to test this program

Stages, in order: parity (attention, log-probs, kernels), zero (DeepSpeed itself), command (``lwexp train``), ours
(speed), rivals (as time allows). The first line names the machine; the last one lists failures, missed parity checks
and cases that were not reached. The exit code is 1 if a case failed, missed parity, or a required one was not reached.
docs/gpu_kit.md says how to run this on a machine that cannot reach a package index.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.collect import Results, collect, named


def main() -> int:
    """Run stages until the deadline; returns the exit code."""
    start = time.monotonic()
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__, formatter_class=_Verbatim)
    parser.add_argument("stages", nargs="*", help="default: all")
    parser.add_argument("--deadline", type=float, default=3600.0, metavar="S", help="stop after S seconds")
    parser.add_argument("--quick", action="store_true", help="tiny shapes")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the lines to a file as well")
    asked = parser.parse_args()
    stages = named(asked.stages)
    with tempfile.TemporaryDirectory() as folder, _sigterm_raises():
        results = Results(asked.out or Path(folder) / "results.jsonl")
        collect(stages, asked.quick, start + asked.deadline, results)
        results.write(
            {
                "bench": "gpu",
                "cases": len(results.cases),
                "failed": results.failed,
                "parity_missed": results.missed,
                "not_reached": results.cut,
                "seconds": round(time.monotonic() - start, 1),
            }
        )
    return 1 if results.failed or results.missed or results.required_cut else 0


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that the stage's processes are stopped too."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Verbatim(argparse.RawDescriptionHelpFormatter):
    """Keeps the commands of the description on lines of their own."""


if __name__ == "__main__":
    sys.exit(main())
