"""The next step's batch, read and pinned while the device works on this one."""

from collections.abc import Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lwexp.train.data.step_batch import StepBatch


class Prefetched:
    """An iterable of steps that is always one step ahead, in one thread.

    A thread and not a worker process: reading a pack is a copy out of mapped memory, which lets go of the
    interpreter, and a pinned tensor cannot cross processes.

    Args:
        steps: What to read, in order.
        pin: Put tensors into page-locked memory, from which the copy to the device waits for nothing.
    """

    def __init__(self, steps: Any, *, pin: bool) -> None:
        self.steps = steps
        self.pin = pin

    def __len__(self) -> int:
        steps: Sized = self.steps
        return len(steps)

    def __iter__(self) -> Iterator[StepBatch]:
        source = iter(self.steps)

        def read() -> StepBatch | None:
            batch: StepBatch | None = next(source, None)
            return batch.pin_memory() if batch is not None and self.pin else batch

        with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
            coming = thread.submit(read)
            while (batch := coming.result()) is not None:
                coming = thread.submit(read)
                yield batch
