"""Starting ranks: real processes, real signals; and what torchrun and SLURM tell a process about itself."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from lwexp.records import LwexpError
from lwexp.runs.launch import rank_environment, start_ranks
from lwexp.runs.ranks import RANK_VARIABLES, is_rank_zero, require_one_process

# A program that starts its ranks as train.py does. Each rank leaves a file; then it does what it is told.
PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
from lwexp.runs.launch import start_ranks
folder, behaviour = Path(sys.argv[1]), json.loads(sys.argv[2])
code = start_ranks(devices=2, num_nodes=1)
if code is not None:
    sys.exit(code)
rank = os.environ["RANK"]
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
(folder / f"{rank}.json").write_text(json.dumps({"pid": os.getpid(), **{name: os.environ[name] for name in names}}))
what = behaviour[rank]
if what == "save and leave":
    signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), os._exit(143)))
    time.sleep(60)
elif what == "count Ctrl-C":
    times = []
    signal.signal(signal.SIGINT, lambda *_: times.append(1))
    deadline = time.monotonic() + 30
    while not times and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    sys.exit(100 + len(times))
elif what == "wait":
    time.sleep(60)
elif what == "die":
    os.kill(os.getpid(), signal.SIGKILL)
else:
    sys.exit(what)
"""


def environment() -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "RANK", "WORLD"))}
    return {**mine, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def start(folder: Path, **behaviour: object) -> subprocess.Popen[str]:
    told = json.dumps({name.removeprefix("r"): what for name, what in behaviour.items()})
    command = [sys.executable, "-c", PROGRAM, str(folder), told]
    return subprocess.Popen(command, env=environment(), text=True)


def ranks_of(folder: Path) -> list[dict[str, str]]:
    deadline = time.monotonic() + 30
    while len(list(folder.glob("?.json"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


def test_each_rank_knows_who_it_is_and_the_run_ends_as_rank_0_does(tmp_path: Path) -> None:
    program = start(tmp_path, r0=0, r1=0)
    assert program.wait(30) == 0
    zero, one = ranks_of(tmp_path)
    assert (zero["RANK"], zero["LOCAL_RANK"], one["RANK"], one["LOCAL_RANK"]) == ("0", "0", "1", "1")
    assert zero["WORLD_SIZE"] == zero["LOCAL_WORLD_SIZE"] == "2"
    assert (zero["MASTER_ADDR"], zero["MASTER_PORT"]) == (one["MASTER_ADDR"], one["MASTER_PORT"])


def test_a_mistake_that_rank_0_reports_is_the_exit_code(tmp_path: Path) -> None:
    assert start(tmp_path, r0=2, r1=0).wait(30) == 2


def test_sigterm_goes_to_all_ranks_which_may_take_their_time(tmp_path: Path) -> None:
    program = start(tmp_path, r0="save and leave", r1="save and leave")
    ranks_of(tmp_path)
    program.terminate()
    assert program.wait(30) == 143


def test_kill_int_to_the_starter_reaches_each_rank_once(tmp_path: Path) -> None:
    program = start(tmp_path, r0="count Ctrl-C", r1="count Ctrl-C")
    ranks_of(tmp_path)
    program.send_signal(signal.SIGINT)
    assert program.wait(30) == 101


def test_ctrl_c_in_a_terminal_reaches_each_rank_once(tmp_path: Path) -> None:
    """The terminal sends it to the ranks itself, so the starter must not send it again."""
    terminal, end_of_program = pty.openpty()

    def own_the_terminal() -> None:
        os.setsid()
        fcntl.ioctl(end_of_program, termios.TIOCSCTTY, 0)

    behaviour = json.dumps({"0": "count Ctrl-C", "1": "count Ctrl-C"})
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), behaviour],
        env=environment(), stdin=end_of_program, preexec_fn=own_the_terminal,
    )  # fmt: skip
    ranks_of(tmp_path)
    os.write(terminal, b"\x03")
    assert program.wait(30) == 101


def test_a_rank_that_is_killed_ends_the_run_with_a_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = subprocess.Popen(
        [
            sys.executable, "-c", PROGRAM.replace("from lwexp.runs.launch import start_ranks",
            "from lwexp.runs import launch\nlaunch._GRACE_SECONDS = 0.5\nstart_ranks = launch.start_ranks"),
            str(tmp_path), json.dumps({"0": "wait", "1": "die"}),
        ],
        env=environment(), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    _, said = program.communicate(timeout=30)
    assert program.returncode == 1
    assert "rank 1 was killed by SIGKILL" in said
    assert not any(is_alive(rank["pid"]) for rank in ranks_of(tmp_path))


def test_kill_9_of_the_starter_leaves_no_rank_behind(tmp_path: Path) -> None:
    program = start(tmp_path, r0="wait", r1="wait")
    ranks = ranks_of(tmp_path)
    assert all(is_alive(rank["pid"]) for rank in ranks)
    program.send_signal(signal.SIGKILL)
    program.wait(30)
    deadline = time.monotonic() + 10
    while any(is_alive(rank["pid"]) for rank in ranks):
        assert time.monotonic() < deadline
        time.sleep(0.05)


TORCHRUN = {
    "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1",
}  # fmt: skip
SRUN = {
    "SLURM_PROCID": "9", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "16", "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "gpu[03-04]", "SLURM_JOB_ID": "1234567", "SLURM_NODEID": "1",
}  # fmt: skip


def test_what_torchrun_has_set_stays() -> None:
    assert rank_environment(TORCHRUN, devices=2) == {}


def test_srun_with_a_task_a_gpu_is_translated() -> None:
    assert rank_environment(SRUN, devices=8) == {
        "RANK": "9", "LOCAL_RANK": "1", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8", "MASTER_ADDR": "gpu03",
        "MASTER_PORT": "19567",
    }  # fmt: skip


def test_a_job_step_of_one_task_starts_its_own_ranks() -> None:
    assert rank_environment({**SRUN, "SLURM_STEP_NUM_TASKS": "2"}, devices=8) is None
    assert rank_environment({**SRUN, "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1"}, devices=8) is None
    assert rank_environment({}, devices=8) is None


def test_several_nodes_without_a_launcher_are_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*TORCHRUN, *SRUN):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LwexpError, match=r"hardware.num_nodes=2: .* torchrun --nnodes=2 --nproc_per_node=8"):
        start_ranks(devices=8, num_nodes=2)


