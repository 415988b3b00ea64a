"""Whole training steps at the real widths with random weights: tokens a second, MFU, memory, waits for the device.

As many layers as fit with bf16 weights and float32 masters (18 bytes a parameter), up to MAX_LAYERS. Packs of 32,768
tokens, of few long and of many short documents; all but the first 30 tokens of each are targets. Rival: transformers
with the best attention it has there (flash_attention_2, else SDPA over a mask) and TRL's fused head, on the same
weights with the same optimiser, so that its loss must be ours (parity_ok: all losses of a case within 1%). Goals:
packed-exact MFU 45% or more, 1.2 times the rival.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_attention import cut, is_available
from benchmarks.gpu_place import Place
from benchmarks.output import Results
from benchmarks.train_step import Tokenizer
from lwexp.config import compose
from lwexp.extend import StepTotals
from lwexp.pack.dataset import PackBatch
from lwexp.train.model.build import build_model
from lwexp.train.model.dimensions import model_sizes
from lwexp.train.model.kernels import kernels_problem
from lwexp.train.model.logprobs import pack_logprobs
from lwexp.train.objectives.losses import sft_loss, sft_weights
from lwexp.train.parallel.optimizer import build_optimizer
from lwexp.train.planner.flops import peak_flops, step_flops

MAX_LAYERS = 12
ACTIVATION_GIB = 30.0
PROMPT = 30


def run_family(place: Place, name: str) -> Results:
    """Our choices of attention and kernels, and the rival, on both kinds of packs."""
    config = small(name) if place.quick else full(name)
    tokens = 512 if place.quick else 32_768
    variants: dict[str, dict[str, Any]] = {"ours": {}}
    variants |= {f"ours_{path}": {"attend": path} for path in ("varlen", "cudnn", "flash", "hybrid")
                 if is_available(path, place)}  # fmt: skip
    variants |= {f"ours_{kernels}": {"fuse": kernels} for kernels in ("compile", "liger")
                 if place.is_cuda and kernels_problem(kernels, "cuda") is None}  # fmt: skip
    variants["ours_offload"] = {"offload": True}
    if not place.is_cuda:  # nothing to offload from
        del variants["ours_offload"]
    results: Results = {}
    packs = {"few_long": 3, "many_short": 4 if place.quick else 96}
    for case, count in packs.items():
        drawn = [make_pack(cut(random.Random(n), tokens, count), config.model.shape.vocab_size, n) for n in range(4)]
        results[case] = {}
        for variant, options in variants.items():
            results[case][variant] = measure(
                place, config, [pack.to(place.device) for pack in drawn], our_step, options
            )
        if find_spec("trl"):
            results[case]["transformers_trl_head"] = measure(
                place, config, [pack.to(place.device) for pack in drawn], their_step, {"rival": True}
            )
        for numbers in results[case].values():
            gap = abs(numbers["loss"] / results[case]["ours"]["loss"] - 1.0)
            numbers["parity_ok"] = float(gap < (0.01 if place.is_cuda else 1e-4))
    return results


def full(name: str) -> Any:
    """Real widths, and layers for the memory there is."""
    config = compose(f"model={name}", "model.init=random", "hardware=gpu1")
    sizes = model_sizes(config.model)
    free = torch.cuda.get_device_properties(0).total_memory / 2**30 - ACTIVATION_GIB
    room = free * 2**30 - 18 * 2 * sizes.embedding_parameters
    layers = max(1, min(MAX_LAYERS, int(room / (18 * sizes.family.layer_parameters(sizes)))))
    shape = {"num_hidden_layers": layers, "vocab_size": sizes.vocab_size}
    return with_shape(config, shape)


def small(name: str) -> Any:
    """The same architecture, tiny."""
    config = compose("model=tiny_glm" if name == "glm4" else "model=tiny_llama", "hardware=cpu")
    return with_shape(config, {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 400})


def with_shape(config: Any, changes: dict[str, int]) -> Any:
    shape = config.model.shape.model_copy(update=changes)
    return config.model_copy(update={"model": config.model.model_copy(update={"shape": shape})})


def measure(
    place: Place, config: Any, packs: list[PackBatch], step: Callable[..., Any], options: dict[str, Any]
) -> dict[str, float]:
    """Median of two steps after two, each on documents of new lengths."""
    rival, offload = options.get("rival", False), options.get("offload", False)
    with torch.device(place.device):
        choices = {key: value for key, value in options.items() if key in ("attend", "fuse")}
        model: Any = build_model(config.model, Tokenizer(), seed=0, dtype=place.dtype, **choices)
    if rival:
        model.set_attn_implementation("flash_attention_2" if place.is_cuda and find_spec("flash_attn") else "sdpa")
        model.lm_head.__class__ = torch.nn.Linear
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(model, 1.0, outputs=("log_probs",))
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False}, offload=offload)
    optimizer = build_optimizer(model, config.objective.optimizer)
    losses: list[Any] = []

    def once(number: int) -> None:
        losses.append(step(model, packs[number % len(packs)]))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad()

    once(0)
    waits = count_waits(place, lambda: once(1))
    peak = place.peak_mib(lambda: once(2)) + (torch.cuda.memory_allocated() / 2**20 if place.is_cuda else 0.0)
    seconds = place.time(once, 2)
    totals = totals_of(packs[1])
    flops = step_flops(model_sizes(config.model), totals)
    device_peak = peak_flops(place.name) or float("nan")
    numbers = {
        "tokens_per_second": totals.tokens / seconds, "peak_mib": peak, "waits": waits, "loss": float(losses[-1]),
        "layers": float(config.model.shape.num_hidden_layers),
    }  # fmt: skip
    if place.is_cuda:
        numbers |= {
            "mfu_packed": flops.packed / seconds / device_peak,
            "mfu_noncausal": flops.noncausal / seconds / device_peak,
        }
    return numbers


def our_step(model: Any, pack: PackBatch) -> Any:
    """Forward and backward as PackedTraining does them."""
    weights = sft_weights(pack.target_documents, len(pack.lengths), totals_of(pack), "token")
    loss = sft_loss(pack_logprobs(model, pack), weights)
    loss.backward()
    return loss.detach()


def their_step(model: Any, pack: PackBatch) -> Any:
    """The same pack through the model's own forward with TRL's head; boundaries as TRL's collator gives them."""
    labels = torch.full_like(pack.input_ids, -100)
    labels[0, pack.source_positions + 1] = pack.target_ids
    bounds = {"cu_seq_lens_q": pack.cu_seqlens, "cu_seq_lens_k": pack.cu_seqlens,
              "max_length_q": pack.max_length, "max_length_k": pack.max_length}  # fmt: skip
    loss = model(input_ids=pack.input_ids, position_ids=pack.position_ids, labels=labels, use_cache=False,
                 fused_lm_head=True, **bounds).loss  # fmt: skip
    loss.backward()
    return loss.detach()


