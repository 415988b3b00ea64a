"""Builds the kit for a GPU machine without a package index: wheels, the repository, and a script that runs it.

    python -m benchmarks.gpu.kit                                      build/gpu-kit, for Python 3.12 on x86-64 Linux
    python -m benchmarks.gpu.kit --python 3.11 --out /tmp/gpu-kit     for another interpreter

The wheels are those of requirements.txt in this folder, without their dependencies. The repository is at HEAD.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.resolve().parents[1]
REQUIREMENTS = HERE / "requirements.txt"
SOURCE_ONLY = ("antlr4-python3-runtime", "deepspeed")
# pip matches the number after manylinux_2_ exactly.
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17)] + [
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
]
LIMIT_MB = 60.0


def main() -> None:
    """Build the kit and print what to do with it."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu.kit")
    parser.add_argument("--python", default="3.12", metavar="X.Y", help="of the box; default 3.12")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "gpu-kit", metavar="FOLDER")
    asked = parser.parse_args()
    build_kit(asked.out, asked.python)
    print(f"{asked.out}: {size_mb(asked.out):.1f} MB, Python {asked.python}, commit {_commit()}")
    print(f"Copy the folder to the box and run there: bash {asked.out.name}/run.sh\n")
    print((HERE / "run.sh").read_text(encoding="utf-8"), end="")


def build_kit(folder: Path, python: str) -> None:
    """Write the kit, and delete what was in ``folder``.

    Raises:
        SystemExit: If pip cannot get a wheel, or the kit is larger than LIMIT_MB.
    """
    shutil.rmtree(folder, ignore_errors=True)
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    pins = read_pins()
    ready = [pin for name, pin in pins.items() if name not in SOURCE_ONLY]
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    target = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, *platforms]
    _pip("download", *target, "--dest", str(wheels), *ready)
    _pip("wheel", "--wheel-dir", str(wheels), *(pins[name] for name in SOURCE_ONLY))
    if len(found := list(wheels.glob("*.whl"))) != len(pins):
        raise SystemExit(f"benchmarks.gpu.kit: {len(pins)} wheels were asked for, {len(found)} are in {wheels}")
    (folder / "repository.tar.gz").write_bytes(_archive())
    shutil.copy(HERE / "run.sh", folder / "run.sh")
    if (size := size_mb(folder)) > LIMIT_MB:
        raise SystemExit(f"benchmarks.gpu.kit: {folder} has {size:.1f} MB, more than {LIMIT_MB:.0f}")


def read_pins() -> dict[str, str]:
    """Requirements by name, as they stand: ``{"pydantic": "pydantic==2.14.3"}``."""
    lines = (line.strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines())
    return {line.split("==")[0]: line for line in lines if line and not line.startswith("#")}


def size_mb(folder: Path) -> float:
    """Size of all files in a folder, in units of 10**6 bytes."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def _pip(command: str, *words: str) -> None:
    environment = {**os.environ, "DS_BUILD_OPS": "0"}  # DeepSpeed without compiled operators
    line = [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", "--no-deps", *words]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise SystemExit(f"benchmarks.gpu.kit: pip {command} failed: {reason}")


def _archive() -> bytes:
    """The files of HEAD and its commit, as a compressed tar file."""
    tar = BytesIO(_git("archive", "--format=tar", "HEAD"))
    commit = f"{_commit()}\n".encode()
    entry = tarfile.TarInfo("COMMIT")
    entry.size = len(commit)
    packed = BytesIO()
    with tarfile.open(fileobj=tar) as files, tarfile.open(fileobj=packed, mode="w:gz") as out:
        for member in files:
            out.addfile(member, files.extractfile(member) if member.isfile() else None)
        out.addfile(entry, BytesIO(commit))
    return packed.getvalue()


def _commit() -> str:
    """The commit of HEAD; changes that are not committed are not in the kit, and a line says so."""
    changed = _git("status", "--porcelain", "--untracked-files=no").strip()
    return _git("rev-parse", "--short", "HEAD").decode().strip() + (
        " (uncommitted changes left out)" if changed else ""
    )


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, check=True).stdout


if __name__ == "__main__":
    main()
