"""Keys of launchers and sweepers, errors for other keys, and times in SLURM's formats."""

import pytest

from lwexp.config.sweep_keys import CHOICES, Slurm, keys_of, unknown_key
from lwexp.records import LwexpError


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("hydra.launcher.partition", "only hydra/launcher=slurm has this key; add hydra/launcher=slurm"),
        ("hydra.launcher.sbatch.nodelist", "only hydra/launcher=slurm has this key"),
        ("hydra.launcher.slurm_partition", "did you mean hydra.launcher.partition (of hydra/launcher=slurm)?"),
        ("hydra.launcher.parameters.slurm_qos", "did you mean hydra.launcher.sbatch (of hydra/launcher=slurm)?"),
        ("hydra.launcher.partitoin", "did you mean hydra.launcher.partition"),
        ("hydra.launcher.slots", "did you mean hydra.launcher.max_parallel_trials?"),
        ("hydra.launcher.gpus_per_node", "did you mean hydra.launcher.gpus?"),
        ("hydra.launcher.xyz", "there are max_parallel_trials, gpus,"),
        ("hydra.sweeper.n_trials", "only hydra/sweeper=optuna has this key; add hydra/sweeper=optuna"),
        ("hydra.sweeper.n_trial", "did you mean hydra.sweeper.n_trials (of hydra/sweeper=optuna)?"),
    ],
)
def test_a_key_that_is_not_there_is_answered_with_the_right_one(key: str, wanted: str) -> None:
    assert unknown_key(key).startswith(f"{key}: ")
    assert wanted in unknown_key(key)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("12:00:00", 720),
        ("1:30:30", 91),
        ("90:30", 91),
        ("2-12", 3600),
        ("1-00:30", 1470),
        ("1-0:0:1", 1441),
    ],
)
def test_times_are_read_as_sbatch_reads_them(text: str, minutes: int) -> None:
    """From sbatch's manual: minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]]."""
    assert Slurm(time=text).minutes == minutes


@pytest.mark.parametrize("text", ["", "soon", "1h", "-5", "1:2:3:4"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(LwexpError, match="wanted minutes, HH:MM:SS or D-HH:MM:SS"):
        Slurm(time=text).check()


def test_a_trial_that_would_be_told_to_save_when_it_starts_is_refused() -> None:
    with pytest.raises(LwexpError, match=r"^hydra.launcher.save_seconds=120: .* hydra.launcher.time=2 is 120 s; "):
        Slurm(time="2", save_seconds=120).check()
    with pytest.raises(LwexpError, match=r"^hydra.launcher.save_seconds=-1: wanted 0 or more$"):
        Slurm(save_seconds=-1).check()
    Slurm(time="2", save_seconds=119).check()
    Slurm(time="0", save_seconds=120).check()  # 0: no limit


def test_every_key_has_help_and_stands_on_the_page() -> None:
    from lwexp.config.folders import REPOSITORY

    page = (REPOSITORY / "docs" / "sweeps.md").read_text()
    for choice in CHOICES["launcher"].values():
        for key, text in keys_of(choice).items():
            assert text
            assert f"`{key}" in page or f", `{key}`" in page, key
