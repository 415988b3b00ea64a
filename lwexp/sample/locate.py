"""Where a bench's files are: named directly, in a folder, or in a data set on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from lwexp.config.evaluate import FileBench
from lwexp.records import LwexpError

_PUBLISHED = "https://github.com/THUDM/LongWriter/tree/main/evaluation"
_RELEASE = "3fcfdff"  # version of the benches that come from there
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(?<!\.jsonl)(?<!\.json)")


def locate(bench: FileBench, name: str) -> Path:
    """The local path of one of a bench's files; one on the hub is downloaded into the hub's own cache.

    Args:
        bench: Its ``path`` is a file, a folder or a hub id.
        name: ``bench.filename``, or the name of a file beside it.

    Raises:
        LwexpError: If there is no such file, saying where it is published.
    """
    path = Path(bench.path)
    if path.is_file():
        path = path if name == bench.filename else path.with_name(name)
    elif path.is_dir():
        path = path / name
    elif _HUB_ID.fullmatch(bench.path):
        return _from_hub(bench, name)
    elif not path.suffix:
        path = path / name
    if path.is_file():
        return path
    advice = "" if name == bench.filename else ", or bench.english=null to tell languages by their letters"
    raise LwexpError(f"bench.path={bench.path}: there is no {path}; {_source(bench, name)}{advice}")


def _source(bench: FileBench, name: str) -> str:
    if bench.version != _RELEASE:
        return "set bench.path=<file, folder or hub data set>"
    return f"THUDM/LongWriter publishes {name} at {_PUBLISHED}; download it there and set bench.path=<file or folder>"


def _from_hub(bench: FileBench, name: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(bench.path, name, repo_type="dataset", revision=bench.revision))
    except Exception as error:  # offline, no such data set, no such file, no access: each with many types
        reason = next(iter(str(error).strip().splitlines()), "")[:160]
        raise LwexpError(
            f"bench.path={bench.path}: there is no such folder, and the hub gave no {name} "
            f"({type(error).__name__}: {reason}); {_source(bench, name)}"
        ) from None
