"""Locks on files, which the kernel releases when their process ends, however it ends."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lwexp.records.rows import LwexpError


def lock_file(path: Path, *, what: Path, advice: str = "wait for it or stop it", shared: bool = False) -> IO[str]:
    """Lock a file until the returned file is closed. Nodes that share the file system see the lock too.

    Args:
        path: The file, made if it is missing. It names the holder's host and process id.
        what: What the lock protects, for messages.
        advice: What the user can do while another process holds it.
        shared: Others may hold it at the same time, if they share it as well.

    Raises:
        LwexpError: If another process holds it, the file system has no locks, or the file cannot be opened.
    """
    require_openable(path)
    file = path.open("a+", encoding="utf-8", errors="replace")
    try:
        _take(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB, what)
    except BlockingIOError:
        file.seek(0)
        holder = " ".join(file.read(200).split())[:80]
        file.close()
        raise LwexpError(f"{what} is in use by another process{f' ({holder})' if holder else ''}; {advice}") from None
    except LwexpError:
        file.close()
        raise
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file


def require_openable(path: Path) -> None:
    """Refuse a file that cannot be opened to be appended to: a folder, or a link to nowhere.

    Raises:
        LwexpError: Naming the file.
    """
    try:
        path.open("a").close()
    except PermissionError as error:
        raise LwexpError(
            f"{path} cannot be opened: {error.strerror}; it belongs to another user, or its folder is read-only: set "
            f"root=<a folder of yours>"
        ) from None
    except (IsADirectoryError, FileNotFoundError) as error:
        raise LwexpError(f"{path} cannot be opened: {error.strerror}; move it away") from None


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Inside this context no other process is inside it; waits for its turn.

    Raises:
        LwexpError: If the file system has no locks.
    """
    with path.open("a", encoding="utf-8") as file:
        _flock(file, fcntl.LOCK_EX, path.parent)
        yield


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock on the file."""
    try:
        with path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _take(file: IO[str], kind: int, what: Path) -> None:
    """Lock a file now, or after the moment for which ``is_locked`` may hold it in another process."""
    for _ in range(4):
        try:
            return _flock(file, kind, what)
        except BlockingIOError:
            time.sleep(0.05)
    return _flock(file, kind, what)


def _flock(file: IO[str], kind: int, what: Path) -> None:
    try:
        fcntl.flock(file, kind)
    except BlockingIOError:
        raise
    except OSError as error:  # ENOSYS and ENOLCK, for example, which Lustre and NFS may answer
        raise LwexpError(
            f"{what} cannot be locked: {error.strerror}; it needs a file system with flock "
            f"(Lustre: mount -o flock; NFS: version 4, or version 3 with lockd)"
        ) from None
