"""The plan that ``dry_run=true`` prints: tokens, packs, steps, hours, memory. Needs no weights and no device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lwexp.config.schema import Config
from lwexp.config.train import Hardware, Zero
from lwexp.extend import Objective, Sizes
from lwexp.records import LwexpError
from lwexp.text.plain import plural
from lwexp.train.model.context import context_changes
from lwexp.train.model.dimensions import model_sizes, size_surprise
from lwexp.train.planner.flops import Hours, rank_slots, training_hours
from lwexp.train.planner.hardware import hardware_of
from lwexp.train.planner.memory import GIB
from lwexp.train.planner.memory_fit import (
    MemoryFit,
    check_fit,
    check_presets,
    fit_table,
    max_forward_tokens,
    preset_name,
    refusal,
    what_helps,
)  # fmt: skip
from lwexp.train.planner.readiness import problems_here, settings_problems
from lwexp.train.planner.storage import (
    PAGEABLE_BYTES_PER_SECOND,
    PINNED_BYTES_PER_SECOND,
    STORAGE_BYTES_PER_SECOND,
    DiskSpace,
    copying_hours,
    disk_line,
    disk_space,
    saving_hours,
)  # fmt: skip

FEW_STEPS = 10

# Tokens that the chat format adds to a document, and tokens per English word or Chinese character. Both are for
# vocabularies of more than 100,000 entries; the 1,000 entries of a miniature give about twice as many tokens.
FORMAT_TOKENS = 10
TOKENS_PER_WORD = 1.33
REFERENCE_LINE = (
    "reference: computed by all ranks before the first step with the model that is then trained; no extra memory"
)


class Description(NamedTuple):
    """A plan as text, and why the run would be refused."""

    text: str
    refusal: str | None
    """One line saying why the run would be refused on the hardware that the config describes; None if it would not."""
    memory: MemoryFit
    steps: int | None
    """Optimiser steps; None if the data are not known yet."""
    hours: Hours | None
    """None if the data or the hardware's peak are not known."""
    disk: DiskSpace


class Data(NamedTuple):
    """Estimates of a run's data before anything is tokenised."""

    kind: str
    lengths: list[float]
    """Estimated tokens of each document."""
    units: list[float]
    """Estimated tokens of each row. The documents of a row stay in one pack."""
    packs: int
    steps: int


def describe_plan(
    config: Config, rows: Sequence[Any] | None = None, start_from: Path | None = None, *, stops: bool = False
) -> Description:
    """The plan of a run on the hardware that its config describes, whether or not this machine has it.

    Args:
        config: The whole config, after ``settle_hardware``.
        rows: The mixture; None if it is not known yet.
        start_from: Folder of the model to start from.
        stops: Whether the run would stop at its data or its start, which the caller says.

    Raises:
        LwexpError: If the sizes of the model cannot be found.
    """
    hardware = hardware_of(config)
    wrong = settings_problems(config, start_from)
    try:
        sizes = model_sizes(config.model, start_from)
    except LwexpError as error:
        raise LwexpError("; ".join(wrong) or str(error)) from None
    tokens = max_forward_tokens(config, hardware, sizes, here=False)
    chosen = check_fit(preset_name(hardware), sizes, hardware, tokens)
    others = check_presets(sizes, tokens)
    parts, data, steps, hours = [], None, None, None
    if rows is not None:
        data = estimate_data(config, rows)
        steps, hours = data.steps, estimate_hours(config, sizes, data, tokens)
        parts += [steps_table(config, data), time_line(hardware, hours)]
    parts.append(context_line(config, sizes))
    if start_from is None and (surprise := size_surprise(config.model)) is not None:
        parts.append(surprise)
    if config.objective.needs_reference:
        parts.append(REFERENCE_LINE)
    if (line := config.objective.passes_line(config.pack.max_tokens, tokens)) is not None:
        parts.append(line)
    parts += [memory_table(chosen, hardware), "which hardware it fits:\n" + fit_table(others, chosen)]
    parts.append(disk_line(config, sizes))
    helps = [] if chosen.is_fitting else what_helps(config.model, sizes, hardware, tokens, here=False)
    refused = "; ".join(filter(None, (*wrong, refusal(chosen, others, tokens, helps)))) or None
    if refused is None:
        missing = "; ".join(problems_here(config, start_from))
        but = ", but stops at documents that are too long" if data is not None and _stops(config, data) else ""
        if missing or not stops:
            parts.append(f"not on this machine: {missing}" if missing else f"this machine can run it{but}")
    return Description("\n\n".join(parts), refused, chosen, steps, hours, disk_space(config, sizes))


