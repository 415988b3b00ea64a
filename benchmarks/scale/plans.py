"""Writes the planner's table of docs/scale.md: long sequences, 64 GPUs. ``python -m benchmarks.scale.plans``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from benchmarks.packing import lengths
from lwexp.config import compose
from lwexp.config.folders import REPOSITORY
from lwexp.config.presets import hardware_preset
from lwexp.config.train import Zero
from lwexp.train.model.dimensions import published_models
from lwexp.train.planner.flops import rank_slots, training_hours
from lwexp.train.planner.memory_fit import check_fit

PAGE = REPOSITORY / "docs" / "scale.md"
BEGIN, END = "<!-- table: python -m benchmarks.scale.plans -->", "<!-- end of table -->"
_MODEL = "zai-org/glm-4-9b-hf"
_LONG_DOCUMENTS = 10_000


class Case(NamedTuple):
    """One row: the training data, tokens per pack, and nodes with eight 80 GB GPUs each."""

    data: str
    tokens: int
    nodes: int
    offload: bool = False


CASES = (
    Case("LongWriter's mixture", 32_768, 1),
    Case("LongWriter's mixture", 32_768, 8),
    Case("LongWriter's mixture", 131_072, 1, offload=True),
    Case("LongWriter's mixture", 131_072, 8),
    Case("10,000 documents of 131,072 tokens", 131_072, 1, offload=True),
    Case("10,000 documents of 131,072 tokens", 131_072, 8),
)


def documents(data: str) -> list[float]:
    """Tokens of each document; LongWriter's mixture is drawn as in ``benchmarks.packing``."""
    if data.startswith("10,000"):
        return [131_072.0] * _LONG_DOCUMENTS
    return [
        *lengths(6_000, mean=7_770, sigma=0.6, seed=1).tolist(), *lengths(180_000, mean=900, sigma=1.0, seed=2).tolist()
    ]  # fmt: skip


def table() -> str:
    """The table as Markdown."""
    sizes = published_models()[_MODEL].sizes
    objective = compose("model=glm4", "hardware=cpu").objective
    lines = [
        "| data | tokens a pack | GPUs | activations offloaded | each GPU, GiB | fit | packs a step | steps | hours |",
        "|---|--:|--:|---|--:|---|--:|--:|--:|",
    ]
    for case in CASES:
        hardware = hardware_preset("zero3_8x80g")
        assert isinstance(hardware, Zero)
        hardware = hardware.model_copy(update={"num_nodes": case.nodes, "activation_offload": case.offload})
        fit = check_fit("", sizes, hardware, case.tokens)
        found = documents(case.data)
        batch = max(objective.global_batch, hardware.ranks)
        packs = -(-int(sum(found)) // case.tokens)
        steps = -(-packs * objective.epochs // batch)
        per_step = sum(found) * objective.epochs / steps
        slots = rank_slots(packs * objective.epochs, batch, hardware.ranks)
        hours = training_hours(sizes, hardware, objective, found, steps, per_step, slots=slots)
        assert hours is not None
        lines.append(
            f"| {case.data} | {case.tokens:,} | {hardware.ranks} | {'yes' if case.offload else 'no'} "
            f"| {fit.plan.device_gib:.1f} of {fit.device_limit:.0f} | {fit.label} | {batch} | {steps:,} "
            f"| {hours.total:,.1f} |"
        )
    return "\n".join(lines)


def main(page: Path = PAGE) -> None:
    """Replace the page's table by the current one."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
