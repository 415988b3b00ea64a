"""Copy a run's rows into the format of another trainer: ``python generate_data.py task=export export.format=...``."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lwexp.config.data import ExportConfig
from lwexp.publish.export_formats import conversation_row, dataset_info, pair_row
from lwexp.records import Conversation, LwexpError, PreferencePair, atomic, parse_json, read_rows, write_json
from lwexp.runs import Run
from lwexp.runs.artifacts import CONVERSATIONS, PAIRS
from lwexp.text.plain import plural

log = logging.getLogger(__name__)

_INFO = "dataset_info.json"
_NEXT = {
    "trl": "datasets.load_dataset('json', data_files='{file}')",
    "llamafactory": "in LLaMA-Factory: dataset: {name}, dataset_dir: {folder}",
    "swift": "swift {train} --dataset {file}",
}


def export_run(run: Run, settings: ExportConfig, *, dry_run: bool) -> Path | None:
    """Write one JSONL file, and for LLaMA-Factory its entry in ``dataset_info.json``.

    Entries of other sets in an existing dataset_info.json are kept.

    Returns:
        The file, or None after a dry run.

    Raises:
        LwexpError: If the run has no such rows, or dataset_info.json cannot be extended without loss.
    """
    assert settings.format != "viewer", "the caller makes pages itself"
    kind = _rows_to_export(run, settings)
    name = settings.name or run.id
    folder = Path(settings.to) if settings.to else run.path / "export" / settings.format
    target = folder / f"{name}.jsonl"
    info = _extended_info(folder / _INFO, name, target, kind) if settings.format == "llamafactory" else None
    rows: Iterator[dict[str, Any]] = (
        (pair_row(pair, settings.format) for pair in read_rows(run.path / PAIRS, PreferencePair))
        if kind == "pairs"
        else map(conversation_row, _exportable(run))
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
    if info is not None:  # after the file, so that no entry ever names a missing file
        write_json(folder / _INFO, info)
    train = "rlhf --rlhf_type dpo" if kind == "pairs" else "sft"
    use = _NEXT[settings.format].format(file=target, name=name, folder=folder, train=train)
    log.info("%s %s of %s -> %s; %s", f"{count:,}", kind, run.id, target, use)
    return target


def _exportable(run: Run) -> Iterator[Conversation]:
    """The conversations whose answers are all trained on; other trainers would train on an answer of weight 0."""
    left_out = 0
    for row in read_rows(run.path / CONVERSATIONS, Conversation):
        if any(message.weight == 0 for message in row.messages):
            left_out += 1
        else:
            yield row
    if left_out:
        log.warning("%s: %s with answers of weight 0 left out, which other trainers would train on",
                    run.id, plural(left_out, "row"))  # fmt: skip


def _rows_to_export(run: Run, settings: ExportConfig) -> str:
    """ "pairs" or "conversations". An imported preference file has both; then the pairs are exported."""
    there = [name for name, file in (("pairs", PAIRS), ("conversations", CONVERSATIONS)) if (run.path / file).is_file()]
    wanted = next(iter(there), "conversations") if settings.rows == "auto" else settings.rows
    if wanted not in there:
        raise LwexpError(f"export.rows={wanted}: {run.id} has none; it has {', '.join(there) or 'no rows at all'}")
    return wanted


def _extended_info(path: Path, name: str, target: Path, kind: str) -> dict[str, Any]:
    """The content of dataset_info.json with this entry added and all others unchanged."""
    info: Any = {}
    if path.is_file():
        try:
            info = parse_json(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise LwexpError(f"{path} is not JSON: {error}; fix it, or export to another folder") from None
    if not isinstance(info, dict):
        raise LwexpError(f"{path} is not a JSON object; wanted one entry per data set")
    entry = dataset_info(target.name, is_pairs=kind == "pairs")
    taken = info.get(name)
    if taken is not None and not (isinstance(taken, dict) and taken.get("file_name") == entry["file_name"]):
        raise LwexpError(f"{path} has another data set named {name}; choose export.name=<name>")
    return {**info, name: entry}
