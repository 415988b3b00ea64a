"""lwexp from Python: the example of docs/python.md, run as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def python(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=560,
    )


@pytest.mark.slow
def test_the_example_of_the_page_runs_from_an_empty_folder(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "python.md").read_text(), re.DOTALL)

    done = forked.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, timeout=560)

    assert done.returncode == 0, done.stderr
    assert "24 in = " in done.stdout
    assert (tmp_path / "compare.html").is_file()


def test_importing_the_functions_loads_nothing_heavy(tmp_path):
    code = "import sys, lwexp.api; print(sorted({'torch', 'transformers', 'litellm', 'matplotlib'} & set(sys.modules)))"

    assert python(tmp_path, code).stdout == "[]\n"


def test_a_mistake_is_the_command_lines_message(tmp_path):
    done = python(tmp_path, "from lwexp import api\napi.compose('lr=3e-5')")

    assert done.stderr.splitlines()[-1] == (
        "lwexp.records.rows.LwexpError: lr: no such key; did you mean objective.optimizer.lr?"
    )
