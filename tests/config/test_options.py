"""Hydra's own options and settings: some are honoured, all others refused in one line with exit code 2."""

import subprocess
import sys
from pathlib import Path

import pytest

from lwexp.config.folders import REPOSITORY
from lwexp.config.mistakes.options import ordered
from lwexp.records import LwexpError

# what is typed, what the line says
MISTAKES = [
    ("--dry-run", "settings have no dashes: dry_run=true"),
    ("--seed=3", "settings have no dashes: seed=3"),
    ("--lr 1e-5", "settings have no dashes: objective.optimizer.lr=<value>"),
    ("--multirn", "did you mean --multirun?"),
    ("--frobnicate", "settings are key=value without dashes"),
    ("--cfg", "--cfg: needs a value, such as --cfg job"),
    ("--cfg jb", "--cfg jb: no such value; there are job, hydra, all"),
    ("--info plugin", "--info plugin: no such value; there are all, config"),
    ("--resolve", "write --cfg job --resolve"),
    ("-m --cfg job", "--multirun and --cfg: only one of them"),
    ("--config-name foo", "--config-name foo: no such config; there are config"),
    ("--config-path conf", "--config-dir <folder>"),
    ("--experimental-rerun runs/x", "lwexp rerun <run folder>"),
    ("--config-dir", "--config-dir: needs a value"),
    ("hydra.run.dir=out", "set root=<folder> and name=<name>"),
    ("-m hydra.sweep.dir=out seed=1,2", "set root=<folder>"),
    ("hydra.job.chdir=true", "remove this setting"),
    ("hydra.output_subdir=.hydra", "config.json"),
    ("+sweeps=smoke", "add -m"),
    ("hydra/launcher=slurm", "only a sweep has a launcher; add -m"),
    ("hydra.sweeper.n_trials=3", "only a sweep has a sweeper; add -m"),
    ("-m hydra/launcher=basic seed=1,2", "take hydra/launcher=subprocess or hydra/launcher=slurm"),
    ("-m hydra/sweeper=basic seed=1,2", "take hydra/sweeper=grid or hydra/sweeper=optuna"),
]


@pytest.mark.parametrize(("typed", "wanted"), MISTAKES)
def test_a_word_that_would_be_honoured_half_is_refused(typed: str, wanted: str) -> None:
    with pytest.raises(LwexpError) as told:
        ordered(typed.split())
    assert wanted in str(told.value)
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("a=b --config-dir X c=d", "--config-dir X a=b c=d"),
        ("a=b -m c=1,2", "-m a=b c=1,2"),
        ("--config-dir=X a=b", "--config-dir X a=b"),
        ("model=glm4 --info", "--info all model=glm4"),
        ("--info defaults a=b", "--info defaults a=b"),
        ("--info a=b", "--info all a=b"),
        ("hydra.output_subdir=null hydra.job.chdir=false", "hydra.output_subdir=null hydra.job.chdir=false"),
        ("-m +sweeps=smoke", "-m +sweeps=smoke"),
        ("hydra.mode=MULTIRUN +sweeps=smoke", "hydra.mode=MULTIRUN +sweeps=smoke"),
        ("-m hydra.launcher.sbatch.nodelist=gpu7", "-m ++hydra.launcher.sbatch.nodelist=gpu7"),
        ("-m +hydra.sweeper.params.seed=1", "-m +hydra.sweeper.params.seed=1"),
        ("~mixture.sources.drafts name=-x", "~mixture.sources.drafts name=-x"),
    ],
)
def test_options_go_first_and_the_rest_stays(typed: str, wanted: str) -> None:
    """Negative control for the test above, too: none of these is refused."""
    assert ordered(typed.split()) == wanted.split()


def test_a_trial_may_name_its_sweep_without_m(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LWEXP_TRIAL_RECORD", "/nowhere")
    assert ordered(["+sweeps=smoke"]) == ["+sweeps=smoke"]


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (["--dry-run"], "dry_run=true"),
        (["seed=0,1"], "seed=0,1: several values are a sweep; add -m"),
        (["-m", "hydra.sweeper.params={seed: [1}"], "{seed: [1}"),
        (["-m", "seed=interval(0, 1)"], "hydra/sweeper=optuna"),
        (["--config-dir", "nowhere"], "nowhere"),
        (["-m", "seed=0,1", "hydra.launcher.sbatch.nodelist=gpu7"], "only hydra/launcher=slurm has this key"),
        (["-m", "seed=0,1", "+hydra.launcher.partitoin=x"], "did you mean hydra.launcher.partition"),
        (["-m", "seed=0,1", "hydra.launcher.gpus=-1"], "hydra.launcher.gpus=-1: wanted 0 or more"),
        (["-m", "seed=0,1", "hydra/launcher=slurm", "hydra.launcher.time=soon"], "hydra.launcher.time=soon"),
    ],
)
def test_the_command_says_it_in_one_line(tmp_path: Path, typed: list[str], wanted: str) -> None:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "train.py"), *typed],
        cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert wanted in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["lwexp.serve.server", "lwexp.serve.chat", "lwexp.report", "lwexp.export"])
def test_help_of_the_other_commands_needs_no_torch(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", module, "--help"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert module in done.stdout or "lwexp" in done.stdout
    assert not {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()} & {"torch", "transformers"}
