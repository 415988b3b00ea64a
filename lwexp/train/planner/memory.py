"""Memory that a training run needs, term by term, from sizes alone. Needs no torch, device or weights.

Letters: N parameters, A trained parameters (all of N, or a LoRA adapter's), Q parameters in 4 bits, W ranks, r the
share of the optimiser in host memory, b bytes per weight, T tokens per pack, h hidden size, I intermediate size, q and
k the widths of all query and all key heads, V vocabulary size, L layers.

Peak = always-resident terms + max(backward, update); the backward includes max(one layer, head). The activation terms
were fitted to measurements: ``python -m benchmarks.memory`` runs the forward and backward passes on fake tensors of
full size, and prints what was alive at the peak beside these formulas.
"""

import math
from typing import Literal, NamedTuple

from lwexp.config.train import Hardware, Zero
from lwexp.extend import Sizes
from lwexp.train.model.dimensions import SHARD_BYTES

GIB = 2**30
TIGHT = 0.95
"""A plan above this share of the memory is called tight, because the formulas are accurate only to about 10%."""
NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8
"""Bytes per weight in 4 bits: a scale of 8 bits for 64 weights, and one of 32 bits for 256 of these scales: 4.127 bits.
Source: QLoRA (arXiv 2305.14314), section 3, double quantization."""
LOGIT_CHUNK = 0.5 * GIB
"""Equal to ``logprobs.CHUNK_BYTES``, the upper limit on the float32 logits held at once."""

# The settings that ``strategy.zero_config`` gives to DeepSpeed.
LIVE_PARAMETERS = 1.0e9
PREFETCHED_PARAMETERS = 1.0e8
REDUCE_BUCKET = 2.0e8
SUB_GROUP = 1.0e9

CPU_RUNTIME = 0.7 * GIB
GPU_RUNTIME = 3.0 * GIB
HOST_RUNTIME = 3.0 * GIB

When = Literal["always", "pass", "layer", "head", "update", "export"]


class Term(NamedTuple):
    """One line of the plan."""

    name: str
    bytes: float
    formula: str
    when: When = "always"


class MemoryPlan(NamedTuple):
    """Memory of one device, and of the host for all ranks of a node."""

    device: tuple[Term, ...]
    host: tuple[Term, ...]
    parameters: int
    trained: int

    @property
    def device_gib(self) -> float:
        """Peak of one device."""
        backward = self._sum("pass") + max(self._sum("layer"), self._sum("head"))
        return (self._sum("always") + max(backward, self._sum("update"), self._sum("export"))) / GIB

    @property
    def host_gib(self) -> float:
        return sum(term.bytes for term in self.host) / GIB

    def _sum(self, when: When) -> float:
        return sum(term.bytes for term in self.device if term.when == when)


def plan_memory(sizes: Sizes, hardware: Hardware, tokens: int) -> MemoryPlan:
    """Memory for training with packs of ``tokens`` tokens.

    On a CPU, "device" memory is the memory of one process. DPO needs as much as SFT on the same pack: its reference
    log-probs are computed before training starts, and both answers of a pair are in one pack.
    """
    states, host = _states(sizes, hardware)
    inputs, host_inputs = _layer_inputs(sizes, hardware, tokens)
    device = (*states, *inputs, _one_layer(sizes, hardware, tokens), _head(sizes, hardware, tokens), _runtime(hardware))
    return MemoryPlan(device, (*host, *host_inputs), sizes.parameters, sizes.trained_parameters)


def _states(sizes: Sizes, hardware: Hardware) -> tuple[tuple[Term, ...], tuple[Term, ...]]:
    a = sizes.trained_parameters
    if isinstance(hardware, Zero):
        return _zero_states(sizes, hardware), _host_states(sizes, hardware)
    weights, host = _whole_weights(sizes, hardware), _export_on_host(sizes, hardware)
    if hardware.number_bytes == 4:
        return (*weights, Term("gradients", 4 * a, "4A"), Term("optimiser", 8 * a, "8A")), host
    each, what = (12, "two moments") if hardware.moments == "float32" else (8, "two bf16 moments")
    copies = 12 if hardware.moments == "float32" else 14
    return (
        *weights,
        Term("gradients", 2 * a, "2A"),
        Term("optimiser", each * a, f"{each}A: float32 master, {what}"),
        Term("one weight", copies * min(a, sizes.embedding_parameters), f"{copies}Vh: its float32 copies", "update"),
    ), host


