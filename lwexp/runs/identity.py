"""A run's identity: the hash of what can change its results, and of nothing else."""

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lwexp.config.base import Tree
from lwexp.config.fields import sections_of, written
from lwexp.config.schema import Config
from lwexp.extend import Strict
from lwexp.extend.settings import key_of
from lwexp.records import parse_json, refuse_special, write_text
from lwexp.records.checksums import shaping_files

_HASHES = ".model_hashes.json"


def identity_tree(stage: str, config: Config, *, choices: bool = True, earlier: bool = True) -> Tree:
    """The part of a config that shapes the results of ``stage``.

    Args:
        stage: The kind of run.
        config: The whole config.
        choices: Whether to include keys that only choose among samples (``Key.affects`` is choice).
        earlier: Whether to include keys that count only because earlier versions counted them (``Key.still_in_ids``).
    """
    ignored = ("speed", "label") if choices else ("speed", "label", "choice")
    tree = _shaping(config, ignored, earlier)
    return {name: part for name, part in tree.items() if name in sections_of(Config, stage)}


def _shaping(value: Any, ignored: tuple[str, ...], earlier: bool) -> Any:
    """``value`` as JSON, without keys that cannot change a result or have no effect at their value."""
    if isinstance(value, Strict):
        value = value.identified()
        tree = {}
        for name, field in type(value).model_fields.items():
            key, own = key_of(field), getattr(value, name)
            is_ignored = key.affects in ignored and not (earlier and key.still_in_ids)
            if is_ignored or (key.has_neutral and own == key.neutral):
                continue
            tree[key.formerly or name] = written(field, _shaping(own, ignored, earlier))
        return tree
    if isinstance(value, dict):
        return {name: _shaping(item, ignored, earlier) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shaping(item, ignored, earlier) for item in value]
    return value


_BY_CONTENT = {
    ("train", "model"): "model.path",
    ("evaluate", "model"): "engine.path",
    ("evaluate", "judge_prompt"): "judge.prompt",
    ("evaluate", "responses"): "responses",
    ("pairs", "judge_prompt"): "judge.prompt",
    ("pairs", "instructions"): "pairs.instructions.path",
    ("data", "instructions"): "generate.instructions.path",
    ("data", "prompts"): "generate.prompts",
}
"""Stage and input -> the key with the path of a file or folder that the input is the fingerprint of."""


def run_id(
    stage: str, config: Config, inputs: Mapping[str, str], *, whole_paths: bool = False, earlier: bool = True
) -> str:
    """Eight hex digits over the stage, its shaping config and the fingerprints of its inputs.

    Args:
        stage: The kind of run.
        config: The whole config.
        inputs: Name -> fingerprint. The path of such an input counts by its last part alone, which answers and pages
            show as a name: the same content in another folder is the same run.
        whole_paths: As in earlier versions, where the whole path counted.
        earlier: As in ``identity_tree``. Ids of directories have them; two runs that are equal without them do the
            same work.
    """
    tree = identity_tree(stage, config, earlier=earlier)
    for (of, name), key in _BY_CONTENT.items():
        if of == stage and name in inputs and not whole_paths:
            _shorten(tree, key.split("."))
    content = {"stage": stage, "config": tree, "inputs": dict(inputs)}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def _shorten(tree: Tree, key: list[str]) -> None:
    """Replace the path at a key by its last part."""
    node: Any = tree
    for part in key[:-1]:
        node = node.get(part) if isinstance(node, dict) else None
    if isinstance(node, dict) and isinstance(path := node.get(key[-1]), str):
        node[key[-1]] = Path(path).resolve().name


def model_fingerprint(folder: Path, root: Path) -> str:
    """sha256 of everything in a model folder that can change an answer: names and contents of its files.

    Reading 18 GB takes ten seconds, so the hash of a file is kept under ``root`` and used again as long as its size and
    times of change are the same.

    Args:
        folder: A model in Hugging Face format. Its Markdown files, hidden files and checksums are ignored.
        root: Folder of the runs.
    """
    known = _read_hashes(root / _HASHES)
    digest, hashes = hashlib.sha256(), {}
    for file in shaping_files(folder):
        name = file.relative_to(folder)
        status = file.stat()
        state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        place = str(file.resolve())
        found = known.get(place)
        content = found[-1] if found is not None and found[:-1] == state else fingerprint(file)
        hashes[place] = [*state, content]
        digest.update(os.fsencode(name) + f"\0{content}\0".encode())
    if any(known.get(place) != row for place, row in hashes.items()):
        root.mkdir(parents=True, exist_ok=True)
        write_text(root / _HASHES, json.dumps(known | hashes))
    return digest.hexdigest()


def _read_hashes(path: Path) -> dict[str, list[Any]]:
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or damaged: the files are read again
        return {}
    return found if isinstance(found, dict) and all(isinstance(row, list) for row in found.values()) else {}


def fingerprint(path: Path, leave_out: Collection[str] = ()) -> str:
    """sha256 of a file, or of a folder's relative names and files, as 64 hex digits.

    Args:
        path: The file or folder.
        leave_out: Names of files that do not count.

    Raises:
        LwexpError: If the path is a pipe or a device.
    """
    refuse_special(path)
    digest = hashlib.sha256()
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.name not in leave_out)
    for file in files:
        if path.is_dir():
            digest.update(os.fsencode(file.relative_to(path)) + b"\0")
        with file.open("rb") as content:
            while chunk := content.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
