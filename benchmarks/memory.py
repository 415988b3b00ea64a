"""The planner's activation terms beside the memory in use at the peak of lwexp's forward and backward on fake tensors.

    python -m benchmarks.memory            both models, 8k to 128k tokens, bf16; and the peak RSS of CPU runs
    python -m benchmarks.memory --quick    one layer of each, 32k tokens

Fake tensors have shapes and no memory, so full-size models run on any machine. Every storage that an operation
makes is added up until it is freed; weights and their gradients are left out.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import weakref
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.output import Results, show
from lwexp.config import compose
from lwexp.config.presets import hardware_preset
from lwexp.pack.dataset import PackBatch
from lwexp.train.model.build import build_model
from lwexp.train.model.dimensions import model_sizes
from lwexp.train.model.logprobs import pack_logprobs
from lwexp.train.planner.memory import GIB, plan_memory

DOCUMENTS = 8


class Alive(TorchDispatchMode):
    """Bytes of all storages created inside it: the current sum and its peak."""

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage()._cdata not in self._seen:
                self._note(leaf.untyped_storage())
        return out

    def _note(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


class Tokenizer:
    """The attributes of a tokenizer that a model's config reads."""

    pad_token_id, bos_token_id, eos_token_id = 0, None, 1

    def __len__(self) -> int:
        return 300


def counted_gib(model: str, tokens: int, *overrides: str) -> float:
    """Peak of a forward and backward pass with recomputation, without weights and their gradients."""
    config = compose(f"model={model}", "model.init=random", "model.tokenizer=train", *overrides)
    with FakeTensorMode(allow_non_fake_inputs=True):
        made: Any = build_model(config.model, Tokenizer(), seed=0, dtype=torch.bfloat16)
        made.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        for parameter in made.parameters():
            parameter.grad = torch.empty_like(parameter)
        each = tokens // DOCUMENTS
        targets = torch.zeros(tokens - DOCUMENTS, dtype=torch.int64)
        batch = PackBatch(
            input_ids=torch.zeros(1, tokens, dtype=torch.int64),
            position_ids=torch.zeros(1, tokens, dtype=torch.int64),
            lengths=(each,) * DOCUMENTS,
            cu_seqlens=torch.zeros(DOCUMENTS + 1, dtype=torch.int32),
            max_length=each,
            source_positions=targets,
            target_ids=targets,
            target_documents=targets,
            document_ids=tuple(range(DOCUMENTS)),
            pack_id=0,
            labels=torch.zeros(DOCUMENTS, 0),
        )
        gradients = [parameter.grad for parameter in made.parameters() if parameter.grad is not None]
        with Alive([*made.parameters(), *made.buffers(), *gradients]) as alive:
            pack_logprobs(made, batch).sum().backward()
        return float(alive.peak / GIB)


def planned_gib(model: str, tokens: int, *overrides: str) -> float:
    """The planner's terms for the same: layer inputs, and the larger of a layer and the head."""
    config = compose(f"model={model}", "model.init=random", "model.tokenizer=train", *overrides)
    plan = plan_memory(model_sizes(config.model), hardware_preset("gpu1"), tokens)
    terms = {term.name: term.bytes / GIB for term in plan.device}
    return terms["layer inputs"] + max(terms["one layer"], terms["log-probs"])


# Float32 on the CPU: width, layers; about 50M and 160M parameters.
RSS_CASES = {"50m": (512, 12), "160m": (1024, 10)}


def shape_of(name: str) -> list[str]:
    """Overrides for a Llama of one of the sizes above."""
    width, layers = RSS_CASES[name]
    return [
        f"model.shape.hidden_size={width}", f"model.shape.intermediate_size={width * 3}",
        f"model.shape.num_hidden_layers={layers}", f"model.shape.num_attention_heads={width // 64}",
        f"model.shape.num_key_value_heads={width // 128}", "model.shape.head_dim=64", "model.shape.vocab_size=16000",
        "model.tie_word_embeddings=false",
    ]  # fmt: skip


def train_two_steps(name: str, tokens: int) -> float:
    """Peak RSS, in GiB, of two real optimiser steps in this process."""
    config = compose("model=tiny_llama", *shape_of(name))
    model = build_model(config.model, Tokenizer(), seed=0, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    each = tokens // DOCUMENTS
    targets = torch.arange(1, tokens - DOCUMENTS + 1)
    batch = PackBatch(
        input_ids=torch.randint(0, 16_000, (1, tokens)),
        position_ids=torch.arange(each).repeat(DOCUMENTS)[None],
        lengths=(each,) * DOCUMENTS,
        cu_seqlens=torch.arange(0, tokens + 1, each, dtype=torch.int32),
        max_length=each,
        source_positions=targets - 1,
        target_ids=torch.randint(0, 16_000, (tokens - DOCUMENTS,)),
        target_documents=targets,
        document_ids=tuple(range(DOCUMENTS)),
        pack_id=0,
        labels=torch.zeros(DOCUMENTS, 0),
    )
    for _ in range(2):
        (-pack_logprobs(model, batch).mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def compare_rss(name: str, tokens: int) -> dict[str, float]:
    """Planned and measured peak of a CPU run, the measured one in a process of its own."""
    code = f"from benchmarks.memory import train_two_steps; print(train_two_steps({name!r}, {tokens}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    sizes = model_sizes(compose("model=tiny_llama", *shape_of(name)).model)
    planned = plan_memory(sizes, hardware_preset("cpu"), tokens).device_gib
    return {"planned_gib": planned, "measured_gib": float(done.stdout)}


def main(quick: bool) -> None:
    """Print the tables and the JSON line."""
    lengths = (32_768,) if quick else (8192, 32_768, 131_072)
    overrides = ("model.shape.num_hidden_layers=1",) if quick else ()
    results: Results = {}
    for model in ("glm4", "llama31"):
        for tokens in lengths:
            planned, counted = planned_gib(model, tokens, *overrides), counted_gib(model, tokens, *overrides)
            results[f"activations_{model}_{tokens}"] = {
                "ours": {"planned_gib": planned, "counted_gib": counted, "ratio": planned / counted}
            }
    for name, tokens in () if quick else (("50m", 4096), ("160m", 4096), ("160m", 8192)):
        found = compare_rss(name, tokens)
        results[f"rss_{name}_{tokens}"] = {"ours": {**found, "ratio": found["planned_gib"] / found["measured_gib"]}}
    show("memory", results, ("torch", "transformers"))


if __name__ == "__main__":
    main("--quick" in sys.argv[1:])
