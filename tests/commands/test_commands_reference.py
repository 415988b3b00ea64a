"""Every key of the config has a sentence, on docs/config.md and in --help."""

import subprocess
import sys

import pytest

from lwexp.commands.reference import help_for, sections
from lwexp.config.fields import EACH, walk
from lwexp.config.schema import Config
from lwexp.records import LwexpError
from tests import ROOT


def test_the_page_is_up_to_date(tmp_path):
    """In a process of its own, because tests of plugins register classes in this one."""
    page = tmp_path / "config.md"
    subprocess.run([sys.executable, "-m", "lwexp.commands.reference", str(page)], check=True, cwd=ROOT)
    assert page.read_text() == (ROOT / "docs" / "config.md").read_text(), (
        "the schema has changed: run python -m lwexp.commands.reference docs/config.md, then python docs/config_zh.py"
    )


def test_every_key_has_a_sentence_that_ends():
    rows = [row for section in sections() for row in section.rows]
    assert [row.key for row in rows if not row.meaning.endswith((".", ")"))] == []
    on_page = {row.key for row in rows} | {section.path.removesuffix(f".{EACH}") for section in sections()}
    missing = {key for key, _ in walk(Config)} - on_page
    assert {key for key in missing if not key.endswith(".kind")} == set()


@pytest.mark.parametrize(
    ("key", "wants", "default", "changes"),
    [
        ("hardware.timeout_minutes", "integer; at least 1", "60", "speed, memory or logs"),
        ("objective.label_smoothing", "number; at least 0; below 0.5", "0.0", "results"),
        ("seed", "integer; at least 0", "0", "results"),
        ("tracking.tags", "list of text", "[]", "names and places"),
        ("split", "text", "train", "results"),
    ],
)
def test_a_row(key, wants, default, changes):
    """Expected values are read off the schema's lines by hand."""
    row = next(row for section in sections() for row in section.rows if row.key == key)
    assert (row.wants, row.default, row.changes) == (wants, default, changes)


def test_help_of_a_section_and_of_one_key():
    text = help_for("train", "objective")
    assert "objective (kind: dpo)" in text
    assert "objective.optimizer.lr=-" in text
    assert "objective.beta=-" in text
    alone = help_for("train", "objective.optimizer.lr")
    assert "objective.optimizer.lr=-" in alone
    assert "betas" not in alone


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("objectiv", "--help objectiv: no such key; did you mean objective?"),
        ("generate", "--help generate: train does not read generate; try lwexp generate --help generate"),
        ("qqqq", "--help qqqq: no such key; --help alone lists the groups and top-level keys"),
    ],
)
def test_help_of_a_wrong_key_says_what_to_type(key, message):
    with pytest.raises(LwexpError) as error:
        help_for("train", key)
    assert str(error.value) == message
