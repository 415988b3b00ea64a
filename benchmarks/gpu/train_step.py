"""Whole training steps at the real widths with random weights: tokens per second, MFU, memory, waits for the device.

The models have at most MAX_LAYERS layers, with bf16 weights and float32 masters (18 bytes per parameter); MFU hardly
depends on the number of layers. A pack has 32,768 tokens in three documents; all but the first 30 tokens of each are
targets. Rivals run on the same weights with the same optimiser, so their loss must equal ours (parity_ok: within 1%).
Goals: packed-exact MFU 45% or more, 1.2 times the best rival.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any, cast

import torch

from benchmarks.gpu.attention import cut, is_available
from benchmarks.gpu.cases import Case, Numbers
from benchmarks.gpu.models import checkpoint_activations, make_model, make_pack, model_config, our_loss, totals_of
from benchmarks.gpu.place import Place
from lwexp.pack.dataset import PackBatch
from lwexp.train.model.attention import best_path
from lwexp.train.model.attention_paths import PATHS
from lwexp.train.model.dimensions import model_sizes
from lwexp.train.model.kernels import kernels_problem
from lwexp.train.parallel.optimizer import build_optimizer
from lwexp.train.planner.flops import peak_flops, step_flops

MAX_LAYERS = 4
DOCUMENTS = 3
TOKENS = 32_768
MODELS = ("glm4", "llama31")


def cases(place: Place, earlier: Mapping[str, Numbers]) -> list[Case]:
    """Ours on both models first; then lwexp's other settings and the rivals that are installed on this machine."""
    ours = best_path(place.device.type, place.dtype)  # what auto chooses, so it is measured once
    choices: dict[str, dict[str, str]] = {}
    rivals = ["transformers", *(["trl"] if find_spec("trl") else [])]
    if place.is_cuda:
        fused = [name for name in ("liger", "compile") if kernels_problem(cast("Any", name), "cuda") is None]
        paths = [name for name in PATHS if name not in (ours, "per_document") and is_available(name, place)]
        choices = {name: {"fuse": name} for name in fused} | {name: {"attend": name} for name in paths}
        rivals += ["liger_kernel"] if find_spec("liger_kernel") else []
    found = [Case("ours", f"train/{model}/ours", partial(measure, place, model, {})) for model in MODELS]
    for model in MODELS:
        against = partial(compare, earlier, f"train/{model}/ours", place)
        found += [
            Case("rivals", f"train/{model}/ours_{name}", partial(against, partial(measure, place, model, options)))
            for name, options in choices.items()
        ]
        found += [
            Case("rivals", f"train/{model}/rival_{name}", partial(against, partial(measure, place, model, {}, name)))
            for name in rivals
        ]
    return found


def compare(earlier: Mapping[str, Numbers], name: str, place: Place, run: Callable[[], Numbers]) -> Numbers:
    """Numbers of a rival, with its loss and its speed compared with ours. A rival may run out of memory."""
    try:
        numbers = run()
    except torch.OutOfMemoryError:
        return {"does_not_fit": True}
    if "loss" not in (ours := earlier.get(name, {})):
        return numbers
    gap = abs(numbers["loss"] / ours["loss"] - 1.0)
    rate = ours["tokens_per_second"] / numbers["tokens_per_second"]
    return {
        **numbers,
        "loss_gap": gap,
        "parity_ok": float(gap < (0.01 if place.is_cuda else 1e-4)),
        "ours_over_it": rate,
    }


