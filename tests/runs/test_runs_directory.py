"""Run directories: identity, locking, finishing, finding."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys

import pytest

from lwexp.config import compose
from lwexp.records import LwexpError, Preempted, is_locked
from lwexp.runs import Run, find_run, fingerprint, open_run
from lwexp.runs.artifacts import Artifact, Manifest


def opened(tmp_path, *overrides, inputs=None, stage="train", labels=None):
    config = compose(f"root={tmp_path}", *overrides)
    return open_run(stage, config, default_name="x", inputs=inputs or {}, labels=labels)


# Knobs that change results give another run; knobs that cannot give the same one.
MATTER = ["seed=1", "objective.optimizer.lr=2e-5", "pack.max_tokens=64", "model=tiny_llama", "objective.epochs=1"]
CANNOT = [
    "training.log_every_steps=3",
    "training.checkpoint_every_steps=5",
    "hardware.threads=1",
    "tracking=wandb_offline",
    "teacher.limits.concurrency=2",
    "bench.topics=1",
]


@pytest.mark.parametrize("override", MATTER)
def test_what_changes_results_changes_the_run_id(tmp_path, override):
    assert opened(tmp_path).id != opened(tmp_path, override).id


@pytest.mark.parametrize("override", CANNOT)
def test_what_cannot_change_results_keeps_the_run_id(tmp_path, override):
    assert opened(tmp_path).id == opened(tmp_path, override).id


def test_other_inputs_are_another_run(tmp_path):
    assert opened(tmp_path, inputs={"a": "1"}).id != opened(tmp_path, inputs={"a": "2"}).id


def test_a_run_that_another_process_finishes_after_it_was_opened_is_not_done_again(tmp_path):
    first, second = opened(tmp_path), opened(tmp_path)
    with first:
        first.finish(Artifact(steps=3))
    with second:
        assert second.is_finished
        assert second.manifest.results == {"steps": 3}
    assert Run.load(second.path).manifest.starts == first.manifest.starts
    assert not is_locked(second.path / "lock")


def test_a_finished_run_is_found_finished_by_the_same_command(tmp_path):
    with opened(tmp_path) as run:
        assert not run.is_finished
        run.finish(Artifact(steps=3))

    again = opened(tmp_path)

    assert again.is_finished
    assert again.manifest.results == {"steps": 3}
    assert json.loads((again.path / "config.json").read_text())["pack"]["max_tokens"] == 32768


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "failed"), (KeyboardInterrupt, "interrupted"), (Preempted, "preempted")]
)
def test_a_run_that_stops_early_says_why_and_can_start_again(tmp_path, error, status):
    with pytest.raises(error), opened(tmp_path):
        raise error("boom")

    run = opened(tmp_path)
    assert run.manifest.status == status
    assert "boom" in run.manifest.reason
    with run:
        run.finish(Artifact())
    assert opened(tmp_path).is_finished
    assert len(run.manifest.starts) == 2


@pytest.mark.parametrize(
    ("error", "status", "delivered"), [(Preempted, "preempted", []), (ValueError, "failed", ["failed"])]
)
def test_a_sigterm_waits_until_the_manifest_says_how_the_run_has_ended(tmp_path, monkeypatch, error, status, delivered):
    """SLURM signals the trial, and its job does once more five seconds later: here while the manifest is written.

    A run that a signal has ended forgets the second one. The negative control is a run that fails by itself.
    """
    told = []
    before = signal.signal(signal.SIGTERM, lambda *_: told.append(opened(tmp_path).manifest.status))
    write = Manifest.write

    def slowly(manifest, folder):
        if manifest.status == status:
            os.kill(os.getpid(), signal.SIGTERM)
        write(manifest, folder)

    try:
        run = opened(tmp_path)
        monkeypatch.setattr(Manifest, "write", slowly)
        with pytest.raises(error), run:
            raise error("SIGTERM at step 5; saved")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert opened(tmp_path).manifest.status == status
    assert told == delivered


def test_two_processes_cannot_work_in_one_run(tmp_path):
    code = (
        "import sys, time\nfrom lwexp.config import compose\nfrom lwexp.runs import open_run\n"
        f"with open_run('train', compose('root={tmp_path}'), default_name='x', inputs={{}}):\n"
        "    print('in', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "in\n"
        with pytest.raises(LwexpError, match="in use by another process"), opened(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with opened(tmp_path) as run:  # the lock died with its process
        run.finish(Artifact())


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_is_not_a_run_in_use(tmp_path, monkeypatch, number):
    """Lustre without -o flock answers ENOSYS, NFS without lockd ENOLCK."""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(LwexpError, match=rf"cannot be locked: {os.strerror(number)}; .*Lustre: mount -o flock"):
        opened(tmp_path).__enter__()


def test_another_rank_cannot_work_in_a_run(tmp_path, monkeypatch):
    """A program of the user that calls lwexp.api under torchrun: only rank 0 may pay."""
    run = opened(tmp_path)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(LwexpError, match="only rank 0 may work in a run, and this is rank 1"), run:
        pass


def test_a_run_is_found_by_newest_name_id_and_path(tmp_path):
    for seed in (0, 1):
        with opened(tmp_path, f"seed={seed}", "name=long", labels={"model": "m"}) as run:
            run.finish(Artifact())
    runs = {"stages": ("train",), "key": "run", "make_it": "python train.py", "root": tmp_path}

    assert find_run("newest", **runs).id == run.id
    assert find_run("long", **runs).id == run.id
    assert find_run(run.id, **runs).id == run.id
    assert find_run(str(run.path), **runs).id == run.id
    assert isinstance(find_run("newest", labels={"model": "m"}, **runs), Run)


def test_a_run_that_is_not_there_names_those_that_are(tmp_path):
    with opened(tmp_path, "name=half"), pytest.raises(LwexpError) as caught:
        find_run("newest", stages=("train",), key="run", make_it="python train.py", root=tmp_path)

    assert "half-" in str(caught.value)
    assert "running" in str(caught.value)
    assert "python train.py" in str(caught.value)


def test_a_fingerprint_sees_content_and_names(tmp_path):
    (tmp_path / "a").write_text("1")
    first = fingerprint(tmp_path)
    (tmp_path / "a").write_text("2")
    second = fingerprint(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")

    assert len({first, second, fingerprint(tmp_path)}) == 3
