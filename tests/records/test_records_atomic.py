"""Files and folders appear whole or not at all."""

import subprocess
import sys

import pytest

from lwexp.records import atomic, write_json, write_text


def test_a_file_is_not_there_before_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    with atomic(path, durable=True) as aside:
        aside.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), atomic(path) as aside, aside.open("w", encoding="ascii") as out:
        print("half of the n\u00e9", file=out)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_replaces_a_folder_and_no_file_of_the_old_one_stays(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with atomic(path) as aside:
        aside.mkdir()
        (aside / "new.txt").write_text("new")
    assert [file.name for file in path.iterdir()] == ["new.txt"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_stop_while_the_old_folder_is_deleted_leaves_the_new_one_whole(tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.mkdir()
    for name in ("a", "b"):
        (path / name).write_text("old")

    def stopped(folder, ignore_errors=False):
        next(folder.iterdir()).unlink()
        raise KeyboardInterrupt

    def replaced(patch):
        with atomic(path) as aside:
            aside.mkdir()
            for name in ("a", "b"):
                (aside / name).write_text("new")
            patch.setattr("shutil.rmtree", stopped)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        replaced(patch)
    assert {file.name: file.read_text() for file in path.iterdir()} == {"a": "new", "b": "new"}
    with atomic(path) as aside:
        aside.mkdir()
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "packs"
    killed = (
        "import os, signal, sys; from pathlib import Path; from lwexp.records import atomic\n"
        "with atomic(Path(sys.argv[1])) as aside:\n"
        "    aside.mkdir(); (aside / 'half').write_text('x'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(path)], check=False).returncode == -9
    assert not path.exists()
    assert (tmp_path / "packs.tmp" / "half").exists()
    with atomic(path) as aside:
        aside.mkdir()
    assert path.is_dir()
    assert not list(path.iterdir())
    assert list(tmp_path.iterdir()) == [path]


def test_texts_and_json_are_written_as_they_are(tmp_path):
    write_text(tmp_path / "a.csv", "é", encoding="utf-8-sig")
    write_json(tmp_path / "a.json", {"b": "é", "a": 1})
    assert (tmp_path / "a.csv").read_bytes() == b"\xef\xbb\xbf\xc3\xa9"
    assert (tmp_path / "a.json").read_text() == '{\n  "b": "é",\n  "a": 1\n}\n'
