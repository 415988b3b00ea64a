"""Progress: a bar on a terminal; elsewhere a log line every 30 seconds, even if nothing has moved.

with counted("training", total=650, done=100) as count:
    count.advance("loss 1.2345")
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol, TypeVar

from lwexp.runs.logs import console_of
from lwexp.runs.ranks import is_rank_zero

log = logging.getLogger(__name__)

T = TypeVar("T")

SAY_EVERY_SECONDS = 30.0
_REDRAW_SECONDS = 0.25


class Measure(Protocol):
    """A progress measure. Its text has done, total, rate and time left."""

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1."""

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

    def __str__(self) -> str:
        rate = (self.done - self._before) / max(time.monotonic() - self._started, 1e-9)
        parts = [f"{self.done:,} of {self.total:,}"]
        if rate > 0:
            parts += [per_second(rate), f"{clock((self.total - self.done) / rate)} left"]
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

        def tell() -> None:
            while not ended.wait(seconds):
                show()

        # In a thread, because a single call or step may take longer than the interval between two lines.
        teller = threading.Thread(target=tell, name=f"progress of {what}", daemon=True)
        teller.start()
        try:
            yield
        finally:
            ended.set()
            teller.join()


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
