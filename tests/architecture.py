"""What the package imports, read off its syntax trees, and the part of docs/architecture.md that shows it.

python -m tests.architecture        writes the table and the picture of rooms into docs/architecture.md
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from tests import ROOT

PACKAGE = ROOT / "lwexp"
FILES = sorted(PACKAGE.rglob("*.py"))
PAGE = ROOT / "docs" / "architecture.md"

# Who may import whom. Each may also import itself; nothing else is allowed, inside functions and for types neither.
BASE = {
    "records": set(),
    "text": {"records"},
    "stats": {"records"},
    "extend": {"records", "text"},
    "rowfiles": {"records", "text", "extend"},
    "config": {"records", "extend"},
    "runs": {"records", "text", "extend", "config"},
}  # fmt: skip
ROOMS = {
    "llm": set(), "generate": {"llm"}, "mix": set(), "pack": set(), "train": {"pack"}, "sample": {"pack", "llm"},
    "benches": {"llm"}, "score": {"llm"}, "pages": set(), "report": {"pages"}, "publish": {"pages"},
    "watch": {"pages", "report"}, "serve": {"pack", "sample"}, "harness": {"benches", "sample", "score"},
}  # fmt: skip
ABOVE = {
    "recipe": set(ROOMS), "commands": {"recipe", ""}, "api": {"recipe", "report"}, "export": {"recipe"},
    "convert": {"train"}, "__main__": {"commands"}, "": set(),
}  # fmt: skip
ALLOWED = BASE | {room: others | set(BASE) for room, others in (ROOMS | ABOVE).items()}
TRAIN = {
    "families": set(), "model": set(), "metrics": set(), "objectives": {"model"}, "parallel": {"model"},
    "export": {"model"}, "convert": set(), "data": {"model", "objectives", "metrics"},
    "planner": {"model", "objectives", "parallel", "metrics"},
    "loop": {"model", "metrics", "objectives", "parallel", "export", "data", "planner"},
}  # fmt: skip
ALLOWED_IN_TRAIN = TRAIN | {"": set(TRAIN)}


def module_name(path: Path, root: Path = ROOT) -> str:
    """``lwexp.train.loop.run`` for lwexp/train/loop/run.py, ``lwexp.train`` for lwexp/train/__init__.py."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def nodes(node: ast.AST, inside_functions: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        if inside_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from nodes(child, inside_functions)


def imports(path: Path, inside_functions: bool = True) -> Iterator[str]:
    """The full name of all that a file imports. A block under TYPE_CHECKING counts: a type is a dependency too."""
    for node in nodes(tree(path), inside_functions):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_graph(files: Iterable[Path], root: Path = ROOT, inside_functions: bool = True) -> dict[str, set[str]]:
    """Which module imports which. An imported name stands for the module that it lives in."""
    paths = {module_name(path, root): path for path in files}
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        graph[module] = set()
        for name in imports(path, inside_functions):
            while name and name not in paths:
                name = name.rpartition(".")[0]
            graph[module] |= {name} - {module, ""}
    return graph


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that all reach each other."""

    def reach(start: str) -> set[str]:
        seen, waiting = set[str](), [start]
        while waiting:
            new = graph[waiting.pop()] - seen
            seen |= new
            waiting += new
        return seen

    reached = {module: reach(module) for module in graph}
    inside = [module for module in graph if module in reached[module]]
    groups = {frozenset(other for other in reached[module] if module in reached[other]) for module in inside}
    return sorted(sorted(group) for group in groups)


def room(module: str) -> str:
    """The room of a module: "train" for lwexp.train.loop.run, "" for lwexp itself."""
    return [*module.split("."), ""][1]


def train_room(module: str) -> str:
    """The room inside train of a module: "loop" for lwexp.train.loop.run, "" for lwexp.train."""
    return [*module.split("."), "", ""][2]


def docstring(folder: Path) -> str:
    return ast.get_docstring(tree(folder / "__init__.py")) or ""


def summary(folder: Path) -> str:
    """First sentence of a room's docstring, without the room's name."""
    first = re.split(r"[.;] |\.$|\n\n", re.sub(r"^\w+: ", "", docstring(folder)), maxsplit=1)[0]
    return " ".join(first.split()).rstrip(".").replace("``", "`").replace("|", ", ")


def table(folder: Path, rules: dict[str, set[str]]) -> list[str]:
    lines = ["| room | what it is | may import |", "|---|---|---|"]
    for name, others in rules.items():
        named = ", ".join(f"`{other}`" for other in sorted(others)) or "-"
        lines.append(f"| `{name}` | {summary(folder / name)} | {named} |")
    return lines


def page_part() -> str:
    """What docs/architecture.md says of rooms and arrows."""
    pairs = {(room(module), room(other)) for module, others in module_graph(FILES).items() for other in others}
    arrows = sorted((a, b) for a, b in pairs if a in ROOMS and b in ROOMS and a != b)
    picture = ["```mermaid", "flowchart LR", *(f"    {name}" for name in ROOMS)]
    picture += [*(f"    {a} --> {b}" for a, b in arrows), "```", ""]
    above = {"recipe": {*ROOMS}, "commands": {"recipe"}}
    rows = [*table(PACKAGE, BASE | ROOMS | above), "", "Inside `train`:", "", *table(PACKAGE / "train", TRAIN)]
    return "\n".join(picture + rows)


START, END = "<!-- rooms: written by python -m tests.architecture -->", "<!-- end of rooms -->"


def page_with_part() -> str:
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    return f"{before}{START}\n{page_part()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page_with_part(), encoding="utf-8")
