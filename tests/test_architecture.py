"""The import rules of docs/architecture.md, read off the syntax trees."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "lwexp"
ROOMS = {
    "config": set(), "runs": set(), "llm": set(), "generate": {"llm"}, "mix": set(), "pack": set(),
    "train": {"pack"}, "sample": {"pack", "llm"}, "score": {"llm"}, "report": {"pages"},
    "pages": set(), "publish": {"pages"}, "benches": {"llm"},
}  # fmt: skip
EVERY_ROOM_MAY = {"records", "text", "stats", "extend", "config", "runs"}
# heavy package -> files or folders that may import it
OUTSIDE = {
    "torch": ["pack/dataset.py", "train/", "sample/"],
    "lightning": ["train/"],
    "deepspeed": ["train/"],
    "litellm": ["llm/"],
    "wandb": ["train/loop/tracking.py", "report/"],
    "wandb_workspaces": ["report/"],
    "hydra": ["config/"],
    "omegaconf": ["config/"],
}
FILES = sorted(PACKAGE.rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_room_imports_only_what_it_may(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room not in ROOMS:
        return
    allowed = ROOMS[room] | {room} | EVERY_ROOM_MAY
    wrong = {name for name in rooms_imported(path) if name not in allowed}
    assert not wrong, f"{room} imports {sorted(wrong)}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_heavy_packages_are_imported_only_in_their_places(path):
    place = str(path.relative_to(PACKAGE))
    for package, places in OUTSIDE.items():
        if package in {module.split(".")[0] for module in imports(path)}:
            assert any(place.startswith(allowed) for allowed in places), f"{place} imports {package}"


def test_config_and_records_import_nothing_above_them():
    for path in (PACKAGE / "records").glob("*.py"):
        assert rooms_imported(path) <= {"records"}
    for path in (PACKAGE / "config").glob("*.py"):
        assert rooms_imported(path) <= {"records", "extend", "config"}


def test_the_import_reader_sees_imports_inside_functions(tmp_path):
    """Negative control for the three tests above."""
    file = tmp_path / "x.py"
    file.write_text("def f():\n    import torch.nn\n    from lwexp.score import length\n")

    assert set(imports(file)) == {"torch.nn", "lwexp.score"}
    assert rooms_imported(file) == {"score"}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_says_what_it_reads_writes_and_never_touches(room):
    docstring = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())) or ""

    for word in ("read", "write", "ever touch"):
        assert word in docstring.lower(), f"lwexp/{room}/__init__.py does not say what it {word}s"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_files_and_functions_stay_small(path):
    """250 lines and 50 statements' lines are where a reader starts to scroll."""
    tree = ast.parse(path.read_text())
    assert len(path.read_text().splitlines()) <= 300
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body_start = node.body[1].lineno if ast.get_docstring(node) and len(node.body) > 1 else node.lineno
            assert (node.end_lineno or 0) - body_start <= 60, f"{path.name}:{node.lineno} {node.name} is too long"


@pytest.mark.parametrize("script", ["train.py", "generate_data.py", "evaluate.py"])
def test_an_entry_script_stays_under_sixty_lines(script):
    assert len((PACKAGE.parent / script).read_text().splitlines()) < 60


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


def rooms_imported(path: Path) -> set[str]:
    return {
        module.split(".")[1] for module in imports(path) if module.startswith("lwexp.") and len(module.split(".")) > 1
    }
