"""A local model folder is known by its content: another model at the same path is another run."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lwexp.config import Config, compose
from lwexp.recipe import evaluation
from lwexp.records import LwexpError
from lwexp.records.checksums import write_checksums
from lwexp.runs import identity, model_fingerprint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "sub").mkdir(parents=True)
    for name, content in {
        "config.json": "{}", "tokenizer.json": "[1]", "model.safetensors": "weights", "README.md": "A card.",
        "sub/chat_template.jinja": "{{ x }}", ".gitattributes": "*.bin lfs",
    }.items():  # fmt: skip
        (made / name).write_text(content)
    return made


def rewrite(folder: Path, name: str, content: str) -> None:
    """Like a download into the same place, with the same size and the same time of change."""
    before = (folder / name).stat()
    (folder / name).write_text(content)
    os.utime(folder / name, ns=(before.st_atime_ns, before.st_mtime_ns))


def exchange(one: Path, other: Path) -> None:
    first, second = one.read_text(), other.read_text()
    one.write_text(second)
    other.write_text(first)


def link(file: Path, content: str) -> None:
    """Move the content out of the folder, as the cache of the hub keeps it."""
    aside = file.parent.with_name("blobs")
    aside.mkdir()
    (aside / "blob").write_text(content)
    file.unlink()
    file.symlink_to(aside / "blob")


CHANGES: dict[str, Callable[[Path], object]] = {
    "one byte of the weights": lambda folder: rewrite(folder, "model.safetensors", "weightS"),
    "the config": lambda folder: rewrite(folder, "config.json", "[]"),
    "the tokenizer": lambda folder: rewrite(folder, "tokenizer.json", "[2]"),
    "the template": lambda folder: rewrite(folder, "sub/chat_template.jinja", "{{ y }}"),
    "a file more": lambda folder: (folder / "generation_config.json").write_text("{}"),
    "a file less": lambda folder: (folder / "tokenizer.json").unlink(),
    "a renamed file": lambda folder: (folder / "tokenizer.json").rename(folder / "vocab.json"),
    "weights cut short": lambda folder: (folder / "model.safetensors").write_text("weight"),
    "empty weights": lambda folder: (folder / "model.safetensors").write_text(""),
    "contents exchanged": lambda folder: exchange(folder / "config.json", folder / "tokenizer.json"),
    "a file in another folder": lambda folder: (folder / "sub/chat_template.jinja").rename(folder / "chat.jinja"),
    "a link to other weights": lambda folder: link(folder / "model.safetensors", "weightS"),
}
NO_CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda folder: None,
    "the card": lambda folder: (folder / "README.md").write_text("Another."),
    "a hidden file": lambda folder: (folder / ".gitattributes").write_text("-"),
    "a time": lambda folder: os.utime(folder / "model.safetensors", ns=(1, 1)),
    "written again": lambda folder: (folder / "model.safetensors").write_text("weights"),
    "checksums": lambda folder: write_checksums(folder, folder),
    "a second Markdown file": lambda folder: (folder / "sub" / "NOTES.md").write_text("Notes."),
    "a hidden folder": lambda folder: (folder / ".cache" / "huggingface").mkdir(parents=True),
    "who may read it": lambda folder: (folder / "model.safetensors").chmod(0o600),
    "a link to the same weights": lambda folder: link(folder / "model.safetensors", "weights"),
}


def test_the_tables_have_12_changes_and_10_that_are_none() -> None:
    assert (len(CHANGES), len(NO_CHANGES)) == (12, 10)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_model_has_another_fingerprint(folder: Path, tmp_path: Path, change: str) -> None:
    before = model_fingerprint(folder, tmp_path / "runs")
    CHANGES[change](folder)
    assert model_fingerprint(folder, tmp_path / "runs") != before


@pytest.mark.parametrize("change", NO_CHANGES)
def test_what_cannot_change_an_answer_keeps_it(folder: Path, tmp_path: Path, change: str) -> None:
    before = model_fingerprint(folder, tmp_path / "runs")
    NO_CHANGES[change](folder)
    assert model_fingerprint(folder, tmp_path / "runs") == before
    shutil.copytree(folder, tmp_path / "copy")
    assert model_fingerprint(tmp_path / "copy", tmp_path / "runs") == before


def test_files_that_have_not_changed_are_read_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    whole = identity.fingerprint

    def counted(path: Path) -> str:
        read.append(path.name)
        return whole(path)

    monkeypatch.setattr(identity, "fingerprint", counted)
    before = model_fingerprint(folder, tmp_path / "runs")
    assert sorted(read) == ["chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"]
    read.clear()
    assert model_fingerprint(folder, tmp_path / "runs") == before
    assert read == []
    for damaged in ("", "{", "[]", '{"a": 1}', json.dumps({"a": []})):
        (tmp_path / "runs" / ".model_hashes.json").write_text(damaged)
        assert model_fingerprint(folder, tmp_path / "runs") == before


def inputs(tmp_path: Path, folder: Path) -> dict[str, str]:
    config: Config = compose("experiment=smoke", f"engine.path={folder}", f"root={tmp_path / 'runs'}")
    return evaluation._inputs(config, [], None, None)


def test_an_evaluation_of_a_folder_depends_on_its_weights(folder: Path, tmp_path: Path) -> None:
    before = inputs(tmp_path, folder)
    rewrite(folder, "model.safetensors", "weightS")
    assert inputs(tmp_path, folder) != before


def test_an_empty_folder_never_gets_an_earlier_models_result(folder: Path, tmp_path: Path) -> None:
    inputs(tmp_path, folder)
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(LwexpError, match="holds no model"):
        inputs(tmp_path, folder)
