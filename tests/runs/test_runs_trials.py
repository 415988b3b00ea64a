"""Trials of a sweep: real processes through submitit's local executor."""

import json
import os
import textwrap

import pytest

from lwexp.runs.trials import run_trials, sweep_directory

SCRIPT = """
import json, os, sys
print("trial says", *sys.argv[1:], "pid", os.getpid())
with open(os.environ["LWEXP_TRIAL_RECORD"], "a") as out:
    out.write(json.dumps("runs/of/" + sys.argv[1]) + "\\n")
if "lr=3" in sys.argv:
    os.kill(os.getpid(), 9)
sys.exit(2 if "lr=2" in sys.argv else 0)
"""


@pytest.mark.slow
def test_each_trial_is_its_own_process_and_a_failed_one_stops_nothing(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))

    trials = run_trials(
        script, [["lr=1"], ["lr=2"], ["lr=3"], ["lr=4"]],
        folder=tmp_path / "sweep", cluster="local", slots=2, gpus_per_trial=0, parameters={},
    )  # fmt: skip

    assert [trial.exit_code for trial in trials] == [0, 2, -9, 0]
    assert [trial.runs for trial in trials] == [[f"runs/of/lr={n}"] for n in (1, 2, 3, 4)]
    said = [(tmp_path / "sweep" / f"trial-{n}.log").read_text() for n in range(4)]
    pids = {line.rsplit("pid", 1)[1].strip() for line in said}
    assert len(pids) == 4
    assert str(os.getpid()) not in pids
    written = json.loads((tmp_path / "sweep" / "trials.json").read_text())
    assert [trial["exit_code"] for trial in written] == [0, 2, -9, 0]


def test_the_same_sweep_finds_its_folder_and_another_does_not(tmp_path):
    first = sweep_directory(tmp_path, "lr", [["lr=1"], ["lr=2"]])

    assert first == sweep_directory(tmp_path, "lr", [["lr=1"], ["lr=2"]])
    assert first != sweep_directory(tmp_path, "lr", [["lr=1"], ["lr=3"]])
