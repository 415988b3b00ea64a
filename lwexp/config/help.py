"""``--help`` of an entry script: what it does, commands to copy, each group with its choices, its keys."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from lwexp.config.compose import CONF
from lwexp.config.schema import READS, Config


def print_help(script: str, doc: str) -> None:
    """Print the help of ``script`` to standard output."""
    print(doc.strip())
    print("\nGroups (choose a file: group=choice)")
    for group in [*(key for key in READS[script] if (CONF / key).is_dir()), "experiment"]:
        print(f"  {group}")
        for path in sorted((CONF / group).glob("*.yaml")):
            print(f"    {path.stem:<20} {first_comment(path)}")
    if script == "train":
        print("  sweeps (with -m: python train.py -m +sweeps=... ; scale=miniature for two CPU cores)")
        for path in sorted((CONF / "sweeps").glob("*.yaml")):
            print(f"    {path.stem:<20} {first_comment(path)}")
    print("\nKeys (set a value: key=value; all of them: --cfg job)")
    for key in (*(key for key in READS[script] if key in Config.model_fields), "name", "root", "seed", "dry_run"):
        field = Config.model_fields[key]
        is_section = (CONF / key).is_dir() or _is_section(field.annotation)
        if not is_section:
            print(f"  {key:<18} {' '.join((field.description or '').split())}")
    print("\nA run lives in runs/<name>-<id>; the same command again resumes it, or says that it is finished.")


def first_comment(path: Path) -> str:
    """The first comment line of a YAML file that says something (package directives do not)."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ").strip()
    return ""


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
