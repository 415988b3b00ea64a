"""The table of faults in docs/cluster.md: every fault names tests and cases, and each of them exists."""

import ast
import re
from pathlib import Path

import pytest

from benchmarks.cluster.cases import CASES

ROOT = Path(__file__).parents[2]
ROWS = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", (ROOT / "docs/cluster.md").read_text(encoding="utf-8"), re.MULTILINE)


def missing(held_by: str) -> list[str]:
    """Names in a cell that are neither a test nor a case."""
    lost = []
    for name in re.findall(r"`([^`]+)`", held_by):
        file, is_test, test = name.partition("::")
        if is_test:
            path = ROOT / file
            tests = ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if path.exists() else ()
            found = any(isinstance(node, ast.FunctionDef) and node.name == test for node in tests)
        else:
            found = name in CASES
        if not found:
            lost.append(name)
    return lost


def test_the_page_has_the_fourteen_faults() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 15))


@pytest.mark.parametrize(("number", "held_by"), ROWS)
def test_each_fault_is_held_by_tests_and_cases_that_exist(number: str, held_by: str) -> None:
    assert "`" in held_by, number
    assert missing(held_by) == []


def test_a_name_that_does_not_exist_is_found() -> None:
    """Negative control."""
    assert missing("case `no_such_case`, `tests/runs/test_runs_launch.py::test_nothing`, `tests/none.py::test_x`") == [
        "no_such_case", "tests/runs/test_runs_launch.py::test_nothing", "tests/none.py::test_x",
    ]  # fmt: skip
