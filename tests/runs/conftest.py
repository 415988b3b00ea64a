"""A sweep on SLURM, and SLURM's commands as a test lets them answer."""

from pathlib import Path

import pytest

from lwexp.runs.jobs import slurm_queue
from tests.runs.slurm_commands import Commands, submitted_sweep


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    found = Commands()
    monkeypatch.setattr(slurm_queue, "_call", found)
    return found


@pytest.fixture
def submitted(tmp_path: Path) -> Path:
    """The folder of a sweep whose two trials an earlier process has submitted as jobs 17 and 18."""
    return submitted_sweep(tmp_path / "sweep")
