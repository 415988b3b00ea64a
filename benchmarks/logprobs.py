"""Memory and time of the loss alone, forward and backward, each system in its own process.

    python -m benchmarks.logprobs            8,192 tokens, 65,536 words, hidden 256, float32 on the CPU
    python -m benchmarks.logprobs --quick    1,024 tokens, 8,192 words

peak_mib is the peak resident memory less the memory before the call: it includes both gradients but not the inputs.
naive is log_softmax over all logits. checkpoint_chunks is the usual remedy: torch.utils.checkpoint over 512 tokens at a
time. trl is TRL's ChunkedLogProbFunction, which falls back to torch without Triton. All compute the same numbers:
max_error is the largest difference of a log-prob or gradient from naive's, divided by the largest entry.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmarks.output import show

MIB = 2**20
SYSTEMS = ("ours", "naive", "checkpoint_chunks", "trl")


def main() -> None:
    """Run each system in a child process, and compare their results."""
    if "--system" in sys.argv:
        place = sys.argv.index("--system")
        return measure(sys.argv[place + 1], Path(sys.argv[place + 2]))
    quick = ["--quick"] if "--quick" in sys.argv[1:] else []
    case: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for system in SYSTEMS:
            output = Path(folder) / f"{system}.pt"
            command = [sys.executable, "-m", "benchmarks.logprobs", *quick, "--system", system, str(output)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SystemExit(f"{system} failed:\n{done.stderr[-2000:]}")
            case[system] = json.loads(done.stdout.splitlines()[-1])
        naive = torch.load(Path(folder) / "naive.pt")
        for system in SYSTEMS:
            mine = torch.load(Path(folder) / f"{system}.pt")
            errors = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(mine, naive, strict=True)]
            case[system]["max_error"] = max(errors)
    for numbers in case.values():
        numbers["memory_over_naive"] = numbers["peak_mib"] / case["naive"]["peak_mib"]
    show("logprobs", {"8k_x_64k": case}, ("torch", "trl"))
    return None


def measure(system: str, output: Path) -> None:
    """One warm-up at a small size, then one call whose time and memory are measured."""
    tokens, words, width = (1024, 8192, 64) if "--quick" in sys.argv else (8192, 65_536, 256)
    torch.set_num_threads(2)
    run = implementation(system)
    run(*inputs(64, 512, width))
    hidden, weight, targets = inputs(tokens, words, width)
    slopes = torch.linspace(0.5, 1.5, tokens) / tokens  # not all equal, because some kernels get this wrong
    before = reset_peak()
    start = time.perf_counter()
    logprobs = run(hidden, weight, targets)
    (logprobs * slopes).sum().backward()
    seconds = time.perf_counter() - start
    peak = memory("VmHWM")
    torch.save((logprobs.detach(), hidden.grad, weight.grad), output)
    print(json.dumps({"peak_mib": (peak - before) / MIB, "seconds": seconds}))


def inputs(tokens: int, words: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states and head of a model, and targets."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, width, generator=generator).requires_grad_()
    weight = (torch.randn(words, width, generator=generator) * 0.1).requires_grad_()
    return hidden, weight, torch.randint(0, words, (tokens,), generator=generator)


def implementation(system: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A function of hidden states, head and targets."""
    return {"ours": ours, "naive": naive, "checkpoint_chunks": checkpoint_chunks, "trl": trl}[system]


def ours(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    from lwexp.train.model.logprobs import target_logprobs

    return target_logprobs(hidden, weight, torch.arange(len(targets), device=targets.device), targets)


def naive(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return torch.log_softmax(hidden @ weight.T, dim=-1).gather(1, targets[:, None])[:, 0]


def checkpoint_chunks(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    parts = zip(hidden.split(512), targets.split(512), strict=True)
    return torch.cat([checkpoint(naive, part, weight, aim, use_reentrant=False) for part, aim in parts])


def trl(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    from trl.kernels import ChunkedLogProbFunction

    logprobs: Tensor = ChunkedLogProbFunction.apply(hidden, weight, None, targets, 1.0, 32_768, None, 1.0, ())[0]
    return logprobs


def reset_peak() -> float:
    """Reset the peak so far; returns the resident memory in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(field: str) -> float:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
