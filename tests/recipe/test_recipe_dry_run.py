"""A dry run of training refuses what a start would refuse: the same one line, and exit code 2."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.config.cli import exit_after
from lwexp.config.folders import REPOSITORY
from lwexp.recipe.training import train
from tests import forked
from tests.train.tiny_packs import tiny_model

BROKEN = {
    "a data file that is not there": (
        ("mixture=general", "~mixture.sources.drafts", "mixture.sources.general.path={tmp}/typo.jsonl"),
        "typo.jsonl does not exist",
    ),
    "an empty mixture": (("~mixture.sources.drafts",), "mixture.sources: no source with a count above 0"),
    "an SFT run that is not there": (("experiment=smoke_dpo", "init_from=foo"), "init_from=foo"),
    "a model folder that is not there": (
        ("model=llama31", "model.path=/models/x"),
        "weights and tokenizer: there is no folder /models/x",
    ),
    "a folder without a model": (("model=llama31", "model.path={tmp}/empty"), "empty has no config.json"),
    "an architecture of another family": (("model=llama31", "model.path={tmp}/qwen2"), "is of type 'qwen2'"),
    "a context shorter than the packs": (
        ("model=llama31", "model.path={tmp}/short", "model.tokenizer=train"),
        "llama31 has 256 positions, and a pack may hold a document of 32,768 tokens; set model.context_length=32768",
    ),
    "a batch that the ranks cannot share": (
        ("experiment=smoke", "hardware=cpu_zero3", "objective.global_batch=7"),
        "set it to a multiple of 2, such as 6 or 8",
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Model folders with one fault each; no hub and no rows but those that a case names."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("lwexp.recipe.training.start_ranks", lambda *_: pytest.fail("a broken run was started"))
    (tmp_path / "empty").mkdir()
    tiny_model("llama").config.save_pretrained(tmp_path / "short")
    content = json.loads((tmp_path / "short" / "config.json").read_text())
    (tmp_path / "qwen2").mkdir()
    (tmp_path / "qwen2" / "config.json").write_text(json.dumps(content | {"model_type": "qwen2"}))
    return tmp_path


def exit_code(overrides: tuple[str, ...], folder: Path, dry_run: bool) -> int | str | None:
    """That of the command, whose errors go to stderr."""
    words = [word.format(tmp=folder) for word in overrides]
    config = compose(f"root={folder}/runs", *words, f"dry_run={str(dry_run).lower()}")

    def work() -> None:
        train(config)

    with pytest.raises(SystemExit) as left:
        exit_after(work)
    assert not (folder / "runs").exists()
    return left.value.code


@pytest.mark.parametrize(("overrides", "said"), BROKEN.values(), ids=BROKEN)
def test_a_dry_run_refuses_what_a_start_refuses(
    overrides: tuple[str, ...], said: str, folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.argv", ["lwexp", *overrides])
    for dry_run in (True, False):
        assert exit_code(overrides, folder, dry_run) == 2
        (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert said in error


@pytest.mark.parametrize(
    ("batch", "ranks", "nearest"), [(8, 16, "16 or 32"), (20, 16, "16 or 32"), (7, 3, "6 or 9"), (3, 8, "8 or 16")]
)
def test_the_nearest_batches_that_ranks_can_share(batch: int, ranks: int, nearest: str) -> None:
    from lwexp.train.planner.readiness import batch_problem

    options = ("hardware=zero3_8x80g", f"hardware.devices={ranks}", f"objective.global_batch={batch}")
    assert f"such as {nearest}" in str(batch_problem(compose(*options)))
    assert batch_problem(compose(*options, f"objective.global_batch={2 * ranks}")) is None


def test_what_only_this_machine_lacks_or_is_not_made_yet_is_no_refusal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight GPUs, the weights of a hub id, and the newest data and SFT runs."""
    assert not exit_code(("model=glm4", "hardware=zero3_8x80g", "objective=dpo"), folder, dry_run=True)
    told = capsys.readouterr().out
    assert "not on this machine: weights and tokenizer: zai-org/glm-4-9b-hf" in told


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "rows.jsonl holds no rows; give another file"), ('{"messages": 3}\n', "rows.jsonl line 1: ")],
    ids=["no rows", "a broken row"],
)
def test_rows_that_stop_a_start_are_refused_although_their_file_is_there(
    content: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "rows.jsonl").write_text(content)
    words = ("experiment=own_data", "mixture.path={tmp}/rows.jsonl", "mixture.sources.mine.on_bad_row=error")
    assert exit_code(words, folder, dry_run=True) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "this machine can run it" not in shown.out


def test_the_exit_code_is_2(tmp_path: Path) -> None:
    done = forked.run(
        [sys.executable, "-m", "lwexp", "train", "model=llama31", "model.path=/models/x", "dry_run=true"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: weights and tokenizer: there is no folder /models/x; set model.path=<folder> or a hub id"
    )
