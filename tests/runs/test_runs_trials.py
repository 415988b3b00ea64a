"""Trials of a sweep: real processes through submitit's local executor."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from lwexp.config.sweep_keys import Subprocess
from lwexp.runs.trial_process import share_of_cores
from lwexp.runs.trial_runner import run_trials
from lwexp.runs.trials import last_words, make_trials, read_trials, sweep_directory, write_trials

# A stand-in for an entry script: notes its run, says how it sees the machine, and ends as it is told.
SCRIPT = """
import json, os, pathlib, sys, time
run = pathlib.Path(sys.argv[1].replace("lr=", "run-"))
run.mkdir(exist_ok=True)
(run / "manifest.json").write_text(json.dumps({"status": "finished", "stage": "train"}))
with open(os.environ["LWEXP_TRIAL_RECORD"], "a") as out:
    out.write(json.dumps(str(run.resolve())) + "\\n")
with open("starts.txt", "a") as out:
    out.write(sys.argv[1] + "\\n")
cores = sorted(os.sched_getaffinity(0))
print("pid", os.getpid(), "cores", cores, "omp", os.environ.get("OMP_NUM_THREADS"), flush=True)
if "lr=2" in sys.argv:
    print("error: objective.optimizer.lr: too large", file=sys.stderr)
    sys.exit(2)
if "lr=3" in sys.argv:
    os.kill(os.getpid(), 9)
if "lr=4" in sys.argv:
    raise ValueError("a fault of ours")
if "lr=9" in sys.argv:
    time.sleep(60)
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return path


def sweep(script, rates, parallel=2):
    folder = script.parent / "sweep"
    trials = make_trials(folder, [[f"lr={rate}"] for rate in rates])
    run_trials([str(script)], trials, Subprocess(max_parallel_trials=parallel), folder)
    return trials


@pytest.mark.slow
def test_a_failed_trial_stops_nothing_and_a_second_run_does_only_what_is_missing(script):
    """Six trials: one refuses its value, one is killed, one crashes; the other three finish."""
    trials = sweep(script, [1, 2, 3, 4, 5, 6])

    assert [trial.exit_code for trial in trials] == [0, 2, -9, 1, 0, 0]
    assert [trial.status for trial in trials] == ["finished", "failed", "failed", "failed", "finished", "finished"]
    assert trials[1].reason == "objective.optimizer.lr: too large"
    assert trials[2].reason.startswith("killed by signal 9")
    assert trials[3].reason == "ValueError: a fault of ours"
    pids = {Path(trial.log).read_text().split()[1] for trial in trials}
    assert len(pids) == 6
    assert str(os.getpid()) not in pids
    assert [row["exit_code"] for row in json.loads((script.parent / "sweep" / "trials.json").read_text())] == [
        0, 2, -9, 1, 0, 0,
    ]  # fmt: skip

    (script.parent / "starts.txt").unlink()
    again = sweep(script, [1, 2, 3, 4, 5, 6])

    assert sorted((script.parent / "starts.txt").read_text().split()) == ["lr=2", "lr=3", "lr=4"]
    assert [trial.kept for trial in again] == [True, False, False, False, True, True]
    assert [trial.exit_code for trial in again] == [0, 2, -9, 1, 0, 0]


@pytest.mark.slow
def test_a_trial_whose_run_is_gone_is_run_again(script):
    """Negative control of keeping: the note alone is not enough."""
    sweep(script, [1, 5])
    (script.parent / "starts.txt").unlink()
    (script.parent / "run-5" / "manifest.json").unlink()

    sweep(script, [1, 5])

    assert (script.parent / "starts.txt").read_text().split() == ["lr=5"]


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_two_slots_have_their_own_cpus_and_logs(script):
    trials = sweep(script, [1, 5])

    said = [Path(trial.log).read_text() for trial in trials]
    cores = [set(json.loads(line[line.index("[") : line.index("]") + 1])) for line in said]
    assert cores[0]
    assert cores[1]
    assert not cores[0] & cores[1]
    assert all(f"omp {len(share)}" in line for share, line in zip(cores, said, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT])
