"""The types of the GPU benchmark (cases, grouped into stages), and the process that runs a stage's cases."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from benchmarks.gpu.machine import describe_machine
from benchmarks.gpu.place import Place, find_place

Numbers = dict[str, Any]
"""Metrics of a case by name; ``parity_ok`` is 1.0 or 0.0, ``error`` is an error message."""


class Case(NamedTuple):
    """One measurement, which prints one line when it is done."""

    stage: str
    name: str
    """section/case/variant, unique."""
    run: Callable[[], Numbers]


class Stage(NamedTuple):
    """Cases that share a process."""

    name: str
    sections: tuple[str, ...]
    """Modules with ``cases(place, earlier)``; only their cases of this stage run."""
    seconds: float
    """Longest time that the stage may take; docs/gpu_kit.md has the arithmetic."""
    is_required: bool = True
    """Whether the exit code is 1 if the deadline cuts off one of the stage's cases."""


PACKAGE = "benchmarks.gpu"
STAGES = (
    Stage("parity", ("attention", "logprobs", "kernels"), 90),
    Stage("zero", ("zero",), 90),
    Stage("command", ("command",), 110),
    Stage("ours", ("train_step", "logprobs", "attention"), 90),
    Stage("rivals", ("attention", "logprobs", "train_step"), 600, is_required=False),  # cheap ones first
)
FATAL = 3
"""Exit code of a process whose CUDA context is broken; its other cases need a new process."""


def find_cases(stage: Stage, place: Place, earlier: Mapping[str, Numbers]) -> list[Case]:
    """The stage's cases on this machine, in order. A module that cannot be imported becomes one case with the error."""
    found: list[Case] = []
    for section in stage.sections:
        try:
            offered: list[Case] = import_module(f"{PACKAGE}.{section}").cases(place, earlier)
        except Exception as error:  # an error in one module must not stop the others
            offered = [Case(stage.name, section, _raises(error))]
        found += [case for case in offered if case.stage == stage.name]
    names = [case.name for case in found]
    assert len(set(names)) == len(names), f"two cases of stage {stage.name} share a name: {sorted(names)}"
    return found


def work(stage: Stage, quick: bool, earlier: Mapping[str, Numbers]) -> int:
    """Run the stage's cases that are not in ``earlier``, and print JSON lines to standard output.

    The first lines describe the machine and list the cases: ``{"cases": [...]}``. Each case then prints
    ``{"start": name}`` and ``{"case": name, ...}``. Output of libraries goes to standard error, so that it cannot break
    a line.
    """
    lines = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    place = find_place(quick)
    _tell(lines, describe_machine(place))
    cases = find_cases(stage, place, earlier)
    _tell(lines, {"cases": [case.name for case in cases]})
    for case in cases:
        if case.name in earlier:
            continue
        _tell(lines, {"start": case.name})
        numbers = run_case(case, place)
        _tell(lines, {"case": case.name, **numbers})
        if "CUDA error" in str(numbers.get("error")):
            return FATAL
    return 0


def run_case(case: Case, place: Place) -> Numbers:
    """The case's numbers or its error, and the seconds it took."""
    held = place.clear()
    start = time.perf_counter()
    try:
        numbers = case.run()
    except Exception as error:  # reported in the case's line
        numbers = {"error": describe(error)}
    if place.is_cuda:
        numbers = {**numbers, "held_before_mib": held}
    return {**numbers, "seconds": time.perf_counter() - start}


def describe(error: Exception) -> str:
    """The error's type and the first line of its message."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"[:300]


def _raises(error: Exception) -> Callable[[], Numbers]:
    def run() -> Numbers:
        raise error

    return run


def _tell(lines: Any, message: Mapping[str, Any]) -> None:
    lines.write(json.dumps({key: _short(value) for key, value in message.items()}) + "\n")
    lines.flush()


def _short(value: Any) -> Any:
    """Round to six digits: a remote console may keep only the last few thousand characters."""
    if isinstance(value, list):
        return [_short(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main(arguments: list[str]) -> int:
    """``STAGE quick|full RESULTS MODULE...``, as the collector starts it; cases that RESULTS holds are left out."""
    name, form, path, *sections = arguments
    with open(path, encoding="utf-8") as known:
        rows = [json.loads(line) for line in known]
    earlier = {row.pop("case"): row for row in rows if "case" in row}
    return work(Stage(name, tuple(sections), 0.0), form == "quick", earlier)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
