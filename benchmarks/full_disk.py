"""A disk that fills up in the middle of each command: what the user reads, and whether the command goes on afterwards.

    python -m benchmarks.full_disk [--quick]          needs root, for a tmpfs

Eight stages of ``experiment=smoke`` run on a tmpfs of 256 MiB, on which a ballast file leaves a share of the space that
the stage needs. Wanted: exit code 2, one line on standard error beside the log, no traceback, and no run that counts as
finished before its results are whole (an evaluation is finished when only its page finds no space). Then the ballast is
deleted and the same command is started again: it must finish with the bytes of an undisturbed run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.output import Results, show

MIB = 2**20
DISK = 256 * MIB
SHARES = (0.0, 0.3, 0.8)
"""Of the space that the stage needs."""


class Stage(NamedTuple):
    """A command, the start of its run's name, and the files that its repetition must give again."""

    words: tuple[str, ...]
    run: str
    files: str


SMOKE = "experiment=smoke"
STAGES = {
    "import": Stage(("generate_data.py", "task=import", "source={data}"), "import-", "conversations.jsonl"),
    "select": Stage(
        ("generate_data.py", "task=select", "source={data}", "teacher=offline"), "select-", "instructions.jsonl"
    ),
    "generate": Stage(("generate_data.py", SMOKE), "data-offline-", "conversations.jsonl"),
    "sft": Stage(("train.py", SMOKE, "name=sft"), "sft-", "model/*.safetensors"),
    "pairs": Stage(("generate_data.py", SMOKE, "task=pairs", "init_from=sft"), "pairs-sft-", "pairs.jsonl"),
    "dpo": Stage(("train.py", "experiment=smoke_dpo", "name=dpo", "init_from=sft"), "dpo-", "model/*.safetensors"),
    "evaluate": Stage(("evaluate.py", SMOKE, "run=sft"), "eval-sft-", "verdicts.jsonl"),
    "export": Stage(("-m", "lwexp.export", "run=sft", "root={root}", "out={root}/out"), "out", "*.safetensors"),
}


def main() -> None:
    """All stages; --quick tries one share of each of three."""
    quick = "--quick" in sys.argv
    names = ("import", "sft", "evaluate") if quick else tuple(STAGES)
    results = Results()
    with tempfile.TemporaryDirectory() as folder:
        calm = Path(folder) / "calm" / "runs"
        data = Path(folder) / "chats.jsonl"
        data.write_text("".join(json.dumps(_chat(number)) + "\n" for number in range(400)))
        for name, stage in STAGES.items():
            print(f"{name}: undisturbed", file=sys.stderr)
            if (done := _start(stage, calm, data)).returncode:
                sys.exit(f"{name} fails on an empty disk:\n{done.stderr}")
            if name in names:
                shares = SHARES[1:2] if quick else SHARES
                results[name] = {f"{share:.0%}": _filled(stage, calm, data, Path(folder), share) for share in shares}
    show("full_disk", results, packages=("torch",))
    if any(not row["as_promised"] for rows in results.values() for row in rows.values()):
        sys.exit(1)


def _chat(number: int) -> dict[str, object]:
    asked = f"Write {2500 + number} words about river number {number}, with all that is known of it and of its towns."
    answer = f"The river {number} is long. " * 600
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}


def _start(stage: Stage, root: Path, data: Path) -> subprocess.CompletedProcess[str]:
    words = [word.format(root=root, data=data) for word in stage.words]
    if stage.run != "out":
        words.append(f"root={root}")
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, timeout=600)


def _filled(stage: Stage, calm: Path, data: Path, folder: Path, share: float) -> dict[str, float]:
    """One start on the full disk, and one after the ballast was deleted."""
    with _disk(folder / "disk") as disk:
        root = disk / "runs"
        # Runs that came later may name this one as their parent, but no command reads them.
        shutil.copytree(calm, root, ignore=shutil.ignore_patterns(f"{stage.run}*", "*.tmp"), symlinks=True)
        needed = _size(next(calm.glob(f"{stage.run}*")))
        free = int(needed * share)
        with (disk / "ballast").open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, shutil.disk_usage(disk).free - free)
        stopped = _start(stage, root, data)
        lines = [line for line in stopped.stderr.splitlines() if line.startswith("error:")]
        print(f"  {share:.0%} of {needed / MIB:.1f} MiB: {stopped.returncode} {lines}", file=sys.stderr)
        if "Traceback" in stopped.stderr:
            print(stopped.stderr, file=sys.stderr)
        is_half_finished = _is_finished(root, stage) and _contents(root, stage) != _contents(calm, stage)
        (disk / "ballast").unlink()
        resumed = _start(stage, root, data)
        if resumed.returncode:
            print(resumed.stderr, file=sys.stderr)
        row = {
            "exit_code": stopped.returncode,
            "error_lines": len(lines),
            "tracebacks": stopped.stderr.count("Traceback"),
            "half_finished": float(is_half_finished),
            "exit_code_then": resumed.returncode,
            "bytes_equal": float(_contents(root, stage) == _contents(calm, stage)),
        }
    wanted = {
        "exit_code": 2, "error_lines": 1, "tracebacks": 0, "half_finished": 0, "exit_code_then": 0, "bytes_equal": 1,
    }  # fmt: skip
    return row | {"as_promised": float(row == wanted)}


@contextmanager
def _disk(place: Path) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
        place.rmdir()


def _size(folder: Path) -> int:
    """Bytes on a tmpfs, which gives out pages of 4 KiB."""
    return sum(-(-file.stat().st_size // 4096) * 4096 for file in folder.rglob("*") if file.is_file())


def _is_finished(root: Path, stage: Stage) -> bool:
    """Whether a run counts as finished, or an export is there."""
    found = list(root.glob(f"{stage.run}*"))
    if not found:
        return False
    if stage.run == "out":
        return any(path.name == "out" for path in found)
    try:
        return bool(json.loads((found[0] / "manifest.json").read_text())["status"] == "finished")
    except (OSError, ValueError):
        return False


def _contents(root: Path, stage: Stage) -> dict[str, bytes]:
    found = next(root.glob(f"{stage.run}*"), None)
    if found is None:
        return {}
    return {file.name: file.read_bytes() for file in sorted(found.glob(stage.files))}


if __name__ == "__main__":
    main()
