"""What a sweep does when SLURM's commands do not answer, refuse, or say that a job is gone. No SLURM is needed."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from lwexp.commands import sweep as sweep_command
from lwexp.config.sweep_keys import Slurm, Subprocess
from lwexp.recipe import sweep_jobs
from lwexp.records import LwexpError, stop_handlers_restored
from lwexp.runs import trial_runner
from lwexp.runs.jobs import job_process, runner
from lwexp.runs.jobs.batch_script import batch_script
from lwexp.runs.jobs.job_process import JobFile, exit_path, job_path
from lwexp.runs.trial_process import TrialProcess
from lwexp.runs.trial_runner import run_trials
from lwexp.runs.trials import Trial, make_trials, read_trials, sweep_lock, write_trials
from tests.runs.slurm_commands import Answer, Commands


def statuses(folder: Path) -> list[str]:
    return [trial.status for trial in read_trials(folder)]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "it is not on this machine, or took over 60 s"),
        ((1, "", "Unable to contact slurm controller\n"), "Unable"),
    ],
)
def test_a_restart_submits_nothing_while_squeue_does_not_answer(
    commands: Commands, submitted: Path, answer: Answer, words: str
) -> None:
    commands.answers["squeue"] = answer
    before = (submitted / "trials.json").read_text()
    with pytest.raises(LwexpError, match=f"^squeue does not answer: {words}.*; try again$"):
        run_trials(["script.py"], make_trials(submitted, [["lr=1"], ["lr=2"]]), Slurm(detach=True), submitted)
    assert "sbatch" not in commands.asked
    assert (submitted / "trials.json").read_text() == before


def test_a_restart_submits_a_job_that_is_gone_and_keeps_a_live_one(commands: Commands, submitted: Path) -> None:
    commands.answers["squeue"] = (0, "17|RUNNING|None\n", "")
    again = make_trials(submitted, [["lr=1"], ["lr=2"]])
    run_trials(["script.py"], again, Slurm(detach=True), submitted)
    assert [trial.job for trial in again] == ["17", "99"]


@pytest.mark.parametrize("answer", [None, (1, "", "scancel: error: Access denied\n")])
def test_trials_whose_cancellation_failed_stay_running(commands: Commands, submitted: Path, answer: Answer) -> None:
    commands.answers |= {"squeue": (0, "17|RUNNING|None\n18|PENDING|Priority\n", ""), "scancel": answer}
    with pytest.raises(LwexpError, match=r"^scancel did not cancel jobs 17, 18: "):
        sweep_jobs.cancel(submitted)
    assert statuses(submitted) == ["running", "running"]

    commands.answers["scancel"] = (0, "", "")
    sweep_jobs.cancel(submitted)
    assert statuses(submitted) == ["interrupted", "interrupted"]


@pytest.mark.parametrize(("answer", "status"), [(None, "running"), ((0, "", ""), "interrupted")])
def test_ctrl_c_marks_only_jobs_that_were_cancelled(
    commands: Commands, submitted: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer, status: str
) -> None:
    def ctrl_c(_: float) -> None:
        raise KeyboardInterrupt

    commands.answers |= {"squeue": (0, "17|RUNNING|None\n18|RUNNING|None\n", ""), "scancel": answer}
    monkeypatch.setattr(runner, "_wants_to_cancel", lambda _: True)
    monkeypatch.setattr("lwexp.runs.jobs.runner.time.sleep", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        trial_runner.watch_jobs(read_trials(submitted), submitted, Slurm())
    assert statuses(submitted) == [status, status]


def test_ctrl_c_before_any_job_is_submitted_speaks_of_no_jobs(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(logging.getLogger("lwexp"), "propagate", True)
    monkeypatch.setattr("lwexp.runs.jobs.runner.SlurmJobs.submit", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        run_trials(["train.py"], make_trials(tmp_path, [["lr=1"]]), Slurm(), tmp_path)
    assert not caplog.records
    assert statuses(tmp_path) == ["waiting"]


def test_status_settles_a_job_that_ended_without_a_result_and_writes_it(commands: Commands, submitted: Path) -> None:
    """Job 17 has failed, job 18 is forgotten. Each status is a new process, so it cannot wait for files."""
    commands.answers["squeue"] = (0, "17|NODE_FAIL|NodeDown\n", "")
    assert [trial.status for trial in sweep_jobs.status(submitted)] == ["failed", "failed"]
    first, second = read_trials(submitted)
    assert (first.status, first.reason) == ("failed", "NODE_FAIL (NodeDown), job 17")
    assert (second.status, second.reason) == ("failed", "SLURM no longer knows job 18")


def test_a_cancelled_job_does_not_name_the_reason_for_which_it_waited(commands: Commands, submitted: Path) -> None:
    """sacct keeps it. Job 17 waited for its begin time; job 18 ran."""
    commands.answers["squeue"] = (0, "", "")
    commands.answers["sacct"] = (0, "17|CANCELLED by 1000|BeginTime\n18|FAILED|NonZeroExitCode\n", "")
    sweep_jobs.status(submitted)
    assert [trial.reason for trial in read_trials(submitted)] == [
        "CANCELLED, job 17",
        "FAILED (NonZeroExitCode), job 18",
    ]


def test_status_takes_results_and_waits_for_those_of_a_completed_job(commands: Commands, submitted: Path) -> None:
    first, _ = read_trials(submitted)
    exit_path(first.log).write_text(json.dumps({"exit_code": 0, "seconds": 5.0}))
    commands.answers["squeue"] = (0, "17|COMPLETED|None\n18|COMPLETED|None\n", "")
    sweep_jobs.status(submitted)
    assert statuses(submitted) == ["finished", "running"]


def test_status_keeps_what_the_sweep_has_written_meanwhile(
    commands: Commands, submitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While squeue answers, the sweep's own process submits the second trial again."""
    settle: Callable[[list[Trial]], list[Trial]] = sweep_jobs._settle_ended

    def slowly(trials: list[Trial]) -> list[Trial]:
        ended = settle(trials)
        now = read_trials(submitted)
        now[1].job = "21"
        write_trials(submitted, now)
        return ended

    monkeypatch.setattr(sweep_jobs, "_settle_ended", slowly)
    commands.answers["squeue"] = (0, "17|FAILED|None\n18|FAILED|None\n", "")
    sweep_jobs.status(submitted)
    assert [(trial.job, trial.status) for trial in read_trials(submitted)] == [("17", "failed"), ("21", "running")]


