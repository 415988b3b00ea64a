"""Progress: a bar on a terminal; elsewhere a log line every 30 seconds, even if nothing has moved.

with counted("training", total=650, done=100) as count:
    count.advance("loss 1.2345")

While a process works in a run, the same numbers are in the run's progress.json, for other programs.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

from lwexp.runs.artifacts import Artifact
from lwexp.runs.logs import console_of
from lwexp.runs.ranks import is_rank_zero

log = logging.getLogger(__name__)

T = TypeVar("T")

SAY_EVERY_SECONDS = 30.0
KEEP_EVERY_SECONDS = 5.0
"""Between two versions of progress.json: often enough to watch, and a rename of a small file for the disk."""
_REDRAW_SECONDS = 0.25
_folders: list[Path] = []  # of the runs that this process works in, the newest last


class Numbers(Artifact):
    """What the text of a measure says, for programs; None for what it does not know."""

    done: int | None = None
    total: int | None = None
    rate: float | None = None
    """Items a second."""
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    in_flight: int | None = None
    """Calls to a model that have no answer yet."""
    spent_usd: float | None = None
    projected_usd: float | None = None
    """Cost of the whole run."""
    failed: dict[str, int] | None = None
    """Reason -> items that were lost."""


class RunProgress(Artifact):
    """What a run was doing last, and how far it had come."""

    FILE: ClassVar[str] = "progress.json"

    what: str
    """The work that is counted, such as training or answers. A run may do several, one after the other."""
    share: float
    """How much of it is done, from 0 to 1."""
    text: str
    """The same as in the log: done, total, rate and time left."""
    numbers: Numbers = Numbers()
    is_over: bool = False
    """Whether this work is done, and the run does something that is not counted."""
    started: str = ""
    """When this work began, in the newest start of the run."""
    updated: str = ""


class Measure(Protocol):
    """A progress measure. Its text has done, total, rate and time left."""

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1."""

    @property
    def numbers(self) -> Numbers:
        """What its text says, for programs."""

    def __str__(self) -> str: ...


class Count:
    """Finished items out of a known number.

    Args:
        total: Number of items.
        done: Number of items finished by an earlier start; they do not count for the rate.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self.total = total
        self.done = done
        self._note = ""
        self._before = done
        self._started = time.monotonic()

    def advance(self, note: str = "") -> None:
        """Count one more item. ``note`` is shown at the end of the text until the next one."""
        self.done += 1
        self._note = note or self._note

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1."""
        return self.done / self.total if self.total else 1.0

    @property
    def numbers(self) -> Numbers:
        """Done and total; once an item is done in this start, also the rate and the seconds left."""
        rate = (self.done - self._before) / max(time.monotonic() - self._started, 1e-9)
        known = Numbers(done=self.done, total=self.total)
        if rate > 0:
            known.rate, known.seconds_left = rate, (self.total - self.done) / rate
        return known

    def __str__(self) -> str:
        known = self.numbers
        parts = [f"{self.done:,} of {self.total:,}"]
        if known.rate is not None and known.seconds_left is not None:
            parts += [per_second(known.rate), f"{clock(known.seconds_left)} left"]
        return ", ".join([*parts, *([self._note] if self._note else [])])


@contextmanager
def shown(what: str, measure: Measure) -> Iterator[None]:
    """Show a measure while the block runs; on rank 0 only."""
    if not is_rank_zero():
        yield
        return
    ended = threading.Event()
    with ExitStack() as stack:
        show, seconds = _painter(what, measure, stack)
        keep = _keeper(what, measure)
        keep(False)
        # In threads, because a single call or step may take longer than the interval between two lines.
        tellers = [_repeat(show, seconds, ended), _repeat(lambda: keep(False), KEEP_EVERY_SECONDS, ended)]
        is_over = False
        try:
            yield
            is_over = True
        finally:
            ended.set()
            for teller in tellers:
                teller.join()
            keep(is_over)


@contextmanager
def counted(what: str, total: int, done: int = 0) -> Iterator[Count]:
    """Show a count while the block runs."""
    count = Count(total, done)
    with shown(what, count):
        yield count


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yield items, and show how many have been processed."""
    with counted(what, total) as count:
        for item in items:
            yield item
            count.advance()


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: ``1:02:03``, or ``2:03``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def per_second(rate: float) -> str:
    """``12/s``, or ``1.23/s`` below ten."""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2f}/s"


def keep_progress_in(folder: Path) -> None:
    """From now on, write what this process shows into a run's progress.json as well."""
    _folders.append(folder)


def stop_keeping_progress_in(folder: Path) -> None:
    """Write no more progress into a run."""
    _folders.remove(folder)


def _keeper(what: str, measure: Measure) -> Callable[[bool], None]:
    """A function that writes progress.json, given whether the work is over; without a run it does nothing."""
    if not _folders:
        return lambda _: None
    folder, started = _folders[-1], _now()

    def keep(is_over: bool) -> None:
        # The file is for onlookers: neither a full disk nor a count that changes while it is read may end the run.
        with suppress(OSError, RuntimeError):
            RunProgress(
                what=what, share=measure.share, text=str(measure), numbers=measure.numbers, is_over=is_over,
                started=started, updated=_now(),
            ).write(folder)  # fmt: skip

    return keep


def _repeat(work: Callable[[], None], seconds: float, ended: threading.Event) -> threading.Thread:
    def run() -> None:
        while not ended.wait(seconds):
            work()

    thread = threading.Thread(target=run, name="progress", daemon=True)
    thread.start()
    return thread


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _painter(what: str, measure: Measure, stack: ExitStack) -> tuple[Callable[[], None], float]:
    """A function that shows the measure once, and the interval between calls."""
    console = console_of()
    if not console.is_terminal:
        return lambda: log.info("%s: %s", what, measure), SAY_EVERY_SECONDS
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn(what), BarColumn(bar_width=24), TextColumn("{task.fields[status]}"), TimeElapsedColumn()
    bar = stack.enter_context(Progress(*columns, console=console, transient=True))
    task = bar.add_task(what, total=1.0, status=str(measure))
    return lambda: bar.update(task, completed=measure.share, status=str(measure)), _REDRAW_SECONDS
