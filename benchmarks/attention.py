"""Time of packed attention on the CPU, forward and backward: ours against a mask over the pack.

    python -m benchmarks.attention            4,096 tokens: few long, mixed, many short documents
    python -m benchmarks.attention --quick    256 tokens

Shapes are those of a small model with grouped queries (8 heads, 2 of keys, 64 wide). transformers_sdpa is what
transformers does with packed position_ids: a boolean mask over the whole pack, made once per forward pass of LAYERS
layers and shared by them, and keys and values copied for the groups. padded_batch lays documents into one batch padded
to the longest. max_error is the largest difference of an output from ours.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.output import Results, show
from lwexp.train.model.attention_paths import Documents, per_document

HEADS, KV_HEADS, WIDTH, LAYERS = 8, 2, 64, 4
System = Callable[[Tensor, Tensor, Tensor, tuple[int, ...]], Tensor]


def main() -> None:
    """All cases."""
    torch.set_num_threads(2)
    quick = "--quick" in sys.argv[1:]
    tokens = 256 if quick else 4096
    cases = {
        "few_long": (tokens // 2, tokens // 2),
        "mixed": (tokens // 2, *[tokens // 8] * 2, *[tokens // 64] * 16),
        "many_short": (tokens // 64,) * 64,
    }
    systems: dict[str, System] = {"ours": ours, "transformers_sdpa": masked, "padded_batch": padded}
    results: Results = {}
    for case, lengths in cases.items():
        inputs = make_inputs(sum(lengths))
        wanted = ours(*inputs, lengths)
        results[case] = {}
        for name, system in systems.items():
            error = float((system(*inputs, lengths) - wanted).detach().abs().max())
            results[case][name] = {"seconds": measure(system, inputs, lengths, 1 if quick else 3), "max_error": error}
        for numbers in results[case].values():
            numbers["over_ours"] = numbers["seconds"] / results[case]["ours"]["seconds"]
    show("attention", results, ("torch", "transformers"))


def make_inputs(tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (HEADS, KV_HEADS, KV_HEADS)
    q, k, v = (torch.randn(1, h, tokens, WIDTH, generator=generator).requires_grad_() for h in shapes)
    return q, k, v


def measure(system: System, inputs: tuple[Tensor, Tensor, Tensor], lengths: tuple[int, ...], repeats: int) -> float:
    """Median seconds of a forward and backward pass through LAYERS layers of nothing but attention."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        torch.autograd.grad(system(*inputs, lengths).sum(), inputs)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def ours(query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...]) -> Tensor:
    documents = Documents(lengths, None, max(lengths))
    return layers(lambda: per_document(query, key, value, documents, WIDTH**-0.5))


def masked(query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...]) -> Tensor:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    mask = ((document[:, None] == document) & torch.ones(len(document), len(document), dtype=torch.bool).tril())[
        None, None
    ]
    module = SimpleNamespace(num_key_value_groups=HEADS // KV_HEADS, is_causal=True)
    return layers(lambda: sdpa_attention_forward(module, query, key, value, mask, scaling=WIDTH**-0.5)[0])


def padded(query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...]) -> Tensor:
    longest = max(lengths)

    def once() -> Tensor:
        q, k, v = (
            torch.cat([F.pad(part, (0, 0, 0, longest - part.shape[2])) for part in tensor.split(list(lengths), dim=2)])
            for tensor in (query, key, value)
        )
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=WIDTH**-0.5, enable_gqa=True)
        rows = [out[number : number + 1, :, :length] for number, length in enumerate(lengths)]
        return torch.cat(rows, dim=2).transpose(1, 2)

    return layers(once)


def layers(attend: Callable[[], Tensor]) -> Tensor:
    total = attend()
    for _ in range(LAYERS - 1):
        total = total + attend()
    return total


if __name__ == "__main__":
    main()