def test_wait_records_what_has_ended_compares_it_and_names_what_was_never_submitted(
    commands: Commands, submitted: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Job 17 has finished, and the second trial was never submitted."""
    compared: list[int] = []
    monkeypatch.setattr(sweep_jobs, "compare_trials", lambda trials, _: compared.append(len(trials)))
    first, second = read_trials(submitted)
    second.status, second.job = "waiting", None
    write_trials(submitted, [first, second])
    exit_path(first.log).write_text(json.dumps({"exit_code": 0, "seconds": 5.0}))
    commands.answers["squeue"] = (0, "17|COMPLETED|None\n", "")
    assert sweep_command.main(["wait", str(submitted)]) == 0
    assert (statuses(submitted), compared) == (["finished", "waiting"], [2])
    assert "1 trial not submitted; repeat the sweep's command" in caplog.text


def test_the_command_ends_with_1_if_a_trial_has_failed(commands: Commands, submitted: Path) -> None:
    commands.answers["squeue"] = (0, "17|NODE_FAIL|NodeDown\n18|RUNNING|None\n", "")
    assert sweep_command.main(["status", str(submitted)]) == 1


@pytest.mark.parametrize("action", ["status", "wait", "cancel"])
def test_a_folder_without_jobs_is_refused_in_one_line(tmp_path: Path, action: str) -> None:
    with pytest.raises(LwexpError, match=r"not a sweep's folder \(it has no trials.json that can be read\)"):
        sweep_command.main([action, str(tmp_path / "nowhere")])
    write_trials(tmp_path, make_trials(tmp_path, [["lr=1"]]))
    with pytest.raises(LwexpError, match="none of its trials was submitted to SLURM"):
        sweep_command.main([action, str(tmp_path)])


def test_an_option_of_0_is_passed_to_sbatch_and_null_leaves_it_out() -> None:
    options = {"mem": 0, "nice": 0, "gpus_per_node": None, "requeue": False, "exclusive": True}
    script = batch_script(Slurm(gpus=8), "name", Path("job.json"), Path("log"), options).splitlines()
    assert {"#SBATCH --mem=0", "#SBATCH --nice=0", "#SBATCH --exclusive"} <= set(script)
    assert not [line for line in script if "--gpus-per-node" in line or "--requeue" in line]


def test_a_local_trial_inside_an_allocation_has_its_own_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NODEID", "1")
    log = tmp_path / "trial-0.log"
    for nodes, wanted in ((1, log), (2, tmp_path / "trial-0.node1.log")):
        child = TrialProcess(("-c", "print(17)"), str(log), str(tmp_path / "trial-0.runs"), nodes=nodes).start()
        assert child.wait() == 0
        assert wanted.read_text() == "17\n"


def test_a_requeued_job_forgets_the_exit_code_of_its_earlier_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Node 1 lost its power, node 0 ended with 1, and SLURM has queued the job again. Node 1 may now end first."""
    monkeypatch.setenv("SLURM_NODEID", "0")
    log = tmp_path / "trial-0.log"
    exit_path(str(log)).write_text(json.dumps({"exit_code": 1, "seconds": 5.0}))
    command = ("-c", f"import pathlib; print(pathlib.Path({str(exit_path(str(log)))!r}).exists())")
    job_file = job_path(str(log))
    JobFile(TrialProcess(command, str(log), str(tmp_path / "trial-0.runs")), 150, 3, "USR2@150").write(job_file)
    with stop_handlers_restored():
        assert job_process.run_job(job_file) == 0
    assert log.read_text().split() == ["False"]
    assert json.loads(exit_path(str(log)).read_text())["exit_code"] == 0


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"process": 3}', '{"process": {"command": 3}}', "\xc4"])
def test_a_damaged_job_file_is_one_line_and_an_exit_file_no_ending(tmp_path: Path, content: str) -> None:
    log = str(tmp_path / "trial-0.log")
    job_path(log).write_text(content, encoding="latin-1")
    with pytest.raises(LwexpError, match=r"trial-0\.job\.json cannot be read as a trial's job .*cancel the job"):
        JobFile.read(job_path(log))
    exit_path(log).write_text(content, encoding="latin-1")
    assert job_process.read_endings(log, nodes=1) is None


