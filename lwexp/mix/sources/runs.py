"""Finding a run that a source names, and its file."""

import logging
from pathlib import Path

from lwexp.extend.source import Found
from lwexp.records import LwexpError

log = logging.getLogger(__name__)


def find_output(key: str, run: str, file: str, *, root: Path, stages: tuple[str, ...], make_it: str) -> Found:
    """A file that a finished run holds.

    Args:
        key: Config key of the source.
        run: A run directory, a run name, or "newest".
        file: Its name.
        root: Folder under which runs lie.
        stages: Kinds of runs that may be meant. An import is asked for by its name; "newest" means the first kind.
        make_it: Command that makes such a run, for the message.

    Raises:
        LwexpError: If there is no such run, or its file was deleted.
    """
    from lwexp.runs import find_run, fingerprint

    wanted = stages[:1] if run == "newest" else stages
    found = find_run(run, root=root, stages=wanted, key=f"{key}.run", make_it=make_it)
    log.info("%s: %s", key, found.path)
    path = found.path / file
    if not path.is_file():
        raise LwexpError(f"{key}.run={run}: {path} is missing; remove {found.path} and make the run again")
    return Found(str(path), fingerprint(path), found.path)


def find_file(key: str, path: str) -> Found:
    """A file or folder that the user names.

    Raises:
        LwexpError: If it does not exist.
    """
    from lwexp.runs import fingerprint

    if not Path(path).exists():
        raise LwexpError(f"{key}.path={path} does not exist; wanted a .json, .jsonl or .parquet file")
    return Found(path, fingerprint(Path(path)))