def _whole_weights(sizes: Sizes, hardware: Hardware) -> tuple[Term, ...]:
    """The weights of one process. A matrix in 4 bits is written out in full whenever it is multiplied."""
    n, q, b = sizes.parameters, sizes.quantized_parameters, hardware.number_bytes
    if q == 0:
        return (Term("parameters", b * n, f"{b}N"),)
    largest = max(rows * columns for rows, columns in sizes.family.matrix_shapes(sizes).values())
    here = (
        Term("parameters", b * (n - q) + NF4_BYTES * q, f"{b}(N-Q) + {NF4_BYTES:.3f}Q: the layers' matrices in 4 bits"),
        Term("one matrix", b * largest, f"{b} bytes per weight: the largest matrix, written out", "layer"),
    )
    return (*here, _merged(sizes, hardware)._replace(when="export")) if hardware.device == "cpu" else here


def _export_on_host(sizes: Sizes, hardware: Hardware) -> tuple[Term, ...]:
    if sizes.quantized_parameters == 0 or hardware.device == "cpu":
        return ()
    return (Term("processes", HOST_RUNTIME, "3 GiB a rank: python, torch, CUDA"), _merged(sizes, hardware))


def _merged(sizes: Sizes, hardware: Hardware) -> Term:
    """The model is loaded again for the export, in full, and its matrices are merged for one file after another."""
    n, q, b = sizes.parameters, sizes.quantized_parameters, hardware.number_bytes
    file = min(b * q, SHARD_BYTES)
    return Term("export", b * n + file, f"{b}N + min({b}Q, 5e9): its own weights, and a file of merged ones")


def _zero_states(sizes: Sizes, hardware: Zero) -> tuple[Term, ...]:
    """Gradients and optimiser in W parts, in stage 3 the weights too. ``_host_states`` counts what is offloaded."""
    n, a, w, b = sizes.parameters, sizes.trained_parameters, hardware.ranks, hardware.number_bytes
    r, has_weight_parts = hardware.offload_optimizer, hardware.stage == 3
    here = []
    if not has_weight_parts:
        here.append(Term("parameters", b * n, f"{b}N: whole on each rank"))
    elif not hardware.offload_parameters:
        here.append(Term("parameters", b * n / w, f"{b}N/W"))
    # In stage 3, float32 weights need no separate master copy.
    each, what = (8, "two moments") if has_weight_parts and b == 4 and r == 0 else (12, "float32 master, two moments")
    if r < 1:
        kept, why = ("", "summed in float32") if r == 0 else ("(1-r)", "of the optimiser's part here")
        here += [
            Term("gradients", 4 * a * (1 - r) / w, f"4A{kept}/W: {why}"),
            Term("optimiser", each * a * (1 - r) / w, f"{each}A{kept}/W: {what}"),
        ]
        largest, formula = (SUB_GROUP, "4 min(A/W, 1e9)") if has_weight_parts else (math.inf, "4A/W")
        here.append(Term("update", 4 * min(a / w, largest), f"{formula}: gradients, flattened", "update"))
    # A single rank has whole weights and gathers none, unless they are on the host.
    if has_weight_parts and (w > 1 or hardware.offload_parameters):
        live = min(n, LIVE_PARAMETERS + PREFETCHED_PARAMETERS + sizes.embedding_parameters)
        here.append(Term("gathered weights", b * live, f"{b} min(N, 1.1e9 + Vh): live and prefetched", "pass"))
    here.append(Term("reduce buckets", (2 * b + 4) * REDUCE_BUCKET, f"({2 * b} + 4) * 2e8", "pass"))
    return tuple(here)


