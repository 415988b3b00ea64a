"""Which hardware fits a run: each preset's memory plan compared with the memory that the preset has."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lwexp.config.presets import hardware_presets
from lwexp.config.schema import Config
from lwexp.config.train import CPU, Hardware, ModelConfig, Zero
from lwexp.extend import Sizes
from lwexp.train.model.dimensions import odd_matrices, with_adapter
from lwexp.train.planner.hardware import find_devices
from lwexp.train.planner.memory import GIB, TIGHT, MemoryPlan, plan_memory

SHORTEST_PACK = 512
"""No advice goes below this many tokens: packs so short hold no long answer."""


class MemoryFit(NamedTuple):
    """A memory plan and the memory available, in GiB; a limit is None if unknown."""

    name: str
    plan: MemoryPlan
    device_limit: float | None
    host_limit: float | None

    @property
    def is_fitting(self) -> bool:
        return self.share <= 1

    @property
    def share(self) -> float:
        """The share of memory used on the device or the host, whichever is larger; 0 if both limits are unknown."""
        device = self.plan.device_gib / self.device_limit if self.device_limit else 0.0
        host = self.plan.host_gib / self.host_limit if self.host_limit else 0.0
        return max(device, host)

    @property
    def label(self) -> str:
        if self.device_limit is None:
            return "device unknown" if self.is_fitting else "no"
        return ("tight" if self.share > TIGHT else "fits") if self.is_fitting else "no"


def check_fit(name: str, sizes: Sizes, hardware: Hardware, tokens: int, *, here: bool = False) -> MemoryFit:
    """Compare the memory plan with the hardware's own limits or, if ``here`` is true, with this machine's memory."""
    return MemoryFit(name, plan_memory(sizes, hardware, tokens), *limits(hardware, here))


def max_forward_tokens(config: Config, hardware: Hardware, sizes: Sizes, *, here: bool) -> int:
    """Tokens of the largest forward and backward pass of a run. The objective chooses the number by what fits.

    Args:
        config: Config of the run.
        hardware: Where it runs.
        sizes: Sizes of its model.
        here: Compare with the memory of this machine instead of the memory stated in the config.
    """

    def fits(tokens: int) -> bool:
        return check_fit("one pass", sizes, hardware, tokens, here=here).is_fitting

    return config.objective.max_forward_tokens(config.pack.max_tokens, fits)


def check_presets(sizes: Sizes, tokens: int) -> list[MemoryFit]:
    """The plan on each preset; weights in 4 bits are not shared out, so not on ZeRO's."""
    return [
        check_fit(name, sizes, hardware, tokens)
        for name, hardware in hardware_presets().items()
        if not (sizes.is_quantized and isinstance(hardware, Zero))
    ]


def limits(hardware: Hardware, here: bool) -> tuple[float | None, float | None]:
    """GiB of one device and of a node's host, from the config, or from this machine if the config does not state them.

    If ``here`` is true, both are this machine's; the config's device size is used only if no device is found.
    """
    if isinstance(hardware, CPU) or hardware.device == "cpu":
        return host_gib() / hardware.devices, None
    if here:
        return find_devices().gib or hardware.device_gib, host_gib()
    return hardware.device_gib or find_devices().gib or None, hardware.host_gib or host_gib()


def preset_name(hardware: Hardware) -> str:
    """Name of the preset with the same settings; if none has, "this config" for ZeRO, else the kind of hardware."""
    for name, preset in hardware_presets().items():
        if preset == hardware:
            return name
    return "this config" if isinstance(hardware, Zero) else hardware.kind


def fit_table(fits: list[MemoryFit], chosen: MemoryFit) -> str:
    """One line per preset, with the chosen hardware first and marked."""
    rows = [chosen] + [fit for fit in fits if fit.name != chosen.name]
    lines = [f"  {'hardware':<16}{'each device':>20}{'host of a node':>22}   fit"]
    for row in rows:
        device, host = _of(row.plan.device_gib, row.device_limit), _of(row.plan.host_gib, row.host_limit)
        mark = ">" if row is chosen else " "
        lines.append(f"{mark} {row.name:<16}{device:>20}{host:>22}   {row.label}")
    return "\n".join(lines)


