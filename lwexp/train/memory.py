"""Memory that a training run will take, term by term, from sizes alone. No torch, no device.

Formulas: N parameters, W ranks, T tokens of a pack, h hidden, I intermediate, V words, L layers, b bytes a number.
They are estimates (about 10%); fragmentation is in the term "runtime".
"""

from __future__ import annotations

from typing import NamedTuple

from lwexp.config.train import CPU, GPU, Hardware, Zero
from lwexp.train.shapes import Sizes

GIB = 2**30
LOGIT_CHUNK = 0.5 * GIB
"""``logprobs.CHUNK_BYTES``: what the op holds of the logits."""


class Term(NamedTuple):
    """One line of the plan."""

    name: str
    bytes: float
    formula: str


class MemoryPlan(NamedTuple):
    """What one device holds, and what the host holds for all ranks of a node."""

    device: tuple[Term, ...]
    host: tuple[Term, ...]
    parameters: int

    @property
    def device_gib(self) -> float:
        """Sum over the device's terms."""
        return sum(term.bytes for term in self.device) / GIB

    @property
    def host_gib(self) -> float:
        """Sum over the host's terms."""
        return sum(term.bytes for term in self.host) / GIB


def plan_memory(sizes: Sizes, hardware: Hardware, tokens: int) -> MemoryPlan:
    """Memory for training with packs of ``tokens`` tokens.

    On ``hardware=cpu`` the "device" is the host's memory.
    """
    states, host = _states(sizes, hardware)
    terms = (*states, *_activations(sizes, hardware, tokens), *_logits(sizes, hardware, tokens), _runtime(hardware))
    return MemoryPlan(terms, host, sizes.parameters)


def _states(sizes: Sizes, hardware: Hardware) -> tuple[tuple[Term, ...], tuple[Term, ...]]:
    n = sizes.parameters
    if isinstance(hardware, Zero):
        return _sharded_states(sizes, hardware)
    if isinstance(hardware, CPU) or hardware.precision == "32-true":
        terms = (Term("parameters", 4 * n, "4N"), Term("gradients", 4 * n, "4N"), Term("optimiser", 8 * n, "8N"))
        return terms, ()
    return (
        Term("parameters", 2 * n, "2N"),
        Term("gradients", 2 * n, "2N"),
        Term("optimiser", 12 * n, "12N: float32 master, two moments"),
        Term("optimiser step", 12 * sizes.embedding_parameters, "12Vh: float32 copies of one weight"),
    ), ()


def _sharded_states(sizes: Sizes, hardware: Zero) -> tuple[tuple[Term, ...], tuple[Term, ...]]:
    n, ranks = sizes.parameters, hardware.ranks
    here, host = [], []
    parameters = Term("parameters", 2 * n / ranks, "2N/W")
    optimiser = Term("optimiser", 12 * n / ranks, "12N/W: float32 master, two moments")
    if hardware.offload_parameters:
        host.append(Term("parameters", 2 * n / hardware.num_nodes, "2N/nodes"))
    else:
        here.append(parameters)
    if hardware.offload_optimizer:
        here.append(Term("gradients", 2 * n / ranks, "2N/W: on their way to the host"))
        host.append(Term("optimiser", 16 * n / hardware.num_nodes, "16N/nodes: states and float32 gradients"))
    else:
        here.append(Term("gradients", 4 * n / ranks, "4N/W: summed in float32"))
        here += [optimiser, Term("optimiser step", 4 * n / ranks, "4N/W: flattened gradients")]
    live = min(n, 1.1e9) + sizes.embedding_parameters
    here.append(Term("gathered weights", 2 * live, "2*(live and prefetched 1.1e9 + Vh)"))
    here.append(Term("reduce buckets", 2 * 2 * 2e8 + 4 * 2e8, "(2*2+4)*2e8"))
    return tuple(here), tuple(host)


def _activations(sizes: Sizes, hardware: Hardware, tokens: int) -> tuple[Term, ...]:
    """Kept layer inputs and the working set of one layer, or all layers' working sets without recomputation."""
    width = 4 if isinstance(hardware, CPU) or hardware.precision == "32-true" else 2
    # 14 tensors of width h (norms, residuals, q, k, v and their rotations, outputs) and 7 of width I.
    layer = tokens * width * (14 * sizes.hidden_size + 7 * sizes.intermediate_size)
    layers = sizes.num_hidden_layers
    if isinstance(hardware, CPU) or not hardware.activation_checkpointing:
        return (Term("activations", layers * layer, f"L*T*{width}*(14h + 7I)"),)
    kept = layers * tokens * sizes.hidden_size * width
    return (
        Term("layer inputs", kept, f"L*T*h*{width}"),
        Term("one layer", layer, f"T*{width}*(14h + 7I)"),
    )


def _logits(sizes: Sizes, hardware: Hardware, tokens: int) -> tuple[Term, ...]:
    full = 4.0 * tokens * sizes.vocab_size
    width = 4 if isinstance(hardware, CPU) or hardware.precision == "32-true" else 2
    held = 2 * min(full, LOGIT_CHUNK) + 2 * width * tokens * sizes.hidden_size + 4 * sizes.embedding_parameters
    return (Term("log-probs", held, "2 chunks of logits + rows and their gradients + 4Vh head gradient"),)


def _runtime(hardware: Hardware) -> Term:
    if isinstance(hardware, CPU):
        return Term("runtime", 0.7 * GIB, "python, torch, transformers, lightning")
    return Term("runtime", 3 * GIB, "CUDA context, collectives, fragmentation")


def memory_table(plan: MemoryPlan, hardware: Hardware) -> str:
    """The plan as text, one line a term."""
    where = {"cpu": "host memory", "gpu": "GPU", "zero": "each GPU"}[hardware.kind]
    size = f"{plan.parameters / 1e9:.2f}B" if plan.parameters >= 1e8 else f"{plan.parameters / 1e6:.2f}M"
    lines = [f"memory for {size} parameters, {where}:"]
    lines += [f"  {term.name:<18}{term.bytes / GIB:>9.2f} GiB   {term.formula}" for term in plan.device]
    lines.append(f"  {'sum':<18}{plan.device_gib:>9.2f} GiB")
    if plan.host:
        lines.append("host memory of each node:")
        lines += [f"  {term.name:<18}{term.bytes / GIB:>9.2f} GiB   {term.formula}" for term in plan.host]
        lines.append(f"  {'sum':<18}{plan.host_gib:>9.2f} GiB")
    return "\n".join(lines)


def is_recomputing(hardware: Hardware) -> bool:
    """Whether activations are recomputed in the backward pass."""
    return isinstance(hardware, GPU | Zero) and hardware.activation_checkpointing
