"""A sweep by the real command: its trials and setup commands see the folders and plugins that the sweep was given."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lwexp.config.cli import command_line, where_configs_are
from lwexp.config.folders import REPOSITORY
from lwexp.records import LwexpError
from lwexp.runs.trials import read_trials
from tests import forked

SWEEP = """# @package _global_
defaults:
  - override /experiment: smoke
root: runs
hydra:
  launcher:
    setup_commands:
      - generate_data.py +mine=few root={root} dry_run=true
      - lwexp generate experiment=smoke root={root} dry_run=true
  sweeper:
    params:
      task: agentwrite
      seed: 1,2
"""
FEW = """# @package _global_
seed: 7
"""
PLUGIN = """
import pathlib, sys
with open(pathlib.Path(__file__).with_name("loaded.txt"), "a") as out:
    out.write(" ".join(sys.argv[1:]) + "\\n")
"""


EXPERIMENT = """# @package _global_
defaults:
  - smoke
  - _self_
objective:
  max_steps: 2
"""
TRAINING = """# @package _global_
defaults:
  - override /experiment: own
evaluate_after: true
hydra:
  launcher:
    max_parallel_trials: 2
    setup_commands:
      - lwexp generate experiment=own root={root}
  sweeper:
    params:
      objective.optimizer.lr: 1.0e-3,3.0e-3
"""
SEARCH = [
    "evaluate_after=true", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.launcher.max_parallel_trials=2",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sweeps_whose_configs_lie_elsewhere_train_and_evaluate(tmp_path: Path) -> None:
    """A grid by ``--config-dir`` and a search by ``hydra.searchpath``, of two processes each, side by side."""
    for name, text in (("conf/sweeps/mine.yaml", TRAINING), ("conf/experiment/own.yaml", EXPERIMENT)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    lwexp(tmp_path, "train", "-m", "--config-dir", "conf", "+sweeps=mine")
    grid = "objective.optimizer.lr=tag(log, interval(1e-3, 1e-2))"
    lwexp(tmp_path, "train", "-m", "hydra.searchpath=[file://conf]", "experiment=own", grid, *SEARCH)

    for folder in (*tmp_path.glob("runs/sweep-mine-*"), *tmp_path.glob("runs/search-adhoc-*")):
        trials = read_trials(folder)
        assert [(trial.status, len(trial.runs)) for trial in trials] == [("finished", 2)] * 2
        configs = [json.loads((tmp_path / trial.runs[0] / "config.json").read_text()) for trial in trials]
        assert {config["objective"]["max_steps"] for config in configs} == {2}
        assert len({config["objective"]["optimizer"]["lr"] for config in configs}) == 2
        assert (folder / "report.html").is_file()
    assert len(list(tmp_path.glob("runs/search-adhoc-*"))) == 1


def lwexp(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "lwexp", *arguments]
    done = forked.run(command, cwd=folder, env=environment, timeout=800, also_its_own=True)
    logs = "\n".join(path.read_text() for path in sorted(folder.glob("runs/*/*-[0-9].log")))
    assert done.returncode == 0, done.stderr + logs
    return done


def test_config_folder_and_plugins_reach_every_trial_and_setup_command(tmp_path: Path) -> None:
    """The sweep's own file is in the folder, and so is a group that a setup command chooses from."""
    for name, text in (("conf/sweeps/mine.yaml", SWEEP), ("conf/mine/few.yaml", FEW), ("extra.py", PLUGIN)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    lwexp(tmp_path, "generate", "-m", "--config-dir", "conf", "+sweeps=mine", "plugins=[extra.py]")
    (folder,) = (tmp_path / "runs").glob("sweep-mine-*")
    trials = read_trials(folder)
    assert [(trial.status, trial.label) for trial in trials] == [("finished", "seed=1"), ("finished", "seed=2")]
    assert len(list(folder.glob("setup-*.log"))) == 2
    # the sweep itself, two setup commands, two trials
    loaded = (tmp_path / "loaded.txt").read_text().splitlines()
    assert len(loaded) == 5
    assert sum("+mine=few" in line for line in loaded) == 1
    assert all("--config-dir conf" in line for line in loaded)


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("generate_data.py seed=1", ["-m", "lwexp", "generate", "seed=1"]),
        ("lwexp train 'a=[1, 2]'", ["-m", "lwexp", "train", "a=[1, 2]"]),
        ("python evaluate.py", ["-m", "lwexp", "evaluate"]),
        ("python -m lwexp train", ["-m", "lwexp", "train"]),
    ],
)
def test_a_setup_command_is_a_script_or_a_command(typed: str, wanted: list[str]) -> None:
    assert command_line(typed) == wanted


@pytest.mark.parametrize("typed", ["rm -r /", "", "lwexp fly"])
def test_a_setup_command_other_than_lwexps_is_refused(typed: str) -> None:
    with pytest.raises(LwexpError, match=r"is not a command of lwexp; wanted lwexp generate\|train\|evaluate"):
        command_line(typed)


def test_where_configs_are_is_all_that_is_passed_on() -> None:
    typed = ["-m", "--config-dir", "a", "x=1", "--config-dir=b", "hydra.searchpath=[file://c]", "-cd", "d", "seed=0,1"]
    wanted = ["--config-dir", "a", "--config-dir=b", "-cd", "d", "hydra.searchpath=[file://c]"]
    assert where_configs_are(typed) == wanted