def measure(place: Place, name: str, choices: dict[str, Any], rival: str | None = None) -> Numbers:
    """Median of two steps after three warm-up steps, each on documents of new lengths."""
    layers = MAX_LAYERS if place.quick else layers_that_fit(place, name)
    config = model_config(place, name, {"num_hidden_layers": layers})
    tokens, words = 512 if place.quick else TOKENS, model_sizes(config.model).vocab_size
    packs = [make_pack(cut(random.Random(n), tokens, DOCUMENTS), words, n).to(place.device) for n in range(4)]
    model = make_model(place, config, **choices)
    step = our_step if rival is None else prepare_rival(place, model, rival)
    checkpoint_activations(model)
    optimizer = build_optimizer(model, config.objective.optimizer)
    losses: list[torch.Tensor] = []

    def once(number: int) -> None:
        losses.append(step(model, packs[number % len(packs)]))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad()

    once(0)
    waits = count_waits(place, lambda: once(1))
    peak = place.peak_mib(lambda: once(2)) + (torch.cuda.memory_allocated() / 2**20 if place.is_cuda else 0.0)
    seconds = place.time(once, 2)
    totals, sizes = totals_of(packs[1]), model_sizes(config.model)
    numbers = {"tokens_per_second": totals.tokens / seconds, "loss": float(losses[-1]), "waits": waits,
               "layers": sizes.num_hidden_layers}  # fmt: skip
    if not place.is_cuda:
        return numbers
    flops, device_peak = step_flops(sizes, totals), peak_flops(place.name) or float("nan")
    mfu = {"mfu_packed": flops.packed / seconds / device_peak, "mfu_noncausal": flops.noncausal / seconds / device_peak}
    return {**numbers, "peak_mib": peak, **mfu}


def layers_that_fit(place: Place, name: str, activation_gib: float = 30.0) -> int:
    """Layers that fit into memory, at most MAX_LAYERS: 18 bytes per parameter, plus the activations."""
    sizes = model_sizes(model_config(place, name, {}).model)
    free = torch.cuda.get_device_properties(0).total_memory - activation_gib * 2**30
    room = free - 18 * 2 * sizes.embedding_parameters
    return max(1, min(MAX_LAYERS, int(room / (18 * sizes.family.layer_parameters(sizes)))))


def our_step(model: Any, pack: PackBatch) -> torch.Tensor:
    """Forward and backward."""
    loss = our_loss(model, pack)
    loss.backward()
    return loss.detach()


def prepare_rival(place: Place, model: Any, rival: str) -> Callable[[Any, PackBatch], torch.Tensor]:
    """Give the model transformers' best attention here and its own head, or that of TRL or Liger."""
    model.set_attn_implementation("flash_attention_2" if place.is_cuda and find_spec("flash_attn") else "sdpa")
    model.lm_head.__class__ = torch.nn.Linear
    if rival == "trl":
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(model, 1.0, outputs=("log_probs",))
        return partial(_their_step, options={"fused_lm_head": True})
    return _liger_step if rival == "liger_kernel" else partial(_their_step, options={})


def _their_step(model: Any, pack: PackBatch, options: dict[str, Any]) -> torch.Tensor:
    """The same pack through the model's own forward pass, with document boundaries as TRL's collator gives them."""
    loss = model(input_ids=pack.input_ids, labels=_labels(pack), **_boundaries(pack), **options).loss
    loss.backward()
    return cast("torch.Tensor", loss.detach())


def _liger_step(model: Any, pack: PackBatch) -> torch.Tensor:
    """transformers' layers under Liger's fused linear cross-entropy, which its own patching lacks for GLM."""
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    hidden = model.model(input_ids=pack.input_ids, **_boundaries(pack)).last_hidden_state[0, pack.source_positions]
    loss = LigerFusedLinearCrossEntropyLoss(accum_dtype=torch.float32)(model.lm_head.weight, hidden, pack.target_ids)
    loss.backward()
    return cast("torch.Tensor", loss.detach())


def _labels(pack: PackBatch) -> torch.Tensor:
    labels = torch.full_like(pack.input_ids, -100)
    labels[0, pack.source_positions + 1] = pack.target_ids
    return labels


def _boundaries(pack: PackBatch) -> dict[str, Any]:
    return {"position_ids": pack.position_ids, "use_cache": False,
            "cu_seq_lens_q": pack.cu_seqlens, "cu_seq_lens_k": pack.cu_seqlens,
            "max_length_q": pack.max_length, "max_length_k": pack.max_length}  # fmt: skip


def count_waits(place: Place, step: Callable[[], None]) -> float:
    """How often the host waited for the device in a step, by torch's count; 0 on a CPU."""
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
