"""Checkpoints are whole or absent."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lwexp.records import LwexpError
from lwexp.train.loop.checkpoints import Checkpoint, newest_checkpoint, save_checkpoint


def save(folder: Path, step: int, keep: int = 2) -> None:
    def write(path: Path) -> None:
        path.write_text(f"state of {step}")

    save_checkpoint(folder, step, write, lambda: None, keep)


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


@pytest.mark.parametrize("keep", [1, 2])
def test_a_damaged_one_of_a_later_step_does_not_push_out_the_ones_that_are_whole(keep: int, tmp_path: Path) -> None:
    """The run resumes from step 5 and is told to stop at step 8, before it has reached step 10 again."""
    save(tmp_path, 5)
    save(tmp_path, 10)
    flip(tmp_path / "step-00000010" / "state.ckpt")
    save(tmp_path, 8, keep)
    found = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 8
    whole = ["step-00000008"] if keep == 1 else ["step-00000005", "step-00000008"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*whole, "step-00000010"]
    save(tmp_path, 10, keep)
    assert newest_checkpoint(tmp_path) == Checkpoint(10, tmp_path / "step-00000010" / "state.ckpt")
    assert len(list(tmp_path.iterdir())) == keep


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


def test_a_disk_that_takes_no_more_stops_a_run_with_one_line_and_it_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RLIMIT_FSIZE: the kernel itself refuses the write (EFBIG) , as a full disk does (ENOSPC)."""
    import resource

    from lwexp.train.loop import callbacks
    from tests.train.tiny_packs import tiny_config, tiny_conversations, train_in

    options = ("objective.max_steps=6", "training.checkpoint_every_steps=2", "training.keep_checkpoints=3")
    whole = train_in(tiny_config(tmp_path / "whole", *options), rows=tiny_conversations())
    real, hard = save_checkpoint, resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    def save_on_a_full_disk(folder: Path, step: int, *rest: Any) -> None:
        if step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            real(folder, step, *rest)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    monkeypatch.setattr(callbacks, "save_checkpoint", save_on_a_full_disk)
    config = tiny_config(tmp_path / "full", *options)
    with pytest.raises(LwexpError, match=r"cannot write the checkpoint of step 4 to .*earlier ones are intact") as told:
        train_in(config, rows=tiny_conversations())
    assert "\n" not in str(told.value)
    (run,) = (tmp_path / "full").iterdir()
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000002"]
    monkeypatch.undo()
    again = train_in(config, rows=tiny_conversations())
    rows, wanted = ((made.path / "metrics.jsonl").read_text().splitlines() for made in (again, whole))
    losses, theirs = ([json.loads(row)["loss"] for row in side] for side in (rows, wanted))
    assert losses == theirs


def test_a_real_checkpoint_with_one_flipped_bit_is_passed_over_and_training_goes_on_from_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lwexp.train.loop import callbacks
    from tests.train.tiny_packs import tiny_config, tiny_conversations, train_in

    real = save_checkpoint

    def save_and_crash(folder: Path, step: int, *rest: Any) -> None:
        real(folder, step, *rest)
        if step == 4:
            state = folder / "step-00000004" / "state.ckpt"
            content = bytearray(state.read_bytes())
            content[len(content) // 2] ^= 1
            state.write_bytes(content)
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks, "save_checkpoint", save_and_crash)
    config = tiny_config(tmp_path, "objective.max_steps=6", "training.checkpoint_every_steps=2")
    with pytest.raises(KeyboardInterrupt):
        train_in(config, rows=tiny_conversations())
    monkeypatch.undo()
    run = train_in(config, rows=tiny_conversations())
    told = (run.path / "log.txt").read_text()
    assert "step-00000004 is damaged (state.ckpt has changed since it was written) and skipped" in told
    assert "2 of 6 steps done" in told


PHASES = ["list of files", "sync", "rename", "folder sync", "removal of old ones"]


@pytest.mark.parametrize("phase", range(len(PHASES)), ids=PHASES)
def test_a_process_that_dies_at_any_point_of_saving_leaves_a_whole_checkpoint(phase: int, tmp_path: Path) -> None:
    """A child saves step 15 and is gone, without cleaning up, as it enters one part of the commit.

    Before the rename step 10 is the newest, after it step 15; the next save works either way.
    """
    from lwexp.train.loop import checkpoints

    save(tmp_path, 5)
    save(tmp_path, 10)
    if (child := os.fork()) == 0:
        gone = lambda *_, **__: os._exit(9)  # noqa: E731
        target = [
            (checkpoints, "_list_files"), (checkpoints, "_sync"), (Path, "rename"), (checkpoints, "_sync_folder"),
            (checkpoints, "_by_age"),
        ][phase]  # fmt: skip
        if phase == 3:  # also used by _sync, before the rename: only the call for the folder above counts
            real = checkpoints._sync_folder
            checkpoints._sync_folder = lambda path: gone() if path == tmp_path else real(path)
        else:
            setattr(*target, gone)
        save(tmp_path, 15)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    found = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == (10 if phase < 3 else 15)
    assert found.state.read_text() == f"state of {found.step}"
    save(tmp_path, 20)
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.step == 20
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("place", range(0, 100, 10))
def test_a_bit_flipped_anywhere_is_noticed(place: int, tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.write_bytes(bytes(range(100)))

    save_checkpoint(tmp_path, 5, write, lambda: None, keep=2)
    state = tmp_path / "step-00000005" / "state.ckpt"
    assert newest_checkpoint(tmp_path) is not None  # negative control
    content = bytearray(state.read_bytes())
    content[place] ^= 1 << (place // 10 % 8)
    state.write_bytes(content)
    assert newest_checkpoint(tmp_path) is None
