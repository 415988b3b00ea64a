"""What a worker and the process that started it send each other, pickled, over one connection.

The worker is sent a list of plugins, which it loads before it can read anything of their classes, and a ``Setup``. Then
it asks for requests whenever it has free slots, and gets a list; a list shorter than it asked for is the last one. It
sends a ``Wants``, ``Written``, ``Logged`` or ``Failed``, and each answer as a ``SampleResult``.
"""

from pathlib import Path
from typing import NamedTuple

from lwexp.config.evaluate import SampleConfig
from lwexp.extend import ChatFormat
from lwexp.sample.requests import SampleRequest


class Setup(NamedTuple):
    """What a worker needs to know before its first request."""

    model: Path
    chat: ChatFormat | str | None
    sample: SampleConfig
    largest: tuple[SampleRequest, ...]
    """The requests with the longest prompt and the longest expected answer, by which memory is planned."""
    sharing: int
    """Workers on one device, which divide its memory."""


class Wants(NamedTuple):
    """A worker can begin so many answers."""

    most: int


class Written(NamedTuple):
    """A worker has written so many tokens since it last said so."""

    tokens: int


class Logged(NamedTuple):
    """A line for the log of the command."""

    level: int
    text: str


class Failed(NamedTuple):
    """A worker cannot go on: one line, and the traceback unless the line says it all."""

    line: str
    traceback: str
