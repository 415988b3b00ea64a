"""Cases with a teacher that counts: whatever the number of processes, each prompt is asked once."""

import subprocess

from benchmarks.cluster.case import LWEXP, Case
from benchmarks.cluster.counting_server import CountingServer, counting_server

_SRUN = ("srun", "--time=5", "--immediate=240", "--nodes=2", "--ntasks=2")


def setup_paid_once(case: Case) -> None:
    """A sweep whose trials have two processes: its setup command asks the teacher in one process."""
    with counting_server() as server:
        command = f"lwexp generate root={{root}} {' '.join(_generate(server))}"
        words = [f"hydra.launcher.setup_commands=['{command}']", "hydra.launcher.processes=2", "root=runs/setup"]
        case.detached(
            "setup",
            *words,
            "hardware=cpu_zero3",
            "hydra.launcher.sbatch.begin=now+1hour",
            "hydra.launcher.setup_sbatch={begin: null}",
        )
        _asked_once(server)
        case.run("sweep", "cancel", case.sweep_folder("setup"))


def two_processes_paid_once(case: Case) -> None:
    """srun -n2 is refused and pays nothing. Two login processes at once: one works, and the other is refused."""
    with counting_server() as server:
        words = ["generate", "root=runs/twice", *_generate(server)]
        said = case.run(*words, under=_SRUN, code=2)
        assert said.count("error: lwexp generate works in one process, but 2 were started") == 1, said
        assert not server.seen

        output = {"stderr": subprocess.PIPE}
        with case.started(*LWEXP, *words, **output) as first, case.started(*LWEXP, *words, **output) as second:
            said = (first.communicate(timeout=300)[1] + second.communicate(timeout=300)[1]).decode()
        codes = sorted([first.returncode, second.returncode])
        assert codes == [0, 0] or (codes == [0, 2] and "is in use by another process" in said), (codes, said)
        _asked_once(server)

        before = server.seen.total()
        case.run(*words, under=(*_SRUN[:-2], "--nodes=1", "--ntasks=1"))
        assert server.seen.total() == before


def _generate(server: CountingServer) -> list[str]:
    return ["experiment=smoke", "teacher=local_openai", f"teacher.base_url={server.url}"]


def _asked_once(server: CountingServer) -> None:
    assert len(server.seen) >= 24, f"only {len(server.seen)} prompts reached the server"
    more = {prompt[-200:]: count for prompt, count in server.seen.items() if count > 1}
    assert not more, f"asked more than once: {more}"
