"""The device that the GPU benchmark runs on, and its timers and memory counters."""

from __future__ import annotations

import gc
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor


class Place(NamedTuple):
    """A device, and whether the shapes on it are full size or tiny."""

    device: torch.device
    dtype: torch.dtype
    quick: bool
    name: str

    @property
    def is_cuda(self) -> bool:
        """Whether it is a GPU."""
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Wait until the device has finished all work."""
        if self.is_cuda:
            torch.cuda.synchronize()

    def clear(self) -> float:
        """Free the memory of earlier cases; returns the MiB that are still held.

        transformers' models are reference cycles, which only the garbage collector frees after ``del``. Without it, the
        next case's peak would include them.
        """
        gc.collect()
        if not self.is_cuda:
            return 0.0
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20

    def poison(self) -> None:
        """Fill memory with NaN before the next outputs are allocated in it, so that rows a kernel skips are NaN."""
        garbage = [
            torch.full((size,), torch.nan, dtype=self.dtype, device=self.device) for size in (2**12, 2**16, 2**22)
        ]
        del garbage

    def time(self, run: Callable[[int], object], repeats: int) -> float:
        """Median seconds of ``run(number)`` over the calls after the first."""
        times = []
        for number in range(repeats + 1):
            self.wait()
            start = time.perf_counter()
            run(number)
            self.wait()
            times.append(time.perf_counter() - start)
        return statistics.median(times[1:])

    def peak_mib(self, run: Callable[[], object]) -> float:
        """Peak device memory of a call, less the memory held before it; 0 on a CPU, where it is not measured."""
        if not self.is_cuda:
            run()
            return 0.0
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        self.wait()
        return (torch.cuda.max_memory_allocated() - before) / 2**20


def find_place(quick: bool) -> Place:
    """The first GPU, else the CPU with tiny shapes."""
    if torch.cuda.is_available():
        return Place(torch.device("cuda"), torch.bfloat16, quick, torch.cuda.get_device_name())
    torch.set_num_threads(2)
    return Place(torch.device("cpu"), torch.float32, True, "no CUDA device")


def scratch_folder(size: float) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder, in memory if ``size`` bytes are free there, because the disk is not being measured."""
    memory = Path("/dev/shm")
    is_roomy = memory.is_dir() and shutil.disk_usage(memory).free > size
    return tempfile.TemporaryDirectory(dir=memory if is_roomy else None)


def relative_error(got: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Largest difference over largest entry, over several tensors; NaN becomes infinite."""
    errors = [
        float((a.double().cpu() - b.double().cpu()).abs().max() / b.double().abs().max().cpu())
        for a, b in zip(got, wanted, strict=True)
    ]
    return max(error if error == error else float("inf") for error in errors)


def within(error: float, limit: float) -> dict[str, float]:
    """A parity check as a case reports it: the error, its limit, and 1.0 if the error is within the limit."""
    return {"max_error": error, "tolerance": limit, "parity_ok": float(error < limit)}
