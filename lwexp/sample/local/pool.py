"""Divides requests among workers, and passes on their answers as they come."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path

from lwexp.records import LwexpError, stops_raised
from lwexp.sample.local.messages import Failed, Logged, Setup, Wants, Written
from lwexp.sample.local.process import Place, Worker
from lwexp.sample.requests import SampleRequest, SampleResult, longest_first
from lwexp.text.plain import plural

log = logging.getLogger(__name__)

_DEATHS = 3  # of one worker without an answer in between


class Pool:
    """Workers and what each has been given.

    Args:
        requests: Dealt out in turn, longest first. A worker that has none left takes from the one with most.
        places: One for each worker.
        plugins: Loaded by each worker.
        setup: Sent to each worker.
        log_file: Receives what workers print.
    """

    def __init__(
        self,
        requests: Sequence[SampleRequest],
        places: Sequence[Place],
        plugins: Sequence[str],
        setup: Setup,
        log_file: Path,
    ) -> None:
        ordered = longest_first(requests)
        self._places = places
        self._hello = (list(plugins), setup)
        self._log_file = log_file
        self._waiting = [deque(ordered[number :: len(places)]) for number in range(len(places))]
        self._given: list[dict[str, SampleRequest]] = [{} for _ in places]
        self._deaths = [0] * len(places)
        self._workers: dict[int, Worker] = {}

    def answer(self, keep: Callable[[SampleResult], None], written: Callable[[int], None]) -> None:
        """Answer every request.

        Args:
            keep: Receives each answer.
            written: Receives numbers of tokens as they are written.

        Raises:
            LwexpError: If a worker fails, or one dies three times without an answer in between.
            KeyboardInterrupt: After Ctrl-C; ``Preempted`` after SIGTERM. All workers have ended then.
        """
        with stops_raised():
            try:
                for number in range(len(self._places)):
                    self._start(number)
                while self._workers:
                    self._receive(keep, written)
            finally:
                for worker in self._workers.values():
                    worker.kill()

    def _start(self, number: int) -> None:
        worker = Worker(self._places[number], self._log_file)
        self._workers[number] = worker
        worker.send(*self._hello)

    def _receive(self, keep: Callable[[SampleResult], None], written: Callable[[int], None]) -> None:
        number_of = {worker.connection: number for number, worker in self._workers.items()}
        for connection in wait(list(number_of)):
            number = number_of[connection]  # type: ignore[index]
            try:
                message = self._workers[number].connection.recv()
            except (EOFError, OSError):  # OSError also for a message that a kill has torn
                self._ended(number)
                continue
            match message:
                case Wants(most):
                    self._workers[number].send(self._take(number, most))
                case SampleResult():
                    del self._given[number][message.id]
                    self._deaths[number] = 0
                    keep(message)
                case Written(tokens):
                    written(tokens)
                case Logged(level, text):
                    log.log(level, "%s", self._named(number, text))
                case Failed(line, traceback):
                    self._fail(number, line, traceback)

    def _take(self, number: int, most: int) -> list[SampleRequest]:
        taken: list[SampleRequest] = []
        while len(taken) < most and any(self._waiting):
            own = self._waiting[number]
            # From the end of another's, where the short answers are: its long ones have to begin early.
            taken.append(own.popleft() if own else max(self._waiting, key=len).pop())
        self._given[number].update((request.id, request) for request in taken)
        return taken

    def _ended(self, number: int) -> None:
        """A worker has closed its connection: it has nothing left to do, or has died."""
        worker = self._workers.pop(number)
        code = worker.wait()
        lost = list(self._given[number].values())
        if not lost and (code == 0 or not any(self._waiting)):
            return  # its work is done; a crash while Python or CUDA shuts down loses nothing
        if code >= 0:
            self._fail(number, f"ended with exit code {code}: {worker.last_line()}", "")
        self._given[number].clear()
        self._waiting[number].extendleft(reversed(lost))
        self._deaths[number] += 1
        killed = f"was killed by signal {-code}"
        if self._deaths[number] == _DEATHS:
            raise LwexpError(
                self._named(
                    number,
                    f"{killed} {_DEATHS} times without an answer; if memory ran out, lower sample.batch_size or "
                    "engine.workers, and run the same command again",
                )
            )
        log.warning("%s", self._named(number, f"{killed}; {plural(len(lost), 'answer')} will be sampled again"))
        self._start(number)

    def _fail(self, number: int, line: str, traceback: str) -> None:
        if traceback:
            with self._log_file.open("a", encoding="utf-8") as out:
                out.write(traceback)
            line = f"{line} (its traceback: {self._log_file})"
        raise LwexpError(self._named(number, line))

    def _named(self, number: int, text: str) -> str:
        return f"worker {number + 1} of {len(self._places)}: {text}"
