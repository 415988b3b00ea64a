"""``kill -9`` while outputs are written that replace earlier ones: an export, a report, and a sweep's trials.

    python -m benchmarks.kills export|report|sweep [--quick]

An undisturbed run comes first. Then the same command is killed with SIGKILL, mostly while it writes, and started again.
After each kill the output must be whole: the version before, or the new one; an export may also be absent. In the end
it must be that of the undisturbed run. A sweep is killed with or without its trials, and in the end every trial must
have finished with the undisturbed drafts.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from benchmarks.output import show
from benchmarks.report_page import write_runs
from lwexp.config.folders import REPOSITORY

Contents = dict[str, str]
_TIMES = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?")
_TRIALS = 4


def main(stage: str) -> None:
    """Kill one stage."""
    quick = "--quick" in sys.argv
    wanted = 3 if quick else 12
    found = {"export": export, "report": report, "sweep": sweep}[stage](wanted)
    show(f"kills_{stage}", {"kill_9": {"ours": found}}, packages=("lwexp",))
    if found["kills"] < wanted or found.get("while_writing") == 0:
        sys.exit(f"only {found['kills']} of {wanted} kills, or none of them while the output was written")
    if found["not_whole"] or not found["equal_in_the_end"]:
        sys.exit("the output was not whole after a kill, or is not that of the undisturbed run")


def export(kills: int) -> dict[str, float]:
    """A model folder that replaces an earlier one of the same run."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for made in (["generate_data.py"], ["train.py", "name=sft"]):
            _finish([*made, "experiment=smoke", f"root={folder / 'runs'}"])
        words = ["-m", "lwexp.export", "run=sft", f"root={folder / 'runs'}", f"out={folder / 'out'}"]
        return _replaced(words, folder, folder / "out", kills)


def report(kills: int) -> dict[str, float]:
    """A report with a folder of texts that replaces one of fewer models."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        runs = [str(run) for run in write_runs(folder / "runs", 4, 250)]
        out = folder / "out"
        out.mkdir()
        page = ["--out", str(out / "report.html")]
        _finish(["-m", "lwexp.report", *runs[:2], *page])
        return _replaced(["-m", "lwexp.report", *runs, *page], folder, out, kills)


def _replaced(words: list[str], folder: Path, out: Path, kills: int) -> dict[str, float]:
    """Kill a command that replaces ``out``, each time from the version that is there before it."""
    draw = random.Random(0)
    before = folder / "before"
    if out.is_dir():  # the report of fewer models
        shutil.copytree(out, before)
    started = time.perf_counter()
    writing = _watched(words, folder, out)
    whole = time.perf_counter() - started
    calm = _contents(out)
    former = _contents(before) if before.is_dir() else calm
    killed, not_whole, while_writing = 0, 0, 0
    while killed < kills:
        if before.is_dir():
            shutil.rmtree(out)
            shutil.copytree(before, out)
        process = _start(words)
        if draw.random() < 0.25:
            _wait(process, lambda: False, draw.uniform(0, whole))
        else:
            names = frozenset(_names(folder, out))
            _wait(process, partial(_has_changed, folder, out, names), 60)
            _wait(process, lambda: False, draw.uniform(0, writing))
        if not _killed(process):
            continue
        killed += 1
        while_writing += any(name.endswith(".tmp") for name in _names(folder, out))
        not_whole += not _is_whole(out, former, calm)
    _finish(words)
    return {
        "kills": killed,
        "while_writing": while_writing,
        "not_whole": not_whole,
        "equal_in_the_end": float(_contents(out) == calm),
        "left_behind": float(sum(name.endswith(".tmp") for name in _names(folder, out))),
    }


def sweep(kills: int) -> dict[str, float]:
    """A sweep over four seeds; its trials write drafts."""
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def words(root: str) -> list[str]:
            seeds = ",".join(map(str, range(_TRIALS)))
            return ["generate_data.py", "-m", "experiment=smoke", f"seed={seeds}", f"root={folder / root}",
                    "hydra.launcher.max_parallel_trials=2"]  # fmt: skip

        started = time.perf_counter()
        _finish(words("calm"))
        whole = time.perf_counter() - started
        killed = starts = 0
        while killed < kills and starts < 3 * kills:
            starts += 1
            process = _start(words("wild"))
            _wait(process, lambda: False, draw.uniform(0, whole / 2))
            if draw.random() < 0.5:
                for pid in _trial_pids(folder / "wild"):
                    _kill(pid)
            killed += _killed(process)
        _finish(words("wild"))
        calm, wild = _drafts(folder / "calm"), _drafts(folder / "wild")
        [trials] = (folder / "wild").glob("sweep-*/trials.json")
        statuses = [trial["status"] for trial in json.loads(trials.read_text())]
    return {
        "kills": killed,
        "starts": starts + 1,
        "not_whole": float(sum(status != "finished" for status in statuses)),
        "equal_in_the_end": float(calm == wild and len(calm) == _TRIALS),
    }


def _trial_pids(root: Path) -> list[int]:
    texts = [file.read_text().strip() for file in root.glob("sweep-*/trial-*.pid")]
    return [int(text) for text in texts if text.isdigit() and _is_of(int(text), root)]


def _is_of(pid: int, root: Path) -> bool:
    """Whether a process is a trial of this sweep, and not another one that has its number now."""
    try:
        return str(root).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _drafts(root: Path) -> Contents:
    """sha256 of each finished run's conversations, by folder name."""
    runs = [file.parent for file in root.glob("data-*/manifest.json")]
    finished = [run for run in runs if json.loads((run / "manifest.json").read_text())["status"] == "finished"]
    return {run.name: hashlib.sha256((run / "conversations.jsonl").read_bytes()).hexdigest() for run in finished}


