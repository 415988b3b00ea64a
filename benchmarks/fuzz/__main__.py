"""Thousands of odd, damaged and hostile inputs at a door of lwexp: how many end in a traceback or a hang.

    python -m benchmarks.fuzz import              10,000 cases; one of the doors below, or all
    python -m benchmarks.fuzz all --cases 300     fewer; --quick is --cases 50
    python -m benchmarks.fuzz import --start 7    other cases; the same number tries the same ones

Each case must end in a result or in the user's one line (``LwexpError``) within ten seconds of processor time. The
shortest input of each other end is printed. The last line is JSON; the exit code is 1 if there was any.
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys

from benchmarks.fuzz.doors import DOORS
from benchmarks.fuzz.fuzzing import fuzz
from benchmarks.output import Results, show

_GIB = 2**30


def main() -> int:
    """Fuzz the doors that the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.fuzz", description=f"Doors: {', '.join(DOORS)}, or all.")
    parser.add_argument("doors", nargs="*", default=["all"], metavar="door")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--start", type=int, default=0, help="number that chooses the cases")
    parser.add_argument("--quick", action="store_true", help="50 cases at each door")
    asked = parser.parse_args()
    names = list(DOORS) if "all" in asked.doors else asked.doors
    if unknown := [name for name in names if name not in DOORS]:
        parser.error(f"no such door: {unknown[0]}; there are {', '.join(DOORS)}")
    # An input that asks for a terabyte must fail in this process and not stop the machine.
    resource.setrlimit(resource.RLIMIT_AS, (16 * _GIB, resource.getrlimit(resource.RLIMIT_AS)[1]))
    logging.disable(logging.CRITICAL)
    results: Results = {}
    for name in names:
        outcome = fuzz(DOORS[name], 50 if asked.quick else asked.cases, asked.start)
        for found in outcome.findings.values():
            print(f"{name}: {found}", file=sys.stderr)
        results[name] = {
            "ours": {
                "cases": outcome.cases,
                "refused": outcome.refused,
                "tracebacks": outcome.tracebacks,
                "hangs": outcome.hangs,
                "slowest_ms": round(outcome.slowest_ms, 1),
            }
        }
    show("fuzz", results, packages=("hypothesis", "pydantic", "pyarrow", "transformers"))
    bad = sum(row["ours"]["tracebacks"] + row["ours"]["hangs"] for row in results.values())
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
