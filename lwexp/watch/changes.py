"""When files changed, and what was read from them, so that a file is read again only after a change."""

import contextlib
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """What was read last for each key, with the state that the files had then."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[Any, T]] = {}

    def get(self, key: Hashable, state: Any, read: Callable[[], T]) -> T:
        """What ``read`` returned when ``state`` was the same; calls it if the state is another one."""
        known = self._known.get(key)
        if known is None or known[0] != state:
            # Read after the state was taken: a change in between is found by the next poll.
            known = self._known[key] = (state, read())
        return known[1]


def state_of(*paths: Path) -> tuple[tuple[int, int] | None, ...]:
    """Time of change and bytes of each file; None for one that is not there."""
    return tuple(_state(path) for path in paths)


def _state(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        state = path.stat()
        return state.st_mtime_ns, state.st_size
    return None


def last_change(*paths: Path) -> str:
    """When the newest of these files changed, as ISO 8601 in UTC; empty if none is there."""
    times = [state[0] for state in state_of(*paths) if state is not None]
    return datetime.fromtimestamp(max(times) / 1e9, UTC).isoformat(timespec="seconds") if times else ""
