"""What a sweep does while SLURM's commands do not answer at all: it says so, goes on asking, and ends after a while."""

import json
import sys
from pathlib import Path

import pytest

from lwexp import commands as command_line
from lwexp.config.sweep_keys import Slurm, Subprocess
from lwexp.recipe import sweep_jobs
from lwexp.recipe.sweep import Sweep
from lwexp.records import LwexpError
from lwexp.runs.jobs import slurm_queue
from lwexp.runs.trial_runner import run_setup, run_trials, watch_jobs
from lwexp.runs.trials import make_trials, read_trials
from tests.runs.slurm_commands import (
    LIVE,
    UNREACHABLE,
    Answer,
    Clock,
    Commands,
    answers,
    finish,
    states,
    submitted_sweep,
)

GONE = (
    r"^SLURM has not answered within hydra.launcher.unanswered_minutes \(squeue: slurm_load_jobs error: "
    r"Unable to contact slurm controller \(connect failure\)\); no job was cancelled, run "
)


@pytest.mark.parametrize("first", [LIVE, UNREACHABLE], ids=["goes away", "was never there"])
def test_a_sweep_without_slurm_says_so_and_ends_after_the_time_allowed(
    commands: Commands, submitted: Path, clock: Clock, caplog: pytest.LogCaptureFixture, first: Answer
) -> None:
    commands.answers["squeue"] = first
    clock.events[60] = answers(commands, squeue=UNREACHABLE)
    with pytest.raises(LwexpError, match=f"{GONE}lwexp sweep wait {submitted} to go on$"):
        watch_jobs(read_trials(submitted), submitted, Slurm())
    assert 30 * 60 <= clock.now <= 30 * 60 + 90
    assert "scancel" not in commands.asked
    assert states(submitted) == [("17", "running", None), ("18", "running", None)]
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [
        "squeue does not answer: slurm_load_jobs error: Unable to contact slurm controller (connect failure); it is "
        "asked again for hydra.launcher.unanswered_minutes=30, and running jobs go on without it"
    ]


@pytest.mark.parametrize(
    ("noted", "minutes"),
    [
        ('{"name": "s", "unanswered_minutes": 90}', 90),
        ('{"name": "s"}', 30),
        ('{"name": "s", "unanswered_minutes": 0}', 30),
        (None, 30),
    ],
    ids=["noted", "of an earlier version", "damaged", "none"],
)
def test_a_process_that_waits_allows_what_the_sweep_has_noted(
    commands: Commands, submitted: Path, clock: Clock, noted: str | None, minutes: int
) -> None:
    if noted is not None:
        (submitted / "sweep.json").write_text(noted)
    commands.answers["squeue"] = UNREACHABLE
    with pytest.raises(LwexpError, match=GONE):
        sweep_jobs.wait(submitted)
    assert minutes * 60 <= clock.now <= minutes * 60 + 90


@pytest.mark.parametrize(("where", "noted"), [(Slurm(unanswered_minutes=90), 90), (Subprocess(), None)])
def test_a_sweep_notes_how_long_slurm_may_be_silent(tmp_path: Path, where: Subprocess, noted: int | None) -> None:
    Sweep(["-m", "lwexp", "train"], tmp_path, "s", where).note(tmp_path, ["lr"])
    assert json.loads((tmp_path / "sweep.json").read_text())["unanswered_minutes"] == noted


def test_a_folder_with_a_space_is_quoted(commands: Commands, tmp_path: Path, clock: Clock) -> None:
    folder = submitted_sweep(tmp_path / "my sweep")
    commands.answers["squeue"] = None
    with pytest.raises(LwexpError, match=f"run lwexp sweep wait '{folder}' to go on$"):
        watch_jobs(read_trials(folder), folder, Slurm())


