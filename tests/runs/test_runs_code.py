"""A finished run reports that its code has changed, and training does not resume with changed code unless told to."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.config.folders import PACKAGE
from lwexp.records import LwexpError
from lwexp.runs import RunDirectory, code, open_run
from lwexp.runs.artifacts import Artifact, Git, Manifest
from lwexp.runs.code import ROOMS, code_fingerprints
from lwexp.runs.find import list_runs
from tests import forked


def opened(root: Path, *overrides: str, stage: str = "train") -> RunDirectory:
    config = compose("experiment=smoke", "hardware=cpu", f"root={root}", *overrides)
    return open_run(stage, config, default_name="tiny", inputs={"a": "1"})


def finished(root: Path, stage: str = "train") -> RunDirectory:
    with opened(root, stage=stage) as run:
        run.finish(Artifact(steps=3))
    return run


def manifest_of(path: Path) -> Manifest:
    found = Manifest.read(path)
    assert found is not None
    return found


def with_other_code(path: Path, room: str) -> None:
    """As if the run had been made by another version of a room."""
    manifest = manifest_of(path)
    manifest.code[room] = "0" * 64
    manifest.git.commit = "2be0cdddc0ffee"
    manifest.write(path)


def test_a_git_that_takes_too_long_leaves_the_commit_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(code, "_GIT_SECONDS", 0.1)
    assert code.checkout() == Git()


def test_the_rooms_of_every_stage_are_there_but_for_those_to_come() -> None:
    rooms = {room for rooms in ROOMS.values() for room in rooms}
    assert {room for room in rooms if not (PACKAGE / room).is_dir()} <= {"benches"}
    assert set(code_fingerprints("train")) == {"extend", "mix", "pack", "train"}


def test_a_fingerprint_follows_every_byte_and_name_of_a_room(tmp_path: Path) -> None:
    for room in ("mix", "text"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "a.py").write_text("x = 1\n")
    before = code_fingerprints("import", tmp_path)
    assert before["mix"] == before["text"]
    (tmp_path / "mix" / "__pycache__").mkdir()
    (tmp_path / "mix" / "__pycache__" / "a.pyc").write_text("compiled")
    assert code_fingerprints("import", tmp_path) == before
    (tmp_path / "mix" / "a.py").rename(tmp_path / "mix" / "b.py")
    after = code_fingerprints("import", tmp_path)
    assert after["mix"] != before["mix"]
    assert after["text"] == before["text"]


def finished_already(run: RunDirectory) -> str:
    return f"{run.id} is finished already, so nothing is done again; rerun=true repeats it"


def test_the_same_code_is_no_warning_and_changed_code_says_which_and_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = finished(tmp_path)
    assert opened(tmp_path).is_finished
    assert caplog.messages == [finished_already(run)]
    caplog.clear()
    with_other_code(run.path, "pack")
    assert opened(tmp_path).is_finished
    (said,) = caplog.messages
    assert re.fullmatch(
        rf"{run.id} is finished, but the code of pack has changed since \(made by commit 2be0cddd.*, this is .*\); "
        rf"rerun=true repeats it and keeps this one as {run.id}\.before-1",
        said,
    )


def test_a_run_of_an_older_version_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = finished(tmp_path)
    tree = json.loads((run.path / "manifest.json").read_text())
    del tree["code"], tree["plugins"]
    (run.path / "manifest.json").write_text(json.dumps(tree))
    assert opened(tmp_path).is_finished
    assert caplog.messages == [finished_already(run)]


def test_a_plugin_that_has_changed_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = finished(tmp_path)
    manifest = manifest_of(run.path)
    manifest.plugins = {"simpo.py": "0" * 64}
    manifest.write(run.path)
    opened(tmp_path)
    assert "code of plugin simpo.py has changed since" in caplog.text


def test_a_rerun_keeps_the_earlier_run_and_its_paid_answers(tmp_path: Path) -> None:
    run = finished(tmp_path, stage="data")
    (run.path / "ledger.sqlite").write_text("paid")
    (run.path / "drafts.jsonl").write_text("old")
    for number in (1, 2):
        again = opened(tmp_path, "rerun=true", stage="data")
        assert (again.id, again.status) == (run.id, "new")
        assert sorted(file.name for file in again.path.iterdir()) == ["config.json", "ledger.sqlite", "manifest.json"]
        assert (again.path / "ledger.sqlite").read_text() == "paid"
        kept = tmp_path / f"{run.id}.before-{number}"
        assert RunDirectory.load(kept).is_finished
        # One that others would otherwise find as the newest finished of its name.
        assert [found.status for found in list_runs(tmp_path)] == ["new"]
        with again:
            again.finish(Artifact())
    assert (tmp_path / f"{run.id}.before-1" / "drafts.jsonl").read_text() == "old"


def interrupted(root: Path, stage: str = "train") -> RunDirectory:
    with pytest.raises(KeyboardInterrupt), opened(root, stage=stage) as run:
        raise KeyboardInterrupt
    (run.path / "checkpoints" / "step-00000010").mkdir(parents=True)
    return run


def test_a_training_does_not_go_on_from_its_checkpoint_with_other_code(tmp_path: Path) -> None:
    run = interrupted(tmp_path)
    assert not opened(tmp_path).is_finished  # the control: the same code goes on
    with_other_code(run.path, "train")
    with pytest.raises(LwexpError, match=r"the code of train has changed since .* resume_changed_code=true"):
        opened(tmp_path)
    allowed = opened(tmp_path, "resume_changed_code=true")
    assert (allowed.id, len(allowed.manifest.code_changes)) == (run.id, 1)
    with allowed:
        pass
    assert "code of train has changed" in manifest_of(run.path).code_changes[0]
    assert not opened(tmp_path).is_finished  # this code is now the run's own


def test_without_a_checkpoint_or_in_another_stage_other_code_goes_on_and_is_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = interrupted(tmp_path)
    shutil.rmtree(run.path / "checkpoints")
    with_other_code(run.path, "train")
    assert len(opened(tmp_path).manifest.code_changes) == 1
    data = interrupted(tmp_path, stage="data")
    with_other_code(data.path, "llm")
    assert opened(tmp_path, stage="data").id == data.id
    assert f"{data.id} is resumed, but the code of llm has changed since" in caplog.text


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package in a checkout of its own."""
    shutil.copytree(PACKAGE, tmp_path / "lwexp", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".gitignore").write_text("runs\n__pycache__\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)
    return tmp_path


def run_in(copy: Path, *words: str) -> str:
    """Run Python on the copy; what it says on both streams."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    done = forked.run([sys.executable, *words], cwd=copy, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_doubled_loss_is_told_by_the_same_command(copy: Path) -> None:
    train = ("-m", "lwexp", "train", "experiment=smoke", "hardware=cpu", "hardware.threads=1", "name=lossrun")
    run_in(copy, "-m", "lwexp", "generate", "experiment=smoke")
    assert "steps in" in run_in(copy, *train)
    same = run_in(copy, *train)
    assert "is finished already, so nothing is done again; rerun=true repeats it" in same
    assert "finished: runs/lossrun-" in same
    assert "has changed" not in same
    losses = next((copy / "lwexp" / "train" / "objectives").rglob("losses.py"))
    text = losses.read_text()
    assert "def sft_loss(" in text
    losses.write_text(
        f"{text}\n_single = sft_loss\n\n\ndef sft_loss(logprobs, weights):\n    return 2 * _single(logprobs, weights)\n"
    )
    doubled = run_in(copy, *train)
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=copy, text=True)[:8]
    (line,) = [line for line in doubled.splitlines() if "has changed" in line]
    assert (
        f"is finished, but the code of train has changed since (made by commit {head}, this is commit {head} with "
        f"local changes); rerun=true repeats it and keeps this one as lossrun-"
    ) in line
    assert "steps in" not in doubled


IDS = """
import sys
from lwexp.config import compose
from lwexp.runs.identity import run_id
for stage in ("data", "pairs", "train", "evaluate"):
    print(stage, run_id(stage, compose("experiment=smoke", "hardware=cpu"), {}))
"""


def test_a_new_neutral_key_changes_no_id(copy: Path) -> None:
    """One in a section and one that is a section's equal; the control is the same pair without a neutral value."""
    before = run_in(copy, "-c", IDS)
    schema, section = copy / "lwexp" / "config" / "schema.py", copy / "lwexp" / "config" / "train.py"
    plain = {schema: schema.read_text(), section: section.read_text()}

    def add(mark: str, shapes: str) -> str:
        schema.write_text(
            plain[schema].replace(
                "    dry_run: ", f"    extra: Annotated[int, Key({mark}{shapes}read_by=EVERY)] = 0\n    dry_run: ", 1
            )
        )
        start = "class TrainingConfig(Strict):\n"
        section.write_text(plain[section].replace(start, f"{start}    extra: Annotated[int, Key({mark})] = 0\n", 1))
        assert all(path.read_text().count("extra: Annotated") == 1 for path in plain)
        return run_in(copy, "-c", IDS)

    assert add("neutral=0, ", "shapes=STAGES, ") == before
    assert add("", "shapes=STAGES, ") != before
