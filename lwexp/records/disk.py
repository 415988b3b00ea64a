"""Recognises a disk that takes no more, so that it is one line for the user and not a traceback."""

import errno
import os

_UNUSABLE = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.ENXIO)
"""What a path that a user has given may meet. ENOENT is not among them: each place that reads such a path says what it
wanted there, so a file that is missing elsewhere is a fault of lwexp."""

_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
"""Full, over a quota, read-only, and larger than a file may be."""


def disk_refusal(error: BaseException) -> str | None:
    """The system's words, if an error is a disk that takes no more, such as "No space left on device"."""
    number = error.errno if isinstance(error, OSError) else None
    return next((os.strerror(code) for code in _REFUSED if code == number or os.strerror(code) in str(error)), None)


def path_problem(error: BaseException) -> str | None:
    """What to tell the user if an error is a path that cannot be used; None for other errors."""
    if not isinstance(error, OSError) or error.filename is None or error.errno not in _UNUSABLE:
        return None
    name = error.filename if isinstance(error.filename, str) else str(error.filename)
    return f"{name} cannot be used: {error.strerror}; correct the path, or the permissions of its folders"


def disk_problem(error: BaseException) -> str | None:
    """What to tell the user if an error, or one that led to it, is a disk that takes no more; None for other errors.

    Libraries written in Rust and C++ raise errors of their own, in which only the system's words remain.
    """
    cause: BaseException | None = error
    while cause is not None:
        if (said := disk_refusal(cause)) is not None:
            name = cause.filename if isinstance(cause, OSError) else None
            return (
                f"{name or 'a file'} cannot be written: {said}; free some space or set root=<folder>, then run the "
                f"same command again"
            )
        cause = cause.__cause__ or cause.__context__
    return None