def refuse_more_processes() -> None:
    assert is_rank_zero()
    require_one_process("a sweep")


@pytest.mark.parametrize("variable", ["RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"])
@pytest.mark.parametrize("value", ["x", "-1", "1.5", "\u0663"])
def test_a_variable_that_is_no_number_is_one_line(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RANK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    if variable == "WORLD_SIZE":
        monkeypatch.setenv("RANK", "0")
    with pytest.raises(LwexpError, match=f"^{variable}={value} in the environment: wanted a whole number, .*; unset"):
        refuse_more_processes()


def test_a_number_of_ranks_that_is_0_is_refused_as_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "0")
    with pytest.raises(LwexpError, match=r"^WORLD_SIZE=0 in the environment: wanted a whole number, at least 1, as"):
        require_one_process("a sweep")


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RANK_VARIABLES:
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("RANK")
    assert is_rank_zero()
    require_one_process("a sweep")


@pytest.mark.parametrize(
    ("started", "advice"),
    [
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "{rank}"}, "srun --nodes=1 --ntasks=1"),
        ({"WORLD_SIZE": "2", "RANK": "{rank}"}, "without torchrun"),
    ],
)
def test_a_command_of_one_process_is_refused_in_two_with_one_line(
    monkeypatch: pytest.MonkeyPatch, started: dict[str, str], advice: str
) -> None:
    """Both would ask and pay the teacher. Both end with exit code 2, and rank 0 alone says why."""
    from lwexp.commands import evaluate, generate
    from lwexp.config import compose

    for name in RANK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    require_one_process("lwexp generate")  # alone it works
    for command, name in ((generate, "lwexp generate"), (evaluate, "lwexp evaluate")):
        for rank in ("0", "1"):
            for variable, value in started.items():
                monkeypatch.setenv(variable, value.format(rank=rank))
            with pytest.raises(LwexpError if rank == "0" else SystemExit) as ended:
                command.run(compose("experiment=smoke"))
            said = f"{name} works in one process, but 2 were started; start one: {advice}"
            assert ended.value.args == ((said,) if rank == "0" else (2,))