def _host_states(sizes: Sizes, hardware: Zero) -> tuple[Term, ...]:
    """Host memory of one node.

    If r > 0, DeepSpeed keeps all gradients on the host, whatever the value of r, and may pin them. torch allocates
    pinned memory in powers of two (pytorch#150517): 35 GiB of gradients of GLM-4 on one rank take 64 GiB.
    Source: deepspeed 0.19.8 runtime/zero/stage3.py: grad_partitions_flat_buffer, initialize_optimizer_states.
    """
    if hardware.accelerator == "cpu":
        return ()
    n, a, w, r = sizes.parameters, sizes.trained_parameters, hardware.ranks, hardware.offload_optimizer
    here = hardware.devices
    terms = [Term("processes", here * HOST_RUNTIME, "3 GiB a rank: python, torch, CUDA")]
    if hardware.offload_parameters:
        terms.append(Term("parameters", here * _pinned(2 * n / w, hardware), "2N/W a rank"))
    if r > 0:
        share = r * a / w
        groups = math.ceil(share / SUB_GROUP)
        pinned = "pinned: next power of 2" if hardware.pin_memory else "not pinned"
        terms += [
            Term("optimiser", here * 12 * share, "12Ar/W a rank: float32 master, two moments"),
            Term("gradients", here * _pinned(4 * a / w, hardware), f"4A/W a rank, {pinned}"),
            Term(
                "gradients to update",
                here * groups * _pinned(4 * share / max(groups, 1), hardware),
                f"4Ar/W a rank in {groups} groups, {pinned}",
            ),
        ]
    return tuple(terms)


def _pinned(size: float, hardware: Zero) -> float:
    return 2.0 ** math.ceil(math.log2(size)) if hardware.pin_memory and size > 0 else size


def _layer_inputs(sizes: Sizes, hardware: Hardware, tokens: int) -> tuple[tuple[Term, ...], tuple[Term, ...]]:
    """What the forward pass keeps for the backward pass: layer inputs, or all activations if not recomputed."""
    b, layers, h = hardware.number_bytes, sizes.num_hidden_layers, sizes.hidden_size
    if not hardware.activation_checkpointing:
        norms = 6 if b == 4 else 8  # two RMSNorms and their residuals; norms in bf16 also keep float32 copies
        widths = norms * h + 4 * sizes.intermediate_size + 3 * sizes.query_width + 2 * sizes.key_width
        return (Term("activations", layers * tokens * b * widths, f"L*T*{b}*({norms}h + 4I + 3q + 2k)", "pass"),), ()
    kept = layers * tokens * h * b
    if hardware.activation_offload:
        here = hardware.devices
        return (
            (Term("layer inputs", 3 * tokens * h * b, f"3*T*h*{b}: being copied", "pass"),),
            (Term("layer inputs", here * kept, f"L*T*h*{b} a rank"),),
        )
    return (Term("layer inputs", kept, f"L*T*h*{b}", "pass"),), ()


def _one_layer(sizes: Sizes, hardware: Hardware, tokens: int) -> Term:
    """Peak inside the backward pass of one layer, beyond what the forward pass has kept."""
    b, h, i = hardware.number_bytes, sizes.hidden_size, sizes.intermediate_size
    if not hardware.activation_checkpointing:
        widths, formula = (12 * h, "12h") if b == 2 else (2 * i + h, "2I + h")
        return Term("one layer", tokens * b * widths, f"T*{b}*({formula})", "layer")
    norms = 6 if b == 4 else 9
    widths = norms * h + 6 * i + 3 * sizes.query_width + 2 * sizes.key_width
    return Term("one layer", tokens * b * widths, f"T*{b}*({norms}h + 6I + 3q + 2k)", "layer")


def _head(sizes: Sizes, hardware: Hardware, tokens: int) -> Term:
    """Peak of the log-prob operation: a tile of logits, their gradients, the head's gradient, and the rows it reads."""
    b, rows = hardware.number_bytes, 4 if hardware.number_bytes == 4 else 6
    tiles = 2 * min(4.0 * tokens * sizes.vocab_size, LOGIT_CHUNK)
    gradient = 0 if sizes.adapter_parameters else b * sizes.embedding_parameters
    formula = f"2C + {rows}*T*h*{b}" if sizes.adapter_parameters else f"2C + {b}Vh + {rows}*T*h*{b}"
    return Term("log-probs", tiles + gradient + rows * tokens * sizes.hidden_size * b, formula, "head")


def _runtime(hardware: Hardware) -> Term:
    if hardware.device == "cpu":
        return Term("runtime", CPU_RUNTIME, "python, torch, transformers, lightning")
    return Term("runtime", GPU_RUNTIME, "allowance: CUDA context, collectives, fragmentation")
