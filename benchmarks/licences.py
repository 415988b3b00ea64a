"""The licences of everything that ``make`` installs, as docs/dependencies.md lists them.

    python -m benchmarks.licences            prints the table
    python -m benchmarks.licences --write    rewrites it in the page

The names and versions are those of constraints.txt; the licences are what each installed package states about itself.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "dependencies.md"
_START, _END = "<!-- licences: written by python -m benchmarks.licences --write -->", "<!-- end of licences -->"
_PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)", re.MULTILINE)
# What packages call a licence -> its SPDX name.
_NAMES = {
    "MIT License": "MIT", "Apache Software License": "Apache-2.0", "Apache Software License 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0", "BSD": "BSD License", "3-Clause BSD License": "BSD-3-Clause",
    "Python Software Foundation License": "PSF-2.0", "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "ISC License (ISCL)": "ISC",
}  # fmt: skip


def main() -> None:
    """Print or rewrite the table."""
    found = table()
    if "--write" in sys.argv[1:]:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(_START)
        PAGE.write_text(f"{before}{_START}\n{found}\n{_END}{rest.partition(_END)[2]}", encoding="utf-8")
    else:
        print(found)


def table() -> str:
    """Licence -> packages, the commonest licence first."""
    packages: dict[str, list[str]] = defaultdict(list)
    for name, version in _PINNED.findall((ROOT / "constraints.txt").read_text(encoding="utf-8")):
        packages[licence_of(name)].append(f"{name} {version}")
    rows = sorted(packages.items(), key=lambda row: (-len(row[1]), row[0]))
    lines = [f"| {licence} | {len(names)} | {', '.join(names)} |" for licence, names in rows]
    return "\n".join(("| licence | packages | which |", "|---|---|---|", *lines))


def licence_of(name: str) -> str:
    """What an installed package states: its licence expression, else its classifiers, else its licence field."""
    try:
        stated: Any = metadata.metadata(name)  # its class has no get() for type checkers
    except metadata.PackageNotFoundError:
        return "not installed"
    if expression := stated.get("License-Expression"):
        return str(expression)
    classifiers = stated.get_all("Classifier") or []
    named = [line.rpartition("::")[2].strip() for line in classifiers if line.startswith("License ::")]
    known = [_NAMES.get(name, name) for name in named if name not in ("OSI Approved", "DFSG approved")]
    first = str(stated.get("License") or "").strip().partition("\n")[0][:60]
    return " or ".join(known) or _NAMES.get(first, first) or "not stated"


if __name__ == "__main__":
    main()
