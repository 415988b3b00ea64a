"""Log output in a pipe or a file: unwrapped lines, without the advice of other libraries."""

import subprocess
import sys
from pathlib import Path

from lwexp.config.folders import REPOSITORY
from tests import forked

TABLE = """
from rich.table import Table
from lwexp.runs.logs import show
table = Table("name", "a long heading", title="Rows")
table.add_row("x", "y" * 100)
show(table)
show(table, on_stderr=True)
"""
SRUN = """
import shutil, warnings
from lwexp.runs.logs import console_log
if {quiet}:
    console_log()
from lightning.fabric.plugins.environments import SLURMEnvironment
SLURMEnvironment.detect()
"""


def run(code: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(REPOSITORY)} | ({} if path is None else {"PATH": path})
    done = forked.run([sys.executable, "-c", code], env=environment, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return done


def test_tables_in_a_pipe_are_not_filled_up_with_blanks() -> None:
    done = run(TABLE)
    for text in (done.stdout, done.stderr):
        assert "y" * 100 in text
        assert "Rows" in text
        assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_lightnings_advice_on_srun_is_silent(tmp_path: Path) -> None:
    """Negative control: without console_log, Lightning gives it wherever srun is on the path."""
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    assert "`srun` command is available" in run(SRUN.format(quiet=False), path).stderr
    assert "srun" not in run(SRUN.format(quiet=True), path).stderr


def test_each_message_once(capsys) -> None:
    import logging

    from lwexp.runs.logs import console_log, each_message_once

    console_log()
    log = logging.getLogger("lwexp.test")
    with each_message_once():
        log.info("the same %d", 1)
        log.info("the same %d", 1)
        log.info("the same %d", 2)
    log.info("the same %d", 1)
    assert [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()] == [
        "the same 1", "the same 2", "the same 1",
    ]  # fmt: skip
