"""How every command ends: its exit code, and one line for whoever started it.

Exit codes: 0 done, 1 a fault of lwexp or a failed trial, 2 a mistake that the user can correct (one line each, no
traceback), 130 interrupted by Ctrl-C, 141 the reader of the output has left (``| head``), 143 stopped by SIGTERM,
SIGHUP or a signal of a scheduler.
"""

import contextlib
import io
import os
import re
import select
import sys
from collections.abc import Callable

from lwexp.records.disk import disk_problem, disk_refusal, path_problem
from lwexp.records.rows import LwexpError, Preempted
from lwexp.records.stop import stops_raised

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters that begin a new line or steer a terminal, for example in a file's name; a tab does neither."""


def exit_code(work: Callable[[], int | None], *, again: str, ctrl_c: str | None = "interrupted") -> int:
    """Do the work of a command and return the exit code of its outcome.

    Args:
        work: May return an exit code of its own.
        again: Ends the line about a stop, such as "run the same command again".
        ctrl_c: What to say after Ctrl-C if the interruption has no words of its own; None says nothing.
    """
    prepare_streams()
    try:
        with stops_raised():
            code = _code_of(work)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_has_left():
            raise  # another pipe broke, which is a fault of lwexp
        code = 141
    except LwexpError as error:
        code = _tell(*(f"error: {line}" for line in error.lines), code=2)
    except Preempted as told:
        code = _tell(f"{told}; {again}", code=143)
    except KeyboardInterrupt as told:
        said = str(told) or ctrl_c
        code = _tell(*([f"{said}; {again}"] if said else []), code=130)
    except Exception as error:
        if (problem := _output_problem(error) or disk_problem(error) or path_problem(error)) is None:
            raise
        code = _tell(f"error: {problem}", code=2)
    _give_up_lost_outputs()
    return code


def _code_of(work: Callable[[], int | None]) -> int:
    try:
        return work() or 0
    except SystemExit as left:  # argparse ends in one, and what it has printed may still be in a buffer
        if not isinstance(left.code, int | None):
            raise
        return left.code or 0


def prepare_streams() -> None:
    """Make the standard streams usable whatever the parent has done to them.

    A closed one (``>&-``) becomes /dev/null: Python has None there, and the next file that is opened would get the
    stream's number and what libraries print. Standard output escapes what its encoding lacks, as standard error does.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - stays open
    if isinstance(sys.stdout, io.TextIOWrapper):
        with contextlib.suppress(OSError):  # the file behind the stream was replaced by a pipe, which has no position
            sys.stdout.reconfigure(errors="backslashreplace")


def _tell(*lines: str, code: int) -> int:
    """Print lines, each as one line: control characters are escaped."""
    with contextlib.suppress(OSError):  # a full disk or a reader that has left: the exit code says it as well
        for line in lines:
            shown = _CONTROL.sub(lambda found: repr(found[0])[1:-1], line)
            print(shown.encode("utf-8", "backslashreplace").decode(), file=sys.stderr)
    return code


def _output_problem(error: Exception) -> str | None:
    """What to tell the user if standard output takes no more; None for other errors."""
    said = disk_refusal(error)
    if said is None or not isinstance(error, OSError) or error.filename is not None:
        return None
    try:
        print(flush=True)  # an empty line does no harm if another disk is full
    except OSError:
        return f"standard output cannot be written: {said}; free some space or send it elsewhere"
    return None


def _reader_has_left() -> bool:
    """Whether standard output or standard error is a pipe whose reader has closed it."""
    outputs = select.poll()
    for number in (1, 2):
        outputs.register(number, 0)
    return any(event & select.POLLERR for _, event in outputs.poll(0))


def _give_up_lost_outputs() -> None:
    """Python flushes once more when it ends; where that would fail, the exit code would be 120."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
