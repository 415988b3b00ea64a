"""Checksums notice every change that can change a result, and a file is read again only if it may have changed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lwexp.records import LwexpError, checksums
from lwexp.records.checksums import changed_file, check_files, write_checksums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of a run, checksums written as an export does."""
    run = tmp_path / "runs" / "sft-1a2b3c4d"
    aside = run / "model.tmp"
    (aside / "sub").mkdir(parents=True)
    (run / "manifest.json").write_text("{}")
    files = {"config.json": "{}", "w.safetensors": "weights", "sub/t.jinja": "{}", "README.md": "A"}
    for name, content in files.items():
        (aside / name).write_text(content)
    write_checksums(aside, run / "model")
    return aside.rename(run / "model")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose content is read."""
    names: list[str] = []
    whole = checksums._sha256

    def counted(file: Path) -> str:
        names.append(file.name)
        return whole(file)

    monkeypatch.setattr(checksums, "_sha256", counted)
    return names


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all files had been written long ago."""
    monkeypatch.setattr(checksums, "_TICK_NANOSECONDS", -1_000_000_000)


def replace_unseen(file: Path, content: str) -> None:
    """Another content of the same size, with the earlier time of change set back."""
    before = file.stat()
    file.write_text(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "another content": (lambda f: replace_unseen(f / "w.safetensors", "weightS"), "w.safetensors has changed since"),
    "a shorter file": (lambda f: (f / "w.safetensors").write_text("wei"), "w.safetensors has 3 bytes, 7 were written"),
    "an empty file": (lambda f: (f / "w.safetensors").write_text(""), "w.safetensors has 0 bytes, 7 were written"),
    "a longer file": (lambda f: (f / "w.safetensors").write_text("weights!"), "has 8 bytes, 7 were written"),
    "a file less": (lambda f: (f / "sub" / "t.jinja").unlink(), "sub/t.jinja is missing"),
    "a folder in its place": (lambda f: as_folder(f / "config.json"), "config.json has "),
    "broken checksums": (lambda f: (f / "checksums.json").write_text("{"), "checksums.json cannot be read"),
    "foreign checksums": (lambda f: (f / "checksums.json").write_text('{"config.json": 1}'), "cannot be read"),
}


def as_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize("place", ["in its run", "copied out of it"])
def test_damage_is_named_in_one_line(folder: Path, tmp_path: Path, what: str, place: str) -> None:
    if place == "copied out of it":
        folder = Path(shutil.copytree(folder, tmp_path / "copy"))
    damage, words = DAMAGE[what]
    check_files(folder, "fix it")  # negative control
    damage(folder)
    with pytest.raises(LwexpError) as refusal:
        check_files(folder, "fix it")
    assert words in str(refusal.value)
    assert str(folder) in str(refusal.value)
    assert str(refusal.value).endswith("; fix it")
    assert "\n" not in str(refusal.value)


def test_what_is_not_a_change_is_accepted(folder: Path) -> None:
    (folder / "README.md").write_text("Another card.")
    (folder / "more.txt").write_text("-")
    os.utime(folder / "w.safetensors", ns=(1, 1))
    assert changed_file(folder) is None
    (folder / "checksums.json").unlink()
    (folder / "config.json").write_text("changed on purpose")
    assert changed_file(folder) is None


def test_only_the_files_asked_for_are_compared(folder: Path) -> None:
    (folder / "w.safetensors").write_text("weightS")
    assert changed_file(folder, among=("config.json",)) is None
    assert changed_file(folder, among=("w.safetensors",)) is not None


def test_files_of_a_run_are_read_when_they_are_written_and_after_a_change(
    settled: None, folder: Path, read: list[str]
) -> None:
    assert changed_file(folder) is None
    assert read == []
    os.utime(folder / "w.safetensors", ns=(1, 1))
    assert changed_file(folder) is None
    assert read == ["w.safetensors"]
    assert changed_file(folder) is None
    assert read == ["w.safetensors"]
    for damaged in ("", "{", "[]", json.dumps({"model/config.json": 1})):  # then all are read again
        (folder.parent / ".checked.json").write_text(damaged)
        read.clear()
        assert changed_file(folder) is None
        assert sorted(read) == ["config.json", "t.jinja", "w.safetensors"]


def test_files_that_were_written_just_now_are_read_again(
    folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second change in the same tick of the clock would leave size and times as they are."""
    monkeypatch.setattr(checksums, "_TICK_NANOSECONDS", 10**18)
    (folder.parent / ".checked.json").unlink(missing_ok=True)
    for _ in range(2):
        read.clear()
        assert changed_file(folder) is None
        assert len(read) == 3


def test_nothing_is_written_beside_a_folder_that_is_in_no_run(
    settled: None, folder: Path, tmp_path: Path, read: list[str]
) -> None:
    (tmp_path / "models").mkdir()
    copy = Path(shutil.copytree(folder, tmp_path / "models" / "mine"))
    for _ in range(2):
        read.clear()
        assert changed_file(copy) is None
        assert len(read) == 3
    assert [path.name for path in copy.parent.iterdir()] == ["mine"]


def test_a_disk_that_takes_nothing_does_no_harm(settled: None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checksums, "write_json", full)
    os.utime(folder / "w.safetensors", ns=(1, 1))
    assert changed_file(folder) is None
