"""The code behind a run: fingerprints of plugins and of the rooms that shape its results, and the commit."""

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lwexp.config.folders import PACKAGE, REPOSITORY
from lwexp.extend.plugins import plugin_fingerprints
from lwexp.runs.artifacts import Git, Manifest

_GIT_SECONDS = 10.0
"""The longest that git may take, for example on a slow file system."""
ROOMS = {
    "data": ("extend", "generate", "llm", "text"),
    "select": ("extend", "generate", "llm", "mix", "text"),
    "import": ("extend", "mix", "text"),
    "pairs": ("extend", "sample", "score", "mix", "llm", "pack", "text"),
    "train": ("extend", "mix", "pack", "train"),
    "evaluate": ("extend", "sample", "score", "benches", "llm", "pack", "stats", "text"),
}
"""Stage -> the rooms whose code shapes its results."""


def code_fingerprints(stage: str, package: Path = PACKAGE) -> dict[str, str]:
    """Room -> sha256 of its sources and prompts, for the rooms that shape a stage."""
    return {room: _fingerprint(package / room) for room in ROOMS[stage] if (package / room).is_dir()}


def changes_since(manifest: Manifest, plugins: Sequence[str]) -> list[str]:
    """Rooms and plugins whose code has changed since the run was made; none if the run did not record it.

    Args:
        manifest: The run's manifest.
        plugins: The plugins in the current command's config.
    """
    if not manifest.code:
        return []
    rooms = _changed(manifest.code, code_fingerprints(manifest.stage))
    return rooms + [f"plugin {name}" for name in _changed(manifest.plugins, plugin_fingerprints(plugins))]


def what_changed(manifest: Manifest, changed: list[str]) -> str:
    """One clause for messages: what has changed, the run's commit, and the current one."""
    return (
        f"code of {', '.join(changed)} has changed since (made by {_name(manifest.git)}, this is {_name(checkout())})"
    )


def checkout() -> Git:
    """Commit and whether the work tree differs from it; nulls outside a git checkout, or where git takes too long."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=_GIT_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    top = git("rev-parse", "--show-toplevel")
    if top is None or Path(top) != REPOSITORY:
        return Git()  # installed in an environment inside some other checkout
    status = git("status", "--porcelain")
    return Git(commit=git("rev-parse", "HEAD"), dirty=None if status is None else bool(status))


def _fingerprint(room: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(room.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(str(file.relative_to(room)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _changed(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]


def _name(git: Git) -> str:
    if git.commit is None:
        return "an unknown commit"
    return f"commit {git.commit[:8]}{' with local changes' if git.dirty else ''}"
