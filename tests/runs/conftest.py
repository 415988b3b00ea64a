"""A sweep on SLURM, and SLURM's commands as a test lets them answer."""

from pathlib import Path

import pytest

from lwexp.runs.jobs import runner, silence, slurm_jobs, slurm_queue
from tests.runs.slurm_commands import Clock, Commands, submitted_sweep


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    found = Commands()
    monkeypatch.setattr(slurm_queue, "_call", found)
    return found


@pytest.fixture
def submitted(tmp_path: Path) -> Path:
    """The folder of a sweep whose two trials an earlier process has submitted as jobs 17 and 18."""
    return submitted_sweep(tmp_path / "sweep")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    for module in (runner, silence, slurm_jobs):
        monkeypatch.setattr(module, "time", found)
    return found
