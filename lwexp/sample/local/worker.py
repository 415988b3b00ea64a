"""A worker: loads the model, and answers the requests that it is given. Started by ``process.Worker``.

    python -m lwexp.sample.local.worker <file descriptor of its connection>

It holds nothing that would be lost: an answer is sent as soon as it is complete, and only the process that started it
writes files.
"""

import logging
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection

from lwexp.extend.plugins import load_plugins
from lwexp.records import LwexpError
from lwexp.sample.local.messages import Failed, Logged, Setup, Wants, Written
from lwexp.sample.requests import SampleRequest
from lwexp.text.plain import first_line

_REPORT_SECONDS = 0.5


def main(connection: Connection) -> None:
    """Serve one connection to its end."""
    logging.getLogger("lwexp").addHandler(_Forward(connection))
    logging.getLogger("lwexp").setLevel(logging.INFO)
    try:
        load_plugins(connection.recv())
        _answer(connection, connection.recv())
    except LwexpError as error:
        connection.send(Failed(str(error), ""))
    except (EOFError, ConnectionError):
        sys.exit("the process that started this worker has ended")
    except Exception as error:
        connection.send(Failed(f"{type(error).__name__}: {first_line(error)}", traceback.format_exc()))


def _answer(connection: Connection, setup: Setup) -> None:
    from lwexp.sample.engine import TransformersEngine

    engine = TransformersEngine(setup.model, chat=setup.chat)
    slots = engine.slots(setup.largest, setup.sample, sharing=setup.sharing)

    def take(most: int) -> list[SampleRequest]:
        connection.send(Wants(most))
        given: list[SampleRequest] = connection.recv()
        return given

    sample = setup.sample.model_copy(update={"batch_size": slots})
    for answer in engine.answers_taken(take, sample, written=_counting(connection)):
        connection.send(answer)


def _counting(connection: Connection) -> Callable[[int], None]:
    """Adds up tokens, and sends them twice a second."""
    tokens, told = 0, time.monotonic()

    def written(more: int) -> None:
        nonlocal tokens, told
        tokens += more
        if time.monotonic() - told > _REPORT_SECONDS:
            connection.send(Written(tokens))
            tokens, told = 0, time.monotonic()

    return written


class _Forward(logging.Handler):
    """Sends log lines to the process that started this one, which alone writes to the terminal and to log.txt."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(logging.INFO)
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        self._connection.send(Logged(record.levelno, record.getMessage()))


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
