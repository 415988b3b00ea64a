"""Tries many inputs at one door and collects those that end in anything but a result or the user's one line."""

from __future__ import annotations

import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.strategies import SearchStrategy

from lwexp.records import LwexpError

SECONDS_A_CASE = 10.0
"""Of processor time, so that a busy machine makes no hangs."""
WAITING_SECONDS_A_CASE = 100.0
"""Of the clock, for what waits for ever."""
LONGEST_MESSAGE = 4_000
"""Characters; a message is for a person, who should not have to scroll through the file that it is about."""


class Hang(BaseException):
    """A case took longer than its limits. Not an Exception, so that no code under test swallows it."""


class BadMessageError(Exception):
    """A refusal that is not one short line, or that repeats a secret."""


Attempt = Callable[[Any], object]
"""Reads one input, as the commands do."""


@dataclass(frozen=True)
class Door:
    """A place where lwexp reads what others wrote.

    Attributes:
        cases: What is tried.
        opened: Prepares a folder and gives the attempt; closed again after the last case.
        allowed: Errors that the callers of this door turn into a counted row, besides ``LwexpError``.
        lines: Whether a refusal may have several lines, one for each mistake in a config.
    """

    cases: SearchStrategy[Any]
    opened: Callable[[Path], Attempt]
    allowed: tuple[type[Exception], ...] = ()
    lines: bool = False
    around: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass
class Finding:
    """An error that users would see as a traceback, or a hang, with the shortest input that gave it."""

    error: str
    place: str
    case: Any
    count: int = 1

    def __str__(self) -> str:
        return f"{self.error}\n  at {self.place}, {self.count} times; shortest input: {self.case!r:.400}"


@dataclass
class Outcome:
    """What a door did with all cases."""

    cases: int = 0
    refused: int = 0
    slowest_ms: float = 0.0
    findings: dict[str, Finding] = field(default_factory=dict)

    @property
    def hangs(self) -> int:
        return sum(each.count for each in self.findings.values() if each.error.startswith("Hang"))

    @property
    def tracebacks(self) -> int:
        return sum(each.count for each in self.findings.values()) - self.hangs


def fuzz(door: Door, cases: int, start: int = 0) -> Outcome:
    """Try ``cases`` inputs. The same ``start`` tries the same inputs."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder, door.around():
        attempt = door.opened(Path(folder))

        def one(case: Any) -> None:
            outcome.cases += 1
            began = time.perf_counter()
            try:
                with _time_limits():
                    attempt(case)
            except LwexpError as error:
                outcome.refused += 1
                _note_bad_message(outcome, case, error, lines=door.lines)
            except door.allowed:
                outcome.refused += 1
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # a panic of a Rust library is no Exception
                _note(outcome, case, error)
            outcome.slowest_ms = max(outcome.slowest_ms, 1000 * (time.perf_counter() - began))

        # The findings are collected instead of raised, so that all cases are tried; nothing is kept on disk.
        tried = settings(
            max_examples=cases, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck), verbosity=Verbosity.quiet,
        )  # fmt: skip
        tried(seed(start)(given(door.cases)(one)))()
    return outcome


@contextmanager
def _time_limits() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang(f"longer than {SECONDS_A_CASE:g} s of processor time, or {WAITING_SECONDS_A_CASE:g} s of waiting")

    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, SECONDS_A_CASE),
        signal.SIGALRM: (signal.ITIMER_REAL, WAITING_SECONDS_A_CASE),
    }
    before = {number: signal.signal(number, stop) for number in timers}
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _note_bad_message(outcome: Outcome, case: Any, error: LwexpError, *, lines: bool) -> None:
    text = str(error)
    if not text.strip():
        _note(outcome, case, BadMessageError("empty"), error)
    elif "\n" in text.strip() and not lines:
        _note(outcome, case, BadMessageError("more than one line"), error)
    elif len(text) > LONGEST_MESSAGE:
        _note(outcome, case, BadMessageError("too long"), error)


def _note(outcome: Outcome, case: Any, error: BaseException, where: BaseException | None = None) -> None:
    frames = traceback.extract_tb((where or error).__traceback__)
    ours = [frame for frame in frames if "/lwexp/" in frame.filename] or frames
    place = f"{ours[-1].filename.rpartition('/lwexp/')[2]}:{ours[-1].lineno} {ours[-1].name}"
    kind = f"{type(error).__name__} {place}"
    found = outcome.findings.get(kind)
    if found is None:
        outcome.findings[kind] = Finding(f"{type(error).__name__}: {str(error)[:200]}", place, case)
        return
    found.count += 1
    if len(repr(case)) < len(repr(found.case)):
        found.case = case
