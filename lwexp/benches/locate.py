"""Where a bench's files are: named directly, in a folder, or in a data set on the Hugging Face hub."""

import re
from pathlib import Path

from lwexp.records import LwexpError

_PUBLISHED = "https://github.com/THUDM/LongWriter/tree/main/evaluation"
_RELEASE = "3fcfdff"  # version of the benches that come from there
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(?<!\.jsonl)(?<!\.json)")


def locate(name: str, *, path: str, filename: str, version: str, revision: str | None) -> Path:
    """The local path of one of a bench's files; one on the hub is downloaded into the hub's own cache.

    Args:
        name: ``filename``, or the name of a file beside it.
        path: A file, a folder or a hub id.
        filename: Of the prompts.
        version: Of the bench; says where it is published.
        revision: Hub commit; None for the newest.

    Raises:
        LwexpError: If there is no such file, saying where it is published.
    """
    found = Path(path)
    if found.is_file():
        found = found if name == filename else found.with_name(name)
    elif found.is_dir():
        found = found / name
    elif _HUB_ID.fullmatch(path):
        return _from_hub(path, name, revision, _source(version, name))
    elif not found.suffix:
        found = found / name
    if found.is_file():
        return found
    advice = "" if name == filename else ", or bench.english=null to tell languages by their letters"
    raise LwexpError(f"bench.path={path}: there is no {found}; {_source(version, name)}{advice}")


def _source(version: str, name: str) -> str:
    if version != _RELEASE:
        return "set bench.path=<file, folder or hub data set>"
    return f"THUDM/LongWriter publishes {name} at {_PUBLISHED}; download it there and set bench.path=<file or folder>"


def _from_hub(path: str, name: str, revision: str | None, source: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(path, name, repo_type="dataset", revision=revision))
    except Exception as error:  # offline, no such data set, no such file, no access: each with many types
        reason = next(iter(str(error).strip().splitlines()), "")[:160]
        raise LwexpError(
            f"bench.path={path}: there is no such folder, and the hub gave no {name} "
            f"({type(error).__name__}: {reason}); {source}"
        ) from None