def _of(gib: float, limit: float | None) -> str:
    if gib == 0:
        return "-"
    return f"{gib:,.1f} of {limit:,.0f} GiB" if limit else f"{gib:,.1f} GiB"


def refusal(chosen: MemoryFit, fits: list[MemoryFit], tokens: int, helps: Sequence[str]) -> str | None:
    """One line on what does not fit and what would; None if the run fits the chosen hardware.

    Args:
        chosen: The plan on the hardware of the config.
        fits: The plans on the presets.
        tokens: Tokens of the largest forward pass.
        helps: Changes with which the chosen hardware is enough, from ``what_helps``.
    """
    if chosen.is_fitting:
        return None
    needs = []
    if chosen.device_limit and chosen.plan.device_gib > chosen.device_limit:
        needs.append(f"{chosen.plan.device_gib:,.0f} GiB a device, there are {chosen.device_limit:,.0f}")
    if chosen.host_limit and chosen.plan.host_gib > chosen.host_limit:
        needs.append(f"{chosen.plan.host_gib:,.0f} GiB of host memory, there are {chosen.host_limit:,.0f}")
    fitting = [f"hardware={other.name}" for other in fits if other.label in ("fits", "tight")]
    instead = f"it fits with {', '.join(fitting)}" if fitting else "it fits no preset of lwexp/conf/hardware"
    size = f"{chosen.plan.parameters / 1e9:.1f}B" if chosen.plan.parameters >= 1e8 else "this model's"
    fix = f"or set {', or '.join(helps)}" if helps else "here neither shorter packs nor smaller weights are enough"
    return (
        f"memory: {size} parameters and packs of {tokens:,} tokens need {' and '.join(needs)} with "
        f"hardware={chosen.name}; {instead}, {fix} (dry_run=true shows every term)"
    )


def what_helps(model: ModelConfig, sizes: Sizes, hardware: Hardware, tokens: int, *, here: bool) -> list[str]:
    """The changes, each of which makes a run fit its own hardware: an adapter, an adapter on weights in 4 bits if it is
    not enough alone, shorter packs, or only both together.

    Args:
        model: Says whether there is an adapter already, and whether weights are in 4 bits.
        sizes: Sizes of the model.
        hardware: Where the run shall fit.
        tokens: Tokens of its largest forward pass, which does not fit.
        here: As for ``check_fit``.
    """

    def longest(sizes: Sizes) -> int | None:
        shorter = [tokens >> halvings for halvings in range(1, 16) if tokens >> halvings > SHORTEST_PACK]
        shorter += [SHORTEST_PACK] if tokens > SHORTEST_PACK else []
        return next((n for n in shorter if check_fit("", sizes, hardware, n, here=here).is_fitting), None)

    smaller = [(words, with_adapter(sizes, less)) for words, less in _smaller_weights(model, sizes, hardware)]
    fitting = (words for words, less in smaller if check_fit("", less, hardware, tokens, here=here).is_fitting)
    helps = [words] if (words := next(fitting, None)) is not None else []
    if (most := longest(sizes)) is not None:
        helps.append(f"pack.max_tokens={most}")
    if not helps:
        both = (f"{words} pack.max_tokens={most}" for words, less in smaller if (most := longest(less)) is not None)
        helps += [words] if (words := next(both, None)) is not None else []
    return helps


def _smaller_weights(model: ModelConfig, sizes: Sizes, hardware: Hardware) -> Iterator[tuple[str, ModelConfig]]:
    """Configs whose weights need less memory, largest first, and the words that set them."""
    words = []
    if model.adapter == "none":
        words.append("model.adapter=lora")
        model = model.model_copy(update={"adapter": "lora"})
        yield " ".join(words), model
    if model.quantize == "none" and not isinstance(hardware, Zero) and not odd_matrices(sizes):
        words.append("model.quantize=nf4")
        yield " ".join(words), model.model_copy(update={"quantize": "nf4"})


def host_gib() -> float:
    """Host memory in GiB that this process may use: the machine's, or less if a container limits it."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(file).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits) / GIB
