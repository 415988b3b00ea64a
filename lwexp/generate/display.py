"""The live view of a generation run: a bar with its numbers on a terminal, a line now and then in a log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator

from lwexp.generate.progress import Progress

log = logging.getLogger(__name__)

_REDRAW = 0.5  # seconds, on a terminal
_SAY_EVERY = 30.0  # seconds, in a log


@contextlib.asynccontextmanager
async def shown(progress: Progress, *, say_every: float = _SAY_EVERY) -> AsyncIterator[None]:
    """Show progress while the block runs."""
    painter = asyncio.create_task(_paint(progress) if sys.stderr.isatty() else _say(progress, say_every))
    try:
        yield
    finally:
        painter.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await painter


async def _say(progress: Progress, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        log.info("generate: %s", progress)


async def _paint(progress: Progress) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("documents"), BarColumn(bar_width=24), TextColumn("{task.fields[status]}"), TimeElapsedColumn()
    with Bar(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as bar:
        task = bar.add_task("", total=1.0, status="")
        while True:
            bar.update(task, completed=progress.share, status=str(progress))
            await asyncio.sleep(_REDRAW)
