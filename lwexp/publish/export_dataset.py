"""Copy a run's rows into the shape of another trainer: ``python generate_data.py task=export export.format=...``."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lwexp.config.data import ExportConfig
from lwexp.publish.export_formats import conversation_row, dataset_info, pair_row
from lwexp.records import Conversation, LwexpError, PreferencePair, atomic, read_rows, write_json
from lwexp.runs import Run

log = logging.getLogger(__name__)

_INFO = "dataset_info.json"
_NEXT = {
    "trl": "datasets.load_dataset('json', data_files='{file}')",
    "llamafactory": "in LLaMA-Factory: dataset: {name}, dataset_dir: {folder}",
    "swift": "swift {kind} --dataset {file}",
}


def export_run(run: Run, settings: ExportConfig, *, dry_run: bool) -> Path | None:
    """Write one JSONL file, and for LLaMA-Factory its entry in ``dataset_info.json``.

    An existing dataset_info.json keeps the entries of all other sets.

    Returns:
        The file, or None after a dry run.

    Raises:
        LwexpError: If the run has no such rows, or dataset_info.json cannot be extended without loss.
    """
    assert settings.format != "viewer", "the caller makes pages itself"
    is_pairs = _wants_pairs(run, settings)
    name = settings.name or run.id
    folder = Path(settings.to) if settings.to else run.path / "export" / settings.format
    target = folder / f"{name}.jsonl"
    entry = dataset_info(target.name, is_pairs=is_pairs)
    info = _extended_info(folder / _INFO, name, entry) if settings.format == "llamafactory" else None
    rows: Iterator[dict[str, Any]] = (
        (pair_row(pair, settings.format) for pair in read_rows(run.path / "pairs.jsonl", PreferencePair))
        if is_pairs
        else map(conversation_row, read_rows(run.path / "conversations.jsonl", Conversation))
    )
    if dry_run:
        log.info("%s: %s rows would go to %s; dry run, nothing written", run.id, f"{sum(1 for _ in rows):,}", target)
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LwexpError(f"export.to={folder}: cannot make the folder: {error.strerror}") from None
    count = 0
    with atomic(target, durable=True) as aside, aside.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    if info is not None:  # after the file, so that no entry ever names a file that is not there
        write_json(folder / _INFO, info)
    kind = "rlhf --rlhf_type dpo" if is_pairs else "sft"
    use = _NEXT[settings.format].format(file=target, name=name, folder=folder, kind=kind)
    log.info("%s %s of %s -> %s; %s", f"{count:,}", "pairs" if is_pairs else "conversations", run.id, target, use)
    return target


def _wants_pairs(run: Run, settings: ExportConfig) -> bool:
    """Whether pairs are exported; a run of a preference file has conversations too, and pairs come first."""
    wanted = settings.rows
    if wanted == "auto":
        wanted = "pairs" if (run.path / "pairs.jsonl").is_file() else "conversations"
    if not (run.path / f"{wanted}.jsonl").is_file():
        there = [name for name in ("conversations", "pairs") if (run.path / f"{name}.jsonl").is_file()]
        raise LwexpError(f"export.rows={wanted}: {run.id} has none; there: {', '.join(there) or 'no rows at all'}")
    return wanted == "pairs"


def _extended_info(path: Path, name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The content of dataset_info.json with this entry added and all others as they were."""
    info: Any = {}
    if path.is_file():
        try:
            info = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise LwexpError(f"{path} is not JSON: {error}; mend it, or export to another folder") from None
    if not isinstance(info, dict):
        raise LwexpError(f"{path} holds no JSON object; wanted one entry a data set")
    taken = info.get(name)
    if taken is not None and not (isinstance(taken, dict) and taken.get("file_name") == entry["file_name"]):
        raise LwexpError(f"{path} has another data set named {name}; choose export.name=<name>")
    return {**info, name: entry}
