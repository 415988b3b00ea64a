"""docs/reliability.md names a test for each promise; every test that it names exists."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
TESTS = Path(__file__).parents[1]
_FILE = re.compile(r"`(tests/[\w/]+\.py)`")
_TEST = re.compile(r"`(?:tests/[\w/]+/)?(test_\w+)(?:\.py)?::(test_\w+)(?:\[[^`]*\])?`")


def rows(text: str) -> list[str]:
    """The rows of all tables that name a test."""
    return [line for line in text.splitlines() if line.startswith("| ") and (_FILE.search(line) or _TEST.search(line))]


def missing(text: str) -> list[str]:
    """Named tests that do not exist."""
    known = {path.stem: path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py")}
    absent = [file for file in _FILE.findall(text) if not (TESTS.parent / file).is_file()]
    for module, name in _TEST.findall(text):
        if f"def {name}(" not in known.get(module, ""):
            absent.append(f"{module}::{name}")
    return absent


def test_the_page_has_40_faults_with_a_test_and_every_test_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(rows(text)) >= 40
    assert missing(text) == []


def test_a_test_that_does_not_exist_is_named() -> None:
    """The control."""
    text = "| a | `tests/runs/test_runs_gone.py` |\n| c | `test_runs_stops::test_gone`, `test_gone::test_x[1]` |\n| d |"
    assert len(rows(text)) == 2
    assert missing(text) == ["tests/runs/test_runs_gone.py", "test_runs_stops::test_gone", "test_gone::test_x"]
