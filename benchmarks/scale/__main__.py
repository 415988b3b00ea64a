"""How time and memory grow: each measurement at two sizes, with its slope and what a larger size would take.

    python -m benchmarks.scale import        one of the measurements below, or all; each takes at most three minutes
    python -m benchmarks.scale all --quick   sizes of a hundredth, to see that they run

Each size runs in a process of its own. ``seconds`` is wall time, ``cpu_seconds`` that of all threads. ``peak_mib`` is
the most memory that the process had, ``idle_mib`` what it had after its imports; ``times_input`` is the difference of
the two over the size of the input. ``slope`` is that of the time in a log-log plot: 1 is linear, 2 quadratic.
``memory_slope`` is that of the memory above the idle process. ``at`` is the size that the last two numbers are
extrapolated to, ``hours_there`` and ``gib_there``. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.data_prep import peak_mib
from benchmarks.output import Results, show
from benchmarks.scale.cases import CASES, Case
from lwexp.config.folders import REPOSITORY

_MIB = 2**20


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(prog="benchmarks.scale", description=f"Measurements: {', '.join(CASES)}, or all.")
    parser.add_argument("what", nargs="*", default=["all"])
    parser.add_argument("--quick", action="store_true", help="sizes of a hundredth")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        name, size, folder = given.child
        print(json.dumps(_measured(CASES[name], int(size), Path(folder))))
        return
    names = list(CASES) if "all" in given.what else given.what
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"no such measurement: {unknown[0]}; there are {', '.join(CASES)}")
    results: Results = {}
    for name in names:
        results |= _both_sizes(name, CASES[name], 100 if given.quick else 1)
    show("scale", results, ("numpy", "pydantic", "pyarrow", "lwexp"))


def _both_sizes(name: str, case: Case, divisor: int) -> Results:
    """The numbers at each size, and what follows from them."""
    found: Results = {}
    rows = []
    small = max(case.least, case.sizes[0] // divisor)
    for size in (small, small * case.sizes[1] // case.sizes[0]):
        with tempfile.TemporaryDirectory() as folder:
            case.prepare(size, Path(folder))
            command = [sys.executable, "-m", "benchmarks.scale", "--child", name, str(size), folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=REPOSITORY)
        numbers: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        found[f"{name}: {size:,} {case.unit}"] = {"ours": numbers}
        print(f"{name}: {size:,} {case.unit}: {numbers}", file=sys.stderr)
        rows.append((size, numbers))
    (small, before), (large, after) = rows
    slopes = {
        key: _slope(small, large, before[key], after[key]) for key in after if key.endswith("seconds") and after[key]
    }
    memory = _slope(small, large, _above(before), _above(after))
    times = case.at / large
    found[f"{name}: growth"] = {
        "ours": {
            **{f"slope_{key}": round(slope, 2) for key, slope in slopes.items()},
            "memory_slope": round(memory, 2),
            "at": float(case.at),
            "hours_there": round(after["seconds"] * times ** max(1.0, slopes["seconds"]) / 3600, 2),
            "gib_there": round((after["idle_mib"] + _above(after) * times ** max(0.0, memory)) / 1024, 1),
        }
    }
    return found


def _above(numbers: dict[str, float]) -> float:
    return max(1.0, numbers["peak_mib"] - numbers["idle_mib"])


def _slope(small: int, large: int, before: float, after: float) -> float:
    return math.log(max(after, 1e-3) / max(before, 1e-3)) / math.log(large / small)


def _measured(case: Case, size: int, folder: Path) -> dict[str, float]:
    """What the child process does."""
    work = case.start()
    idle = _resident_mib()
    started, cpu_started = time.perf_counter(), time.process_time()
    more = work(size, folder)
    numbers = {
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(time.process_time() - cpu_started, 2),
        "idle_mib": round(idle),
        "peak_mib": round(peak_mib()),
        **{key: round(value, 3) for key, value in more.items()},
    }
    if (source := folder / "input").is_dir():
        size_mib = sum(file.stat().st_size for file in source.rglob("*") if file.is_file()) / _MIB
        numbers |= {"input_mib": round(size_mib, 1), "times_input": round(_above(numbers) / size_mib, 2)}
    return numbers


def _resident_mib() -> float:
    """Resident memory of this process now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