def _start(words: list[str]) -> subprocess.Popen[bytes]:
    log = subprocess.DEVNULL
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, *words], cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True, env=environment
    )


def _finish(words: list[str]) -> None:
    """Run a command that must succeed."""
    if (code := _start(words).wait(timeout=600)) != 0:
        sys.exit(f"{' '.join(words)} ended with {code}")


def _watched(words: list[str], folder: Path, out: Path) -> float:
    """Run a command that must succeed; returns the seconds between its first and its last temporary file."""
    process = _start(words)
    seen: list[float] = []

    def look() -> bool:
        if any(name.endswith(".tmp") for name in _names(folder, out)):
            seen.append(time.monotonic())
        return False

    _wait(process, look, 600)
    if (code := process.wait(timeout=60)) != 0:
        sys.exit(f"{' '.join(words)} ended with {code}")
    return seen[-1] - seen[0] if seen else 0.0


def _wait(process: subprocess.Popen[bytes], until: Callable[[], bool], seconds: float) -> None:
    """Wait until something holds, the process has ended or the time is over."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end and not until():
        time.sleep(0.001)


def _killed(process: subprocess.Popen[bytes]) -> bool:
    """Kill a process; False if it had ended by itself."""
    if process.poll() is not None:
        return False
    process.kill()
    process.wait()
    return True


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _has_changed(folder: Path, out: Path, before: frozenset[str]) -> bool:
    return _names(folder, out) != before


def _names(folder: Path, out: Path) -> set[str]:
    """The names beside and in the output."""
    names = {path.name for path in folder.iterdir()}
    with suppress(FileNotFoundError):  # it may be renamed at this moment
        names |= {path.name for path in (*out.iterdir(), *out.glob("*_texts/*"))}
    return names


def _contents(out: Path) -> Contents:
    """sha256 of each finished file; a page's times and a card's date do not count."""
    files = [file for file in sorted(out.rglob("*")) if file.is_file() and file.suffix != ".tmp"]
    return {str(file.relative_to(out)): hashlib.sha256(_without_times(file)).hexdigest() for file in files}


def _without_times(file: Path) -> bytes:
    content = file.read_bytes()
    if file.suffix in (".html", ".md"):
        return _TIMES.sub("", content.decode("utf-8")).encode()
    return content


def _is_whole(out: Path, former: Contents, calm: Contents) -> bool:
    """Whether every file is of one of the two versions, and a page has the texts that it names."""
    found = _contents(out)
    page = out / "report.html"
    if not page.is_file():
        return found in ({}, calm)  # an export: absent, or whole
    known = all(mark in (former.get(name, calm.get(name)), calm.get(name)) for name, mark in found.items())
    version = former if found["report.html"] == former["report.html"] else calm
    texts = [name for name in version if name.startswith("report_texts/")]
    return known and all(found.get(name) == version[name] for name in texts)
