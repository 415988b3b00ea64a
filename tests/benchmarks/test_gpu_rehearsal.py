"""Rehearses the kit for this interpreter's version in an environment without lwexp's packages and without an index.

    make gpu-rehearsal

What it cannot show: CUDA, torch 2.11 (the torch here is newer) and Python 3.12 (the wheels are this interpreter's).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import kit
from benchmarks.gpu.cases import STAGES
from tests.benchmarks.box import make_box

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(1200)]
BOX_VERSIONS = ("transformers==5.17.0", "tokenizers==0.23.2")  # what the box has instead of the pinned ones


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rehearsal")


@pytest.fixture(scope="module")
def built(folder):
    """The kit, for the running interpreter."""
    try:
        kit.build_kit(folder / "kit", f"{sys.version_info.major}.{sys.version_info.minor}")
    except SystemExit as error:
        if "pip" in str(error):
            pytest.skip(f"the package index cannot be reached: {error}")
        raise
    return folder / "kit"


@pytest.fixture(scope="module")
def python(built, folder):
    """The box's interpreter."""
    kit._pip("download", "--only-binary=:all:", "--dest", str(folder / "older"), *BOX_VERSIONS)
    return make_box(folder / "box", sorted((folder / "older").glob("*.whl")))


def on_the_box(python, folder, *command, **more):
    """Run there: no index, no path to this repository or its packages."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR", "OMP_NUM_THREADS") if name in os.environ}
    environment = {**kept, "PATH": f"{Path(python).parent}:/usr/bin:/bin", "PIP_NO_INDEX": "1", **more}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_box_lacks_what_the_kit_brings_and_has_another_transformers(python, folder):
    asked = "import transformers, lightning, torch; print(transformers.__version__); import pydantic"
    done = on_the_box(python, folder, str(python), "-c", asked)
    assert done.stdout.strip() == "5.17.0"
    assert done.stderr.strip().endswith("No module named 'pydantic'")


def test_the_kit_runs_on_the_box_within_its_deadline(built, python, folder):
    assert kit.size_mb(built) < kit.LIMIT_MB
    done = on_the_box(python, folder, "bash", str(built / "run.sh"), "--quick", "--deadline", "380",
                      PYTHON=str(python), OUT=str(folder))  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    first, *cases, last = lines

    print(done.stdout)  # pytest -s shows the times
    assert done.returncode == 0, done.stdout + done.stderr
    assert first["versions"]["transformers"] == "5.23.0"
    assert first["commit"] != "unknown"
    assert last["failed"] == last["parity_missed"] == last["not_reached"] == []
    assert {line["case"].split("/")[0] for line in cases} == {
        section for stage in STAGES for section in stage.sections
    } - {"train_step"} | {"train"}
    assert (folder / "gpu.jsonl").read_text() == done.stdout


def test_a_deadline_in_the_middle_keeps_what_was_finished(built, python, folder):
    done = on_the_box(python, folder, "bash", str(built / "run.sh"), "--quick", "--deadline", "25", "parity", "zero",
                      "command", "ours", "rivals", PYTHON=str(python), OUT=str(folder / "short"))  # fmt: skip
    first, *cases, last = map(json.loads, done.stdout.splitlines())

    assert done.returncode == 1
    assert "device" in first
    assert any(line.get("parity_ok") == 1.0 for line in cases)
    assert last["not_reached"]
    assert last["seconds"] < 35
