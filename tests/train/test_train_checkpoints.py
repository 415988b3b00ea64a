"""Checkpoints are whole or absent."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from lwexp.records import LwexpError
from lwexp.train.checkpoints import Checkpoint, newest_checkpoint, save_checkpoint


def save(folder: Path, step: int) -> None:
    save_checkpoint(folder, step, lambda path: path.write_text(f"state of {step}") and None, lambda: None, keep=2)


def test_the_newest_is_found_and_only_two_are_kept(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    for step in (5, 10, 100):
        save(tmp_path, step)
    assert newest_checkpoint(tmp_path) == Checkpoint(100, tmp_path / "step-00000100" / "state.ckpt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000100"]


def flip(state: Path) -> None:
    content = bytearray(state.read_bytes())
    content[3] ^= 1
    state.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "has changed": lambda path: flip(path / "state.ckpt"),
    "bytes": lambda path: (path / "state.ckpt").write_text("stat"),
    "is missing": lambda path: (path / "state.ckpt").unlink(),
    "files.json": lambda path: (path / "files.json").write_text('{"step": 10, "fi'),
}


@pytest.mark.parametrize("problem", list(DAMAGE))
def test_a_damaged_one_is_named_and_the_one_before_is_used(
    problem: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("lwexp"), "propagate", True)
    save(tmp_path, 5)
    save(tmp_path, 10)
    DAMAGE[problem](tmp_path / "step-00000010")
    with caplog.at_level(logging.WARNING):
        found = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 5
    assert "step-00000010" in caplog.text
    assert problem in caplog.text


def test_one_that_was_being_written_is_none(tmp_path: Path) -> None:
    save(tmp_path, 5)
    (tmp_path / "step-00000010.tmp").mkdir()
    (tmp_path / "step-00000010.tmp" / "state.ckpt").write_text("half")
    found = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 5
    save(tmp_path, 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000005", "step-00000010"]


def test_a_full_disk_leaves_earlier_ones_intact(tmp_path: Path) -> None:
    save(tmp_path, 5)

    def full(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(LwexpError, match=r"step 10 .* No space left on device; earlier ones are intact"):
        save_checkpoint(tmp_path, 10, full, lambda: None, keep=2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]
    assert newest_checkpoint(tmp_path) is not None