def test_interrupting_the_sweep_stops_its_trials(script, sent):
    """The sweep in a process of its own, interrupted while a trial sleeps for a minute."""
    code = (
        # A test run in the background of a shell ignores Ctrl-C, and its children inherit that.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path; from lwexp.runs.trial_runner import *; from lwexp.runs.trials import *\n"
        "folder = Path('sweep'); trials = make_trials(folder, [['lr=9'], ['lr=1']])\n"
        "try: run_trials([str(Path('script.py').resolve())], trials, Subprocess(), folder)\n"
        "except KeyboardInterrupt: raise SystemExit(130)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=script.parent, env=os.environ | {"PYTHONPATH": root()})
    log = script.parent / "sweep" / "trial-0.log"
    deadline = time.monotonic() + 60
    while not (log.exists() and "pid" in log.read_text()):
        assert time.monotonic() < deadline, "the trial did not start"
        time.sleep(0.1)
    trial_pid = int(log.read_text().split()[1])

    process.send_signal(sent)

    assert process.wait(timeout=60) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(trial_pid, 0)
    assert [trial.status for trial in read_trials(script.parent / "sweep")] == ["interrupted", "waiting"]
    assert (script.parent / "starts.txt").read_text().split() == ["lr=9"]


def root():
    import lwexp

    return str(Path(lwexp.__file__).parents[1])


def test_the_same_sweep_finds_its_folder_and_another_does_not(tmp_path):
    first = sweep_directory(tmp_path, "lr", [["lr=1"], ["lr=2"]])

    assert first == sweep_directory(tmp_path, "lr", [["lr=1"], ["lr=2"]])
    assert first != sweep_directory(tmp_path, "lr", [["lr=1"], ["lr=3"]])


def test_labels_are_what_differs(tmp_path):
    trials = make_trials(tmp_path, [["+sweeps=x", "seed=0", "lr=1"], ["+sweeps=x", "seed=0", "lr=2"]])

    assert [trial.label for trial in trials] == ["lr=1", "lr=2"]


def test_cores_are_shared_out_and_fewer_cores_than_slots_are_shared():
    assert [share_of_cores(slot, 2, [0, 1, 2, 3, 4]) for slot in (0, 1)] == [(0, 1), (2, 3, 4)]
    assert [share_of_cores(slot, 3, [0, 1]) for slot in (0, 1, 2)] == [(0, 1)] * 3


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("step 1\nerror: lr: too large\n", "lr: too large"),
        ("Traceback ...\n  File\nValueError: no\nbye\n", "ValueError: no"),
        ("torch.OutOfMemoryError: CUDA\n", "torch.OutOfMemoryError: CUDA"),
        ("something\nelse\n", "else"),
        ("", None),
    ],
)
def test_last_words(tmp_path, log, words):
    path = tmp_path / "log"
    path.write_text(log)

    assert last_words(path) == words


@pytest.mark.parametrize("key", ["number", "overrides", "log", "label", "status", "seconds", "runs", "job", "reason"])
def test_trials_with_a_value_of_another_type_cannot_be_read(key: str, tmp_path: Path) -> None:
    """A sweep's page, its status and its next start would each fail at such a value in their own way."""
    write_trials(tmp_path, make_trials(tmp_path, [["lr=1"], ["lr=2"]]))
    assert [trial.label for trial in read_trials(tmp_path)] == ["lr=1", "lr=2"]
    rows = json.loads((tmp_path / "trials.json").read_text())
    rows[1][key] = {"a": 1}
    (tmp_path / "trials.json").write_text(json.dumps(rows))
    assert read_trials(tmp_path) == []


def test_trials_of_a_later_version_can_be_read(tmp_path: Path) -> None:
    write_trials(tmp_path, make_trials(tmp_path, [["lr=1"]]))
    rows = json.loads((tmp_path / "trials.json").read_text())
    rows[0]["a_later_key"] = 3
    (tmp_path / "trials.json").write_text(json.dumps(rows))
    assert [trial.label for trial in read_trials(tmp_path)] == ["lr=1"]