def estimate_data(config: Config, rows: Sequence[Any]) -> Data:
    """Estimate tokens, packs and steps from the lengths of the texts, without a tokenizer."""
    kind = config.objective.rows
    lengths: list[float] = []
    units: list[float] = []
    for row in rows:
        of_row = []
        for document, words in zip(kind.documents(row), kind.answer_words(row), strict=True):
            read = [item for item in document[:-1] if kind.answers == "last" or item.role != "assistant"]
            of_row.append(words * TOKENS_PER_WORD + sum(len(item.content) for item in read) / 4 + FORMAT_TOKENS)
        lengths += of_row
        units.append(sum(of_row))
    packs = max(1, -(-int(sum(units)) // config.pack.max_tokens)) if units else 0
    steps = -(-packs * config.objective.epochs // config.objective.global_batch)
    if config.objective.max_steps is not None:
        steps = min(steps, config.objective.max_steps)
    return Data(kind.plural, lengths, units, packs, steps)


def few_steps(steps: int, packs: int, objective: Objective) -> str | None:
    """Warning if an uncapped run has fewer than ten optimiser steps, in which a model hardly changes; else None."""
    if steps >= FEW_STEPS or objective.max_steps is not None:
        return None
    return (
        f"{plural(steps, 'step')} in all, from {plural(packs, 'pack')}: a model hardly changes in so few; for more, "
        f"lower pack.max_tokens or objective.global_batch={objective.global_batch}, or raise "
        f"objective.epochs={objective.epochs}"
    )


def steps_table(config: Config, data: Data) -> str:
    capacity, total = config.pack.max_tokens, int(sum(data.units))
    batch, epochs = config.objective.global_batch, config.objective.epochs
    lines = [
        "data (estimated from word counts):",
        f"  {data.kind:<18}{len(data.units):>14,}",
        f"  {'tokens':<18}{total:>14,}   {TOKENS_PER_WORD} a word",
        f"  {'packs':<18}{data.packs:>14,}   of {capacity:,} tokens",
        f"  {'steps':<18}{data.steps:>14,}   {plural(batch, 'pack')} each, {plural(epochs, 'epoch')}",
    ]
    if too_long := sum(n > capacity for n in data.units):
        advice = "; raise pack.max_tokens, or leave them out with pack.overflow=drop" if _stops(config, data) else ""
        lines.append(f"  {'too long':<18}{too_long:>14,}   pack.overflow={config.pack.overflow}{advice}")
    if data.units and (warning := few_steps(data.steps, data.packs, config.objective)):
        lines.append(f"  {warning}")
    return "\n".join(lines)


def _stops(config: Config, data: Data) -> bool:
    """Whether the run would stop at a row that is longer than a pack."""
    return config.pack.overflow == "error" and any(tokens > config.pack.max_tokens for tokens in data.units)


def estimate_hours(config: Config, sizes: Sizes, data: Data, forward_tokens: int) -> Hours | None:
    """Hours at the config's MFU; None if the config states no peak.

    Args:
        config: Config of the run.
        sizes: Sizes of its model.
        data: Estimates of its mixture.
        forward_tokens: Tokens of the largest forward pass. Fewer than a pack holds means training in two passes.
    """
    hardware = hardware_of(config)
    per_step = sum(data.units) * config.objective.epochs / max(data.steps, 1)
    if config.objective.max_steps is not None and data.packs:
        per_step = sum(data.units) / data.packs * config.objective.global_batch
    passes = 1 if forward_tokens == config.pack.max_tokens else 2
    objective, ranks = config.objective, hardware.ranks
    trained = min(data.packs * objective.epochs, data.steps * objective.global_batch)
    slots = rank_slots(trained, objective.global_batch, ranks)
    hours = training_hours(
        sizes,
        hardware,
        objective,
        data.lengths,
        data.steps,
        per_step,
        passes=passes,
        slots=slots,
        reference_slots=rank_slots(data.packs, ranks, ranks),
    )
    if hours is None:
        return None
    minutes = config.training.checkpoint_every_minutes
    return hours._replace(
        saving=saving_hours(sizes, hardware, hours.training, minutes),
        copying=copying_hours(sizes, hardware, forward_tokens, trained * slots / ranks, data.steps),
    )


def time_line(hardware: Hardware, hours: Hours | None) -> str:
    """The estimated hours, and what the estimate assumes."""
    if hours is None:
        return "time: not estimated, because the hardware states no peak (hardware.peak_tflops)"
    assert hardware.kind != "cpu"
    extra = f" + {hours.other:,.1f} h of forward passes for the reference" if hours.other else ""
    extra += f" + {hours.copying:,.1f} h of copies to and from the host" if hours.copying else ""
    extra += f" + {hours.saving:,.1f} h of saving"
    return (
        f"time: {hours.training:,.1f} h{extra} on {plural(hours.gpus, 'GPU')}, {hours.total * hours.gpus:,.0f} GPU "
        f"hours; {hours.flops:.2e} model FLOPs\n"
        f"  at hardware.mfu={hardware.mfu:g} of hardware.peak_tflops={hardware.peak_tflops:g} (bf16, one GPU): the "
        f"share of the peak that model FLOPs reach,\n  attention counted within documents, recomputation not counted; "
        f"an assumption until `python -m benchmarks.gpu` has measured it\n"
        f"  assumed too: storage at {STORAGE_BYTES_PER_SECOND / 1e9:g} GB/s, copies at "
        f"{PINNED_BYTES_PER_SECOND / 1e9:g} GB/s ({PAGEABLE_BYTES_PER_SECOND / 1e9:g} if not pinned)"
    )


def context_line(config: Config, sizes: Sizes) -> str:
    """How many positions the model has, and what the config changes about its context."""
    changes = context_changes(config.model)
    set_to = f"; set to {', '.join(changes)}" if changes else ""
    return f"context: the model's own is {sizes.max_position_embeddings:,} positions{set_to}"


def memory_table(fit: MemoryFit, hardware: Hardware) -> str:
    plan = fit.plan
    where = "each process" if hardware.device == "cpu" else "each GPU" if isinstance(hardware, Zero) else "GPU"
    trained = "" if plan.trained == plan.parameters else f", A = {_millions(plan.trained)} of them trained"
    lines = [f"memory for N = {_millions(plan.parameters)} parameters{trained}, {where}:"]
    when = {"always": "", "pass": "backward", "layer": "  in a layer", "head": "  in the head"}
    when |= {"update": "update", "export": "export"}
    lines += [
        f"  {term.name:<20}{term.bytes / GIB:>9.2f} GiB   {when[term.when]:<13} {term.formula}" for term in plan.device
    ]
    lines.append(
        f"  {'peak':<20}{plan.device_gib:>9.2f} GiB   the states and the largest of backward (with the larger of "
        f"its layer and head), update and export"
    )
    if plan.host:
        lines.append("host memory of each node:")
        lines += [f"  {term.name:<20}{term.bytes / GIB:>9.2f} GiB   {'':<13} {term.formula}" for term in plan.host]
        lines.append(f"  {'sum':<20}{plan.host_gib:>9.2f} GiB")
    return "\n".join(lines)


def _millions(n: int) -> str:
    return f"{n / 1e9:.2f}B" if n >= 1e8 else f"{n / 1e6:.2f}M"
