"""Decodes in a thread: answers join and leave between two steps, and their tokens are passed on at once."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import NamedTuple

import torch

from lwexp.config.evaluate import SampleConfig
from lwexp.records import LwexpError
from lwexp.sample.decode import DecodedToken, Decoder, DecodeRequest
from lwexp.sample.engine import TransformersEngine, fitting_batch_size, is_out_of_memory

log = logging.getLogger(__name__)

# Positions for which memory is reserved per slot at the start; longer answers use the remaining memory.
_EXPECTED_POSITIONS = 8192


class _Wanted(NamedTuple):
    request: DecodeRequest
    sample: SampleConfig
    receive: Callable[[DecodedToken | LwexpError], None]


class LiveDecoder:
    """Answers requests whenever they come. Use it as a context manager; leaving it drops what is being written.

    Args:
        engine: The model; nothing else may use it at the same time.
        slots: Answers written at the same time, fewer if memory is too small; other requests wait.
    """

    def __init__(self, engine: TransformersEngine, slots: int) -> None:
        self.positions = int(engine.model.config.max_position_embeddings)
        self._engine = engine
        self._stops = engine.chat.stop_ids(engine.tokenizer)
        self._slots = fitting_batch_size(engine.model, min(self.positions, _EXPECTED_POSITIONS), at_most=slots)
        self._waiting: queue.Queue[_Wanted | None] = queue.Queue()
        self._dropped: set[str] = set()
        self._receivers: dict[str, Callable[[DecodedToken | LwexpError], None]] = {}
        self._is_ending = False
        self._decoder = self._new_decoder()  # here, so that a model that cannot be decoded is refused at once
        self._thread = threading.Thread(target=self._work, name="decoder", daemon=True)

    def __enter__(self) -> "LiveDecoder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending = True
        self._waiting.put(None)  # wakes the thread
        self._thread.join()

    @property
    def busy(self) -> int:
        """How many answers are being written."""
        return len(self._receivers)

    def submit(
        self, request: DecodeRequest, sample: SampleConfig, receive: Callable[[DecodedToken | LwexpError], None]
    ) -> None:
        """Ask for an answer.

        Args:
            request: With an id that no other request has.
            sample: ``max_new_tokens`` must fit the model's positions after the prompt.
            receive: Called in the decoder's thread with each token, or once with an error.
        """
        self._waiting.put(_Wanted(request, sample, receive))

    def drop(self, id: str) -> None:
        """Stop writing an answer that has not ended; nothing more is received of it."""
        self._dropped.add(id)

    def _work(self) -> None:
        with self._engine.threads():
            while not self._is_ending:
                if not self._decoder.is_busy:
                    if self._waiting.empty():
                        self._dropped.clear()  # of answers that ended before they could be dropped
                    self._decoder = self._new_decoder()  # frees the memory of the longest answer so far
                try:
                    self._admit()
                    self._step()
                except Exception as error:  # whatever ended this thread would leave every request waiting
                    self._fail(error)
                    self._decoder = self._new_decoder()

    def _new_decoder(self) -> Decoder:
        return Decoder(self._engine.model, self._slots, self._stops)

    def _admit(self) -> None:
        """Admit what waits, as far as there are slots; wait if nothing is being written."""
        while self._decoder.free:
            try:
                wanted = self._waiting.get(block=not self._decoder.is_busy)
            except queue.Empty:
                return
            if wanted is None:
                return
            if wanted.request.id in self._dropped:
                self._dropped.discard(wanted.request.id)
                continue
            self._receivers[wanted.request.id] = wanted.receive
            self._decoder.admit([wanted.request], wanted.sample)

    def _step(self) -> None:
        if not self._decoder.is_busy:
            return
        for given in self._decoder.choose():
            receive = self._receivers[given.id]
            if given.finish_reason is not None:
                del self._receivers[given.id]
            if given.id not in self._dropped:  # after a shutdown its event loop is closed
                receive(given)
        for id in self._dropped & set(self._receivers):
            self._decoder.drop(id)
            del self._receivers[id]
            self._dropped.discard(id)
        self._decoder.advance()

    def _fail(self, error: Exception) -> None:
        """Report an error to all requests whose answers were being written; waiting requests are tried next."""
        count = len(self._receivers)
        if is_out_of_memory(error):
            torch.cuda.empty_cache()
            error = LwexpError(f"memory ran out with {count} answers at once; try again, or lower slots=")
        if isinstance(error, LwexpError):
            log.error("%s", error)
        else:
            log.exception("the decoder failed with %d answers at once", count)
            error = LwexpError(f"the decoder failed ({type(error).__name__}: {error})")
        receivers, self._receivers = self._receivers, {}
        for receive in receivers.values():
            receive(error)
