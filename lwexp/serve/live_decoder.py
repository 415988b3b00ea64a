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
from lwexp.sample.engine import TransformersEngine, fitting_batch_size

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
        self._thread = threading.Thread(target=self._work, name="decoder", daemon=True)

    def __enter__(self) -> "LiveDecoder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.put(None)
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
        """Stop writing an answer; nothing more is received of it. Does nothing if it has ended."""
        self._dropped.add(id)

    def _work(self) -> None:
        with self._engine.threads():
            decoder = self._new_decoder()
            while True:
                if not decoder.is_busy:
                    self._dropped.clear()
                    decoder = self._new_decoder()  # frees the memory of the longest answer so far
                try:
                    if not self._admit(decoder):
                        return
                    self._step(decoder)
                except (LwexpError, torch.OutOfMemoryError) as error:
                    self._fail(error)
                    decoder = self._new_decoder()

    def _new_decoder(self) -> Decoder:
        return Decoder(self._engine.model, self._slots, self._stops)

    def _admit(self, decoder: Decoder) -> bool:
        """Admit what waits, as far as there are slots; wait if nothing is being written. False at the end."""
        while decoder.free:
            try:
                wanted = self._waiting.get(block=not decoder.is_busy)
            except queue.Empty:
                return True
            if wanted is None:
                return False
            if wanted.request.id not in self._dropped:
                self._receivers[wanted.request.id] = wanted.receive
                decoder.admit([wanted.request], wanted.sample)
        return True

    def _step(self, decoder: Decoder) -> None:
        if not decoder.is_busy:
            return
        for given in decoder.choose():
            receive = self._receivers[given.id]
            if given.finish_reason is not None:
                del self._receivers[given.id]
            if given.id not in self._dropped:
                receive(given)
        for id in self._dropped & set(self._receivers):
            decoder.drop(id)
            del self._receivers[id]
        decoder.advance()

    def _fail(self, error: Exception) -> None:
        """Report an error to all requests whose answers were being written; waiting requests are tried next."""
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
            error = LwexpError(
                f"memory ran out with {len(self._receivers)} answers at once; try again, or lower slots="
            )
        log.error("%s", error)
        receivers, self._receivers = self._receivers, {}
        for receive in receivers.values():
            receive(error if isinstance(error, LwexpError) else LwexpError(str(error)))
