"""The dry run of a sweep or a search: every trial is checked, a table with sums, nothing is started or written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lwexp.config.folders import REPOSITORY
from lwexp.recipe.trial_plan import TrialPlan, show_plans
from lwexp.records import LwexpError
from tests import forked


def lwexp(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return forked.run([sys.executable, "-m", "lwexp", *arguments, "dry_run=true"], cwd=folder, env=environment)


def test_every_trial_has_a_row_and_counts_in_the_sums(capsys: pytest.CaptureFixture[str]) -> None:
    """Hours 1.5 + 2.5, models of 17.5 + 15 GiB; one trial's dollars are not known, so the sum of the others has a plus.
    Checkpoints are deleted when a trial ends, so they are not added up."""
    show_plans(
        [
            TrialPlan(
                "lr=1",
                steps=100,
                hours=1.5,
                gpu_hours=12.0,
                dollars=3.25,
                memory="fits",
                model_gib=17.5,
                checkpoints_gib=300.0,
            ),
            TrialPlan(
                "lr=2", steps=1900, hours=2.5, gpu_hours=20.0, memory="tight", model_gib=15.0, checkpoints_gib=270.0
            ),
        ]
    )
    first, one, two, total, disk = capsys.readouterr().out.splitlines()
    assert first.split() == [
        "trial",
        "settings",
        "steps",
        "hours",
        "GPU",
        "hours",
        "dollars",
        "disk",
        "GiB",
        "memory",
        "check",
    ]
    assert one.split() == ["1", "lr=1", "100", "1.5", "12", "3.25", "17.5", "fits", "ok"]
    assert two.split() == ["2", "lr=2", "1,900", "2.5", "20", "-", "15.0", "tight", "ok"]
    assert total.split() == ["sum", "2,000", "4.0", "32", "3.25+", "32.5"]
    assert "checkpoints need up to 300.0 GiB more while it trains" in disk


def test_a_mistake_names_its_trial_and_one_of_all_trials_is_said_once() -> None:
    plans = [TrialPlan("lr=1", problems=("a: bad", "b: worse")), TrialPlan("lr=2", problems=("b: worse",))]
    with pytest.raises(LwexpError) as told:
        show_plans(plans)
    assert list(told.value.lines) == ["all 2 trials: b: worse", "trial 1 of 2 (lr=1): a: bad"]


def test_a_bad_trial_of_a_sweep_is_named(tmp_path: Path) -> None:
    """Three mistakes of three kinds: a value, a choice with a key that it lacks, hardware that cannot hold the run."""
    lr = lwexp(tmp_path, "train", "-m", "experiment=smoke", "objective.optimizer.lr=abc,1e-5")
    assert lr.returncode == 2
    assert lr.stderr.splitlines()[-1].startswith(
        "error: trial 1 of 2 (objective.optimizer.lr=abc): objective.optimizer.lr: must be a valid number"
    )
    assert "FAILS" in lr.stdout

    beta = lwexp(tmp_path, "train", "-m", "model=tiny_glm,tiny_llama", "objective.beta=0.1,0.2")
    assert beta.returncode == 2
    assert "error: all 4 trials: objective.beta" in beta.stderr

    large = lwexp(tmp_path, "train", "-m", "model=glm4", "hardware=zero3_8x80g", "hardware.device_gib=8,80")
    assert large.returncode == 2
    assert "trial 1 of 2 (hardware.device_gib=8)" in large.stderr
    assert "trial 2 of 2" not in large.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_would_run_exits_with_0(tmp_path: Path) -> None:
    """Negative control: the shipped sweep makes its data first, so that data which are not there are no mistake."""
    done = lwexp(tmp_path, "train", "-m", "+sweeps=output_cap", "scale=miniature")
    assert (done.returncode, list(tmp_path.iterdir())) == (0, [])
    assert "first: " in done.stdout
    assert done.stdout.count(" ok\n") == 4
    assert "4 trials, 1 at a time on this machine" in done.stdout


def test_a_search_shows_its_space_and_one_plan_and_writes_nothing(tmp_path: Path) -> None:
    words = ["train", "-m", "experiment=smoke", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=7"]
    space = ["objective.optimizer.lr=tag(log, interval(1e-4, 1e-2))", "objective.epochs=range(2, 9)"]
    done = lwexp(tmp_path, *words, *space)
    assert done.returncode == 0, done.stderr
    assert "  objective.optimizer.lr: 0.0001 to 0.01, on a logarithmic scale\n" in done.stdout
    assert "  objective.epochs: whole numbers 2 to 8\n" in done.stdout
    assert "7 trials to maximize S_l" in done.stdout
    assert done.stdout.count(" ok\n") == 1
    assert list(tmp_path.iterdir()) == []

    bad = lwexp(tmp_path, *words, "objective.epochs=choice(a, b)")
    assert (bad.returncode, list(tmp_path.iterdir())) == (2, [])
    assert "objective.epochs: must be a valid integer" in bad.stderr


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (["mixture.sources.drafts.run=typo"], "mixture.sources.drafts.run=typo"),
        (["~mixture.sources.drafts"], "mixture.sources"),
        (["objective=dpo", "init_from=typo"], "init_from=typo"),
    ],
)
def test_the_dry_run_of_a_training_fails_for_what_will_not_be_there(
    tmp_path: Path, typed: list[str], wanted: str
) -> None:
    """The plan is printed all the same."""
    done = lwexp(tmp_path, "train", "experiment=smoke" if "objective=dpo" not in typed else "hardware=cpu", *typed)
    assert done.returncode == 2, done.stdout
    assert "memory for N" in done.stdout
    assert wanted in done.stderr.splitlines()[-1]


def test_the_newest_run_may_still_have_to_be_made(tmp_path: Path) -> None:
    """Negative control for the test above."""
    assert lwexp(tmp_path, "train", "hardware=cpu", "objective=dpo").returncode == 0
