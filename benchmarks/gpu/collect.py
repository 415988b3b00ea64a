"""Starts one process per stage and records each finished case at once, so that a later crash does not lose it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

from benchmarks.gpu.cases import STAGES, Numbers, Stage

REPOSITORY = Path(__file__).resolve().parents[2]


class Results:
    """Prints one line for each finished case at once, and writes the same line to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cases: dict[str, Numbers] = {}
        self.machine: Numbers | None = None
        self.required_cut: list[str] = []
        self.cut: list[str] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")

    def write(self, line: Numbers) -> None:
        """Print a line and keep it."""
        text = json.dumps(line)
        with self.path.open("a", encoding="utf-8") as out:
            out.write(text + "\n")
        print(text, flush=True)
        if "device" in line:
            self.machine = line
        if "case" in line:
            self.cases[line["case"]] = {key: value for key, value in line.items() if key != "case"}

    @property
    def failed(self) -> list[str]:
        """Cases with an error."""
        return [name for name, numbers in self.cases.items() if "error" in numbers]

    @property
    def missed(self) -> list[str]:
        """Cases whose parity check failed."""
        return [name for name, numbers in self.cases.items() if numbers.get("parity_ok", 1.0) != 1.0]


class Attempt:
    """One process of a stage: the cases it announced, and the one it is running."""

    def __init__(self, results: Results) -> None:
        self.planned: list[str] = []
        self.running: str | None = None
        self.results = results

    def read(self, lines: IO[str]) -> None:
        """Read the lines of a process until it ends."""
        for text in lines:
            try:
                line = json.loads(text)
            except json.JSONDecodeError:  # the process was killed in the middle of a line
                continue
            if "cases" in line:
                self.planned = line["cases"]
            elif "device" in line:  # each process describes the machine; once is enough
                if self.results.machine is None:
                    self.results.write(line)
            elif "start" in line:
                self.running = line["start"]
            else:
                self.running = None
                self.results.write(line)


def collect(stages: tuple[Stage, ...], quick: bool, deadline: float, results: Results) -> None:
    """Run stages one after the other until ``deadline``, a value of ``time.monotonic()``."""
    for stage in stages:
        ends = min(deadline, time.monotonic() + stage.seconds)
        planned = run_stage(stage, quick, ends, results)
        cut = [name for name in planned if name not in results.cases]
        results.cut += cut
        results.required_cut += cut if stage.is_required else []


def run_stage(stage: Stage, quick: bool, ends: float, results: Results) -> list[str]:
    """Run a stage. Returns the names of its cases, or the stage's own name if there was no time to list them.

    If a process dies, the case it was running is reported as failed, and another process runs the remaining cases.
    """
    planned = [stage.name]
    while (left := ends - time.monotonic()) > 1:
        before = len(results.cases)
        attempt, code, complaint = run_process(stage, quick, left, results)
        planned = attempt.planned or planned
        if code is None:
            return planned
        if attempt.running is not None or len(results.cases) == before:
            where = attempt.running or next((name for name in planned if name not in results.cases), None)
            if where is not None:
                results.write({"case": where, "error": f"exit code {code}: {complaint}"})
        if all(name in results.cases for name in planned):
            return planned
    return planned


def run_process(stage: Stage, quick: bool, seconds: float, results: Results) -> tuple[Attempt, int | None, str]:
    """What one process did, its exit code (None if it ran out of time) and the last line of its standard error."""
    form = "quick" if quick else "full"
    command = [sys.executable, "-m", "benchmarks.gpu.cases", stage.name, form, str(results.path), *stage.sections]
    attempt = Attempt(results)
    # A session of its own, so that the training commands it starts end with it.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints,
        subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=complaints, text=True, start_new_session=True
        ) as process,
    ):
        assert process.stdout is not None
        reader = threading.Thread(target=attempt.read, args=(process.stdout,))
        reader.start()
        code: int | None = None
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            reader.join()
        complaints.seek(0)
        last = (complaints.read().strip().splitlines() or ["no message"])[-1]
    return attempt, code, last[:300]


def named(names: list[str]) -> tuple[Stage, ...]:
    """The stages with these names; all stages if no name is given."""
    known = {stage.name: stage for stage in STAGES}
    if unknown := sorted(set(names) - known.keys()):
        raise SystemExit(f"benchmarks.gpu: no stage {unknown[0]!r}; choose from: {', '.join(known)}")
    return tuple(known[name] for name in names) if names else STAGES
