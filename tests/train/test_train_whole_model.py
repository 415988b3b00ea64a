"""A half-written or damaged model is never taken for the result of a training run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lwexp.train.export.model_folder import has_model
from tests.train.tiny_packs import save_start_model, tiny_config, tiny_conversations, train_in


def cut(file: Path, keep: Callable[[bytes], bytes]) -> None:
    file.write_bytes(keep(file.read_bytes()))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no config": lambda folder: (folder / "config.json").unlink(),
    "half a config": lambda folder: cut(folder / "config.json", lambda data: data[:20]),
    "no weights": lambda folder: cut(folder / "model.safetensors.index.json", lambda _: b'{"weight_map": {}}'),
    "a lost shard": lambda folder: shard(folder).unlink(),
    "half a shard": lambda folder: cut(shard(folder), lambda data: data[: len(data) // 2]),
    "a shard without its last byte": lambda folder: cut(shard(folder), lambda data: data[:-1]),
    "a shard cut in its header": lambda folder: cut(shard(folder), lambda data: data[:20]),
    "an empty shard": lambda folder: cut(shard(folder), lambda _: b""),
    "a text file": lambda folder: cut(shard(folder), lambda _: b"<html>not found</html>"),
    "a broken index": lambda folder: (folder / "model.safetensors.index.json").write_text("{}"),
}


def shard(folder: Path) -> Path:
    return sorted(folder.glob("model-*.safetensors"))[1]


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in several files, without checksums, as earlier versions have written it."""
    folder = tmp_path_factory.mktemp("sharded")
    save_start_model(folder, "glm")
    return folder


@pytest.mark.parametrize("what", DAMAGE)
def test_a_half_written_model_does_not_count(sharded: Path, tmp_path: Path, what: str) -> None:
    folder = Path(shutil.copytree(sharded, tmp_path / "model"))
    assert has_model(folder)
    DAMAGE[what](folder)
    assert not has_model(folder)


@pytest.mark.parametrize("what", [None, "one bit"])
def test_an_unfinished_run_writes_a_damaged_model_again(tmp_path: Path, what: str | None) -> None:
    """Ended after the export, before its manifest said so. A whole model is kept, as its time of change shows."""
    config = tiny_config(tmp_path, "objective.max_steps=2")
    run = train_in(config, rows=tiny_conversations()).path
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    weights = run / "model" / "model.safetensors"
    wanted, written = weights.read_bytes(), weights.stat().st_mtime_ns
    if what is not None:
        cut(weights, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    train_in(config, rows=tiny_conversations())
    assert weights.read_bytes() == wanted
    assert (weights.stat().st_mtime_ns == written) == (what is None)
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished"
