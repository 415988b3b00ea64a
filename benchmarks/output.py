"""What every benchmark prints: a table for people, then one JSON line for machines."""

from __future__ import annotations

import json
import platform
from importlib import metadata

Results = dict[str, dict[str, dict[str, float]]]  # case -> system -> metric -> number


def show(bench: str, results: Results, packages: tuple[str, ...]) -> None:
    """Print the tables and the JSON line of a benchmark."""
    for case, systems in results.items():
        metrics = list(dict.fromkeys(metric for numbers in systems.values() for metric in numbers))
        print(f"\n{case:<26}" + "".join(f"{metric:>{_width(metric)}}" for metric in metrics))
        for system, numbers in systems.items():
            cells = (
                f"{numbers[metric]:>{_width(metric)}.4f}" if metric in numbers else f"{'-':>{_width(metric)}}"
                for metric in metrics
            )
            print(f"  {system:<24}" + "".join(cells))
    versions = {package: metadata.version(package) for package in packages}
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    print(json.dumps({"bench": bench, "results": results, "versions": versions, "machine": machine}))


def _width(metric: str) -> int:
    return max(16, len(metric) + 2)