def test_a_damaged_job_file_submits_nothing_until_it_is_deleted_as_told(commands: Commands, submitted: Path) -> None:
    commands.answers["squeue"] = (0, "17|CANCELLED|None\n18|RUNNING|None\n", "")
    file = job_path(str(submitted / "trial-0.log"))
    file.write_text("[]")
    again = make_trials(submitted, [["lr=1"], ["lr=2"]])
    with pytest.raises(LwexpError, match=r"trial-0\.job\.json cannot be read .* delete the file, then start the sweep"):
        run_trials(["script.py"], again, Slurm(detach=True), submitted)
    assert "sbatch" not in commands.asked
    file.unlink()
    again = make_trials(submitted, [["lr=1"], ["lr=2"]])
    run_trials(["script.py"], again, Slurm(detach=True), submitted)
    assert [trial.job for trial in again] == ["99", "18"]


def test_a_job_without_its_file_ends_in_slurms_words(commands: Commands, submitted: Path) -> None:
    commands.answers["squeue"] = (0, "17|TIMEOUT|None\n18|RUNNING|None\n", "")
    job_path(str(submitted / "trial-0.log")).unlink()
    failed, running = sweep_jobs.status(submitted)
    assert (failed.status, failed.reason) == ("failed", "TIMEOUT, job 17")
    assert running.status == "running"


def test_a_local_trial_of_a_worker_that_srun_has_started_is_no_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As rank 1 of two it would train nothing. A trial of two nodes keeps what tells its nodes apart."""
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_NODEID", "1")
    command = ("-c", "import os; print(os.environ.get('SLURM_PROCID'))")
    for nodes, log, wanted in ((1, "trial-0.log", "None"), (2, "trial-0.node1.log", "1")):
        child = TrialProcess(command, str(tmp_path / "trial-0.log"), str(tmp_path / "trial-0.runs"), nodes=nodes)
        assert child.start().wait() == 0
        assert (tmp_path / log).read_text().split() == [wanted]


def test_a_second_process_is_refused_while_one_watches_the_sweep(commands: Commands, submitted: Path) -> None:
    commands.answers["squeue"] = (0, "", "")
    with sweep_lock(submitted), pytest.raises(LwexpError, match=f"^{submitted} is in use by another process"):
        sweep_jobs.wait(submitted)
    assert statuses(submitted) == ["running", "running"]
    sweep_jobs.status(submitted)  # needs no lock: it only reads, and settles what has ended


def test_several_nodes_are_refused_on_this_machine() -> None:
    with pytest.raises(
        LwexpError, match=r"^hydra.launcher.nodes=2: this machine is one node; add hydra/launcher=slurm$"
    ):
        Subprocess(nodes=2).check()
    Slurm(nodes=2).check()
    Subprocess(nodes=1).check()
