"""``lwexp rerun``: a run from its folder, by the real command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lwexp.config.folders import REPOSITORY
from tests import forked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TINY = ["experiment=smoke", "generate.instructions.count=8"]


def lwexp(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return forked.run([sys.executable, "-m", "lwexp", *arguments], cwd=folder, env=environment)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with drafts and a training of one step from them."""
    place = tmp_path_factory.mktemp("rerun")
    for command in (["generate", *TINY, "name=drafts"], ["train", "experiment=smoke", "objective.max_steps=1"]):
        done = lwexp(place, *command)
        assert done.returncode == 0, done.stderr
    return place


def trained(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.glob("runs/sft-*")}


def test_a_finished_run_says_so_and_does_nothing(place: Path) -> None:
    (folder,) = trained(place)
    done = lwexp(place, "rerun", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(
        "is finished; add rerun=true to repeat it, or settings such as seed=1 for a new run"
    )
    assert trained(place) == {folder}


def test_another_seed_makes_another_run_from_the_same_data(place: Path) -> None:
    """Newer drafts are there by then, which "newest" would mean."""
    (folder,) = trained(place)
    assert lwexp(place, "generate", *TINY, "name=newer", "seed=5").returncode == 0
    done = lwexp(place, "rerun", folder, "seed=1")
    assert done.returncode == 0, done.stderr
    (other,) = trained(place) - {folder}
    first, second = (json.loads((place / name / "manifest.json").read_text()) for name in (folder, other))
    assert (first["seed"], second["seed"], second["status"]) == (0, 1, "finished")
    assert second["inputs"] == first["inputs"]
    config = json.loads((place / other / "config.json").read_text())
    assert config["objective"]["max_steps"] == 1


def test_a_run_that_was_stopped_goes_on_in_its_folder(place: Path) -> None:
    """The manifest of an interrupted run; its folder and its id stay."""
    folder = place / "runs" / next(path.name for path in place.glob("runs/drafts-*"))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "status": "interrupted"}))
    done = lwexp(place, "rerun", str(folder.relative_to(place)))
    assert done.returncode == 0, done.stderr
    again = json.loads((folder / "manifest.json").read_text())
    assert (again["status"], len(again["starts"])) == ("finished", len(manifest["starts"]) + 1)
    assert again["results"]["conversations"] == manifest["results"]["conversations"]


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (["nowhere"], "nowhere is not a run"),
        (["seed=1"], "the first word is a run's folder"),
        (["{run}", "sed=1"], "sed: no such key; did you mean seed?"),
        (["{run}", "model=glm4"], "model=glm4: a stored config has no groups to choose from"),
        (["{run}", "seed=-1"], "seed"),
    ],
)
def test_mistakes_are_one_line(place: Path, typed: list[str], wanted: str) -> None:
    folder = sorted(trained(place))[0]
    done = lwexp(place, "rerun", *(word.format(run=folder) for word in typed))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert wanted in line
