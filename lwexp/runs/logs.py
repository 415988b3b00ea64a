"""Logging: one logger tree, a console handler on rank 0, and log.txt of the current run."""

from __future__ import annotations

import functools
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lwexp.runs.ranks import is_rank_zero

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OF_A_FILE = 180
_TIME = "%H:%M:%S"
_NAME = "console"


def attach_log(path: Path) -> logging.Handler:
    """Copy everything lwexp logs into ``path``."""
    handler = _RunLog(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger("lwexp").addHandler(handler)
    return handler


def detach_log(handler: logging.Handler) -> None:
    """Stop copying and close the file."""
    logging.getLogger("lwexp").removeHandler(handler)
    with suppress(OSError):
        handler.close()


@functools.cache
def console_of() -> Console:
    """The shared console on standard error, so that bars and log lines do not overwrite each other.

    A file or a pipe has no width; wrapping at 80 would break paths and tallies.
    """
    from rich.console import Console

    terminal = Console(stderr=True)
    return terminal if terminal.is_terminal else Console(stderr=True, width=_WIDTH_OF_A_FILE)


def console_log() -> None:
    """Show lwexp's messages on the terminal: all on rank 0, only errors on other ranks."""
    logger = logging.getLogger("lwexp")
    if any(handler.get_name() == _NAME for handler in logger.handlers):
        return
    # Hydra disables the loggers of modules that were imported before it, as a plugin's imports are.
    for known in [item for name, item in logging.root.manager.loggerDict.items() if name.startswith("lwexp.")]:
        if isinstance(known, logging.Logger):
            known.disabled = False
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # Lightning advises to start with srun, but a trial on SLURM starts its ranks itself (runs.launch).
    warnings.filterwarnings("ignore", message="The `srun` command is available on your system but is not used")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # read by transformers' bars as well
    handler: logging.Handler
    if console_of().is_terminal:
        from rich.logging import RichHandler

        handler = RichHandler(
            console=console_of(), show_path=False, show_level=False, log_time_format=_TIME, highlighter=None
        )
    else:
        handler = _PlainLines()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", _TIME))
    handler.setLevel(logging.INFO if is_rank_zero() else logging.ERROR)
    handler.set_name(_NAME)
    logger.addHandler(handler)


def show(table: Any, *, on_stderr: bool = False) -> None:
    """Print a rich table or text; in a file or a pipe, without trailing blanks and as wide as COLUMNS says, if set."""
    from rich.console import Console

    console = console_of() if on_stderr else Console()
    if console.is_terminal:
        console.print(table)
        return
    wide = Console(stderr=on_stderr, width=None if "COLUMNS" in os.environ else _WIDTH_OF_A_FILE)
    with wide.capture() as captured:
        wide.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()), file=wide.file, flush=True)


@contextmanager
def each_message_once() -> Iterator[None]:
    """While the block runs, show each message only once, for checks that are repeated for many configs."""
    seen: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        is_first = text not in seen
        seen.add(text)
        return is_first

    handlers = logging.getLogger("lwexp").handlers
    for handler in handlers:
        handler.addFilter(is_new)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_new)


class _RunLog(logging.FileHandler):
    """A log file. A disk that takes no more loses its lines: what fails for that reason is reported by the command."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class _PlainLines(logging.Handler):
    """Log lines for a file or a pipe: neither wrapped nor padded."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except OSError:
            self.handleError(record)