def test_one_missed_call_is_not_worth_a_line(
    commands: Commands, submitted: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    commands.answers["squeue"] = None
    clock.events = {15: answers(commands, squeue=LIVE), 60: lambda: finish(submitted, 0, 1)}
    watch_jobs(read_trials(submitted), submitted, Slurm())
    assert "answer" not in caplog.text


def test_the_time_starts_again_when_slurm_has_answered(
    commands: Commands, submitted: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Twice 25 minutes without an answer."""
    caplog.set_level("INFO", "lwexp")
    commands.answers["squeue"] = UNREACHABLE
    clock.events = {
        1500: answers(commands, squeue=LIVE),
        1530: answers(commands, squeue=None),
        3030: answers(commands, squeue=LIVE),
        3100: lambda: finish(submitted, 0, 1),
    }
    watch_jobs(read_trials(submitted), submitted, Slurm())
    assert [status for _, status, _ in states(submitted)] == ["finished", "finished"]
    assert caplog.text.count("squeue answers again, after 25 minutes") == 2


def test_trials_that_end_meanwhile_are_seen_by_their_files(commands: Commands, submitted: Path, clock: Clock) -> None:
    commands.answers["squeue"] = UNREACHABLE
    clock.events[600] = lambda: finish(submitted, 0, 1)
    watch_jobs(read_trials(submitted), submitted, Slurm())
    assert clock.now < 700
    assert [status for _, status, _ in states(submitted)] == ["finished", "finished"]


def test_a_job_is_not_given_up_on_what_slurm_said_before_it_fell_silent(
    commands: Commands, submitted: Path, clock: Clock
) -> None:
    """A node fails, SLURM queues the job again, and squeue misses the calls in between."""
    commands.answers["squeue"] = (0, "17|NODE_FAIL|NodeDown\n18|RUNNING|None\n", "")
    clock.events = {
        10: answers(commands, squeue=None),
        600: answers(commands, squeue=(0, "17|RUNNING|None\n18|RUNNING|None\n", "")),
        700: lambda: finish(submitted, 0, 1),
    }
    watch_jobs(read_trials(submitted), submitted, Slurm())
    assert states(submitted) == [("17", "finished", None), ("18", "finished", None)]


@pytest.mark.parametrize("sbatch", [UNREACHABLE, None], ids=["no controller", "no answer"])
def test_a_trial_that_cannot_be_submitted_waits_for_slurm_and_has_not_failed(
    commands: Commands, tmp_path: Path, clock: Clock, sbatch: Answer
) -> None:
    """SLURM goes away while the first trial runs. The second one's turn comes, and SLURM is back an hour later."""
    folder = tmp_path / "sweep"
    trials = make_trials(folder, [["lr=1"], ["lr=2"]])
    commands.answers |= {"sbatch": (0, "17\n", ""), "squeue": LIVE}
    clock.events = {
        60: answers(commands, sbatch=sbatch, squeue=UNREACHABLE),
        90: lambda: finish(folder, 0),
        300: lambda: states_then.extend(states(folder)),
        3600: answers(commands, sbatch=(0, "18\n", ""), squeue=LIVE),
        3700: lambda: finish(folder, 1),
    }
    states_then: list[tuple[str | None, str, str | None]] = []
    run_trials(["script.py"], trials, Slurm(max_parallel_trials=1, unanswered_minutes=90), folder)
    assert states_then == [("17", "finished", None), (None, "waiting", None)]
    assert states(folder) == [("17", "finished", None), ("18", "finished", None)]


def test_a_sweep_that_cannot_submit_ends_after_the_time_allowed_and_names_its_own_command(
    commands: Commands, tmp_path: Path, clock: Clock
) -> None:
    """squeue answers all the time, so only sbatch is without its controller: it takes over 60 s."""
    folder = tmp_path / "sweep"
    trials = make_trials(folder, [["lr=1"], ["lr=2"]])
    commands.answers |= {"sbatch": (0, "17\n", ""), "squeue": LIVE}
    clock.events = {60: answers(commands, sbatch=None), 90: lambda: finish(folder, 0)}
    with pytest.raises(
        LwexpError, match=r"^SLURM has not answered within .* \(sbatch: it is .* run the same command to go on$"
    ):
        run_trials(["script.py"], trials, Slurm(max_parallel_trials=1), folder)
    assert states(folder) == [("17", "finished", None), (None, "waiting", None)]
    assert commands.asked.count("sbatch") < 200  # not at every look at the files


def test_a_job_that_sbatch_submitted_without_saying_so_is_found(
    commands: Commands, tmp_path: Path, clock: Clock
) -> None:
    """sbatch has sent the job and lost the connection. Two jobs would train in one run."""
    folder = tmp_path / "sweep"
    trials = make_trials(folder, [["lr=1"], ["lr=2"]])
    commands.answers |= {"sbatch": (0, "17\n", ""), "squeue": LIVE}
    clock.events = {
        64: answers(commands, sbatch=(1, "", "sbatch: error: Socket timed out on send/recv operation\n"), squeue=None),
        65: lambda: finish(folder, 0),
        300: answers(commands, sbatch=(0, "99\n", ""), squeue=LIVE),
        400: lambda: finish(folder, 1),
    }
    commands.answers["squeue %o"] = (0, f"18|RUNNING|{folder / 'trial-1.sbatch'}\n", "")
    run_trials(["script.py"], trials, Slurm(max_parallel_trials=1), folder)
    assert [job for job, *_ in states(folder)] == ["17", "18"]


@pytest.mark.parametrize("sbatch", [UNREACHABLE, None], ids=["no controller", "no sbatch"])
@pytest.mark.parametrize("detach", [True, False])
def test_a_first_start_without_slurm_ends_at_once_and_no_trial_has_failed(
    commands: Commands, tmp_path: Path, clock: Clock, sbatch: Answer, detach: bool
) -> None:
    folder = tmp_path / "sweep"
    commands.answers |= {"sbatch": sbatch, "squeue": sbatch}
    with pytest.raises(LwexpError, match=r"^sbatch does not answer: .*; try again$"):
        run_trials(["script.py"], make_trials(folder, [["lr=1"], ["lr=2"]]), Slurm(detach=detach), folder)
    assert clock.now == 0
    assert states(folder) == [(None, "waiting", None), (None, "waiting", None)]


def test_a_setup_command_without_slurm_ends_too(commands: Commands, tmp_path: Path, clock: Clock) -> None:
    commands.answers["squeue"] = UNREACHABLE
    with pytest.raises(LwexpError, match=f"{GONE}the same command to go on$"):
        run_setup(["script.py"], 1, tmp_path / "sweep", Slurm())


RUNNING: Answer = (0, "RUNNING\n", "")


@pytest.mark.parametrize("silent", ["squeue", "scontrol"])
def test_a_job_that_has_saved_is_queued_again_once_the_controller_answers(
    commands: Commands, clock: Clock, monkeypatch: pytest.MonkeyPatch, silent: str
) -> None:
    """A trial that is not queued again has failed. The controller is gone from the start, or from scontrol on."""
    monkeypatch.setattr(slurm_queue, "time", clock)
    commands.answers |= {"squeue": UNREACHABLE if silent == "squeue" else RUNNING, "scontrol": UNREACHABLE}
    clock.events = {
        5: answers(commands, squeue=UNREACHABLE),
        60: answers(commands, squeue=RUNNING, scontrol=(0, "", "")),
    }
    assert slurm_queue.requeue("17")
    assert clock.now == 60


@pytest.mark.parametrize(
    ("squeue", "scontrol", "seconds"),
    [
        (UNREACHABLE, None, 120),
        (RUNNING, (1, "", "Requested operation is presently disabled\n"), 5),
        ((0, "COMPLETING\n", ""), None, 0),
    ],
    ids=["no controller", "refused", "cancelled"],
)
def test_a_job_that_cannot_be_queued_again_does_not_wait_for_ever(
    commands: Commands, clock: Clock, monkeypatch: pytest.MonkeyPatch, squeue: Answer, scontrol: Answer, seconds: int
) -> None:
    monkeypatch.setattr(slurm_queue, "time", clock)
    commands.answers |= {"squeue": squeue, "scontrol": scontrol}
    assert not slurm_queue.requeue("17")
    assert clock.now == seconds


@pytest.mark.parametrize("answer", [UNREACHABLE, None], ids=["no controller", "no squeue"])
def test_status_without_slurm_is_one_line_and_changes_nothing(
    commands: Commands, submitted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    answer: Answer,
) -> None:  # fmt: skip
    commands.answers["squeue"] = answer
    before = (submitted / "trials.json").read_bytes()
    monkeypatch.setattr(sys, "argv", ["lwexp", "sweep", "status", str(submitted)])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("error: squeue does not answer: ")
    assert (submitted / "trials.json").read_bytes() == before


def test_a_time_that_would_end_every_sweep_is_refused() -> None:
    with pytest.raises(LwexpError, match=r"^hydra.launcher.unanswered_minutes=0: wanted 1 or more$"):
        Slurm(unanswered_minutes=0).check()
