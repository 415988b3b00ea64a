"""Writes the table of docs/planner.md: python -m benchmarks.planner_table. A test compares it with the planner."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from lwexp.config.folders import REPOSITORY
from lwexp.config.presets import hardware_preset
from lwexp.config.train import Hardware, Zero
from lwexp.train.model.dimensions import published_models
from lwexp.train.planner.memory_fit import check_fit

PAGE = REPOSITORY / "docs" / "planner.md"
BEGIN, END = "<!-- table: python -m benchmarks.planner_table -->", "<!-- end of table -->"
MODELS = {"GLM-4-9B": "zai-org/glm-4-9b-hf", "Llama-3.1-8B": "meta-llama/Llama-3.1-8B"}


class Case(NamedTuple):
    """One row: a model, its GPUs, what is offloaded, and the pack length."""

    model: str
    gpus: str
    offload: str
    tokens: int


CASES = (
    Case("GLM-4-9B", "8x80", "none", 32_768),
    Case("Llama-3.1-8B", "8x80", "none", 32_768),
    Case("GLM-4-9B", "8x80", "none", 65_536),
    Case("GLM-4-9B", "8x80", "activations", 131_072),
    Case("GLM-4-9B", "4x80", "none", 32_768),
    Case("Llama-3.1-8B", "4x80", "optimiser", 65_536),
    Case("GLM-4-9B", "8x40", "none", 8_192),
    Case("GLM-4-9B", "8x40", "optimiser", 32_768),
    Case("Llama-3.1-8B", "8x40", "both", 32_768),
    Case("GLM-4-9B", "1xH200", "optimiser", 32_768),
    Case("Llama-3.1-8B", "gpu1_141g", "none", 32_768),
    Case("GLM-4-9B", "gpu1_141g", "none", 32_768),
)
_GPUS: dict[str, dict[str, Any]] = {
    "8x80": {"devices": 8, "device_gib": 79.0, "host_gib": 1000.0},
    "4x80": {"devices": 4, "device_gib": 79.0, "host_gib": 500.0},
    "8x40": {"devices": 8, "device_gib": 39.0, "host_gib": 500.0},
    "1xH200": {"devices": 1, "device_gib": 139.0, "host_gib": 128.0, "pin_memory": False},
}
_OFFLOAD: dict[str, dict[str, Any]] = {
    "none": {},
    "activations": {"activation_offload": True},
    "optimiser": {"offload_optimizer": 1.0},
    "both": {"offload_optimizer": 1.0, "offload_parameters": True},
}


def case_hardware(case: Case) -> Hardware:
    """The ZeRO-3 preset with a case's GPUs and offloading, or the preset that the case names."""
    if case.gpus not in _GPUS:
        return hardware_preset(case.gpus)
    hardware = hardware_preset("zero3_8x80g")
    assert isinstance(hardware, Zero)
    return hardware.model_copy(update={**_GPUS[case.gpus], **_OFFLOAD[case.offload]})


def planner_table() -> str:
    """The table as Markdown."""
    lines = [
        "| model | GPUs | offloaded | tokens a pack | each GPU, GiB | host, GiB | fit |",
        "|---|---|---|--:|--:|--:|---|",
    ]
    for case in CASES:
        hardware = case_hardware(case)
        sizes = published_models()[MODELS[case.model]].sizes
        fit = check_fit("", sizes, hardware, case.tokens)
        host = f"{fit.plan.host_gib:.0f} of {fit.host_limit:.0f}" if fit.plan.host_gib else "-"
        lines.append(
            f"| {case.model} | {case.gpus} | {case.offload} | {case.tokens:,} "
            f"| {fit.plan.device_gib:.1f} of {fit.device_limit:.0f} | {host} | {fit.label} |"
        )
    return "\n".join(lines)


def table_in(page: str) -> str:
    """The table that a page holds."""
    return page.split(BEGIN)[1].split(END)[0].strip()


def main(page: Path = PAGE) -> None:
    """Replace the page's table by the current one."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{planner_table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