def count_waits(place: Place, step: Callable[[], None]) -> float:
    """How often the host waited for the device in a step, as torch counts it; 0 where there is no device."""
    if not place.is_cuda:
        step()
        return 0.0
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return float(sum("synchroniz" in str(warning.message) for warning in seen))


def totals_of(pack: PackBatch) -> StepTotals:
    tokens = sum(pack.lengths)
    squares = sum(length**2 for length in pack.lengths)
    return StepTotals(packs=1, documents=len(pack.lengths), target_tokens=len(pack.target_ids), tokens=tokens,
                      document_squares=squares, pack_squares=tokens**2)  # fmt: skip


def make_pack(lengths: tuple[int, ...], words: int, number: int) -> PackBatch:
    """Random words in documents of the given lengths."""
    starts = np.cumsum([0, *lengths])
    ids = torch.randint(0, words, (sum(lengths),), generator=torch.Generator().manual_seed(number))
    places = [torch.arange(s + min(PROMPT, n - 1), s + n) for s, n in zip(starts, lengths, strict=False)]
    targets = torch.cat(places)
    return PackBatch(
        input_ids=ids[None], position_ids=torch.cat([torch.arange(n) for n in lengths])[None],
        cu_seqlens=torch.tensor(starts, dtype=torch.int32), max_length=max(lengths), lengths=lengths,
        source_positions=targets - 1, target_ids=ids[targets],
        target_documents=torch.cat([torch.full_like(place, i) for i, place in enumerate(places)]),
        document_ids=tuple(range(len(lengths))), pack_id=number, labels=torch.zeros(len(lengths), 0),
    )  # fmt: skip
