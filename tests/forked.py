"""Commands in processes of their own that do not import the libraries again: a server imports them once and forks.

    done = forked.run([sys.executable, "train.py", "experiment=smoke"], cwd=folder)      # as subprocess.run
    process = forked.Process([sys.executable, "-m", "lwexp", "train"], cwd=folder)       # as subprocess.Popen
    done = forked.run([sys.executable, "train.py", "-m", ...], also_its_own=True)        # the trials are forked as well

``python train.py`` spends 6 to 8 seconds of processor time in the imports of torch, lightning and litellm. A forked
child has a process id, an environment, a working folder, an exit code, stdout and stderr of its own, and ends as
Python ends; lwexp itself is imported in the child. A test of what a command imports, or of how its process is started,
takes ``subprocess``: here the libraries are in ``sys.modules`` before the command begins.
"""

from __future__ import annotations

import array
import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tests import ROOT

LIBRARIES = (
    "accelerate", "deepspeed.ops", "deepspeed.runtime.zero.muon.muon_optimizer", "hydra", "lightning.pytorch",
    "lightning.pytorch.strategies", "litellm", "matplotlib.figure", "scipy.stats", "torch.distributed",
    "transformers.generation", "transformers.models.glm.modeling_glm", "transformers.models.llama.modeling_llama",
)  # fmt: skip
# What lwexp sets before it imports them, and one thread, because OpenMP's threads do not survive a fork. Without the
# spin count, threads of a training that takes more wait for each other at full load.
SETTINGS = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "GOMP_SPINCOUNT": "10000",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",  # torch._inductor, which DeepSpeed imports, would start processes
    "DS_ACCELERATOR": "cpu",
}

SHARED = "TESTS_FORKED"  # names the folder of a server that is there already


class Process:
    """One command, seen from a test; stdout and stderr go to memory, so it never waits for a reader."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path = ROOT,
        env: Mapping[str, str] | None = None,
        also_its_own: bool = False,
    ) -> None:
        assert command[0] == sys.executable, f"only python is forked, not {command[0]}"
        self.args = list(command)
        self.returncode: int | None = None
        self._files = [os.memfd_create(name) for name in ("stdout", "stderr")]
        self._said: tuple[str, str] | None = None
        job = {"argv": self.args[1:], "cwd": str(cwd), "env": dict(os.environ if env is None else env)}
        job["executable"] = python() if also_its_own else sys.executable
        self._status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            _server().start(job, (theirs.fileno(), *self._files))
        self.pid = int(self._line())

    def poll(self) -> int | None:
        """The exit code, negative for a signal, or None while it runs."""
        return self._ended(0)

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Wait for the end; give stdout and stderr. A process that does not end is killed."""
        if self._ended(timeout) is None:
            self.send_signal(signal.SIGKILL)
            assert self._ended(10) is not None
            raise subprocess.TimeoutExpired(self.args, timeout, *self._read())
        return self._read()

    def wait(self, timeout: float = 300) -> int:
        """As that of ``subprocess.Popen``."""
        if self._ended(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        said = "".join(self._read())
        assert self.returncode is not None
        if self.returncode > 0:
            print(said)  # pytest shows it if the test fails; a caller that only waits sees nothing else
        return self.returncode

    def wait_for(self, words: str, timeout: float = 120) -> str:
        """Wait until stdout or stderr holds the words while it runs; give both so far."""
        deadline = time.monotonic() + timeout
        while words not in (said := "".join(self._so_far("replace"))):
            assert self.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.01)
        return said

    def _so_far(self, errors: str = "strict") -> tuple[str, str]:
        out, err = (os.pread(file, os.fstat(file).st_size, 0).decode(errors=errors) for file in self._files)
        return out, err

    def _read(self) -> tuple[str, str]:
        if self._said is None:
            self._said = self._so_far()
            for file in self._files:
                os.close(file)
        return self._said

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def _ended(self, timeout: float) -> int | None:
        if self.returncode is None:
            self._status.settimeout(timeout)
            try:
                self.returncode = int(self._line())
                self._status.close()
            except (BlockingIOError, TimeoutError):
                return None
        return self.returncode

    def _line(self) -> str:
        """One number, sent whole."""
        return self._status.recv(64).decode()


def run(
    command: Sequence[str],
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
    also_its_own: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Args:
        command: ``[sys.executable, ...]``, followed by a script, ``-m`` and a module, or ``-c`` and code.
        cwd: Its working folder.
        env: Its whole environment; that of the tests without.
        timeout: Seconds after which it is killed.
        also_its_own: Fork also the processes that it starts with ``sys.executable``; not for a test that kills one.

    Raises:
        subprocess.TimeoutExpired: it was killed.
    """
    process = Process(command, cwd=cwd, env=env, also_its_own=also_its_own)
    out, err = process.communicate(timeout)
    assert process.returncode is not None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


class _Door:
    """The way to a server, whose folder holds its address and a ``python``."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.address = os.path.join(folder, "socket")
        self.python = os.path.join(folder, "python")  # starts tests/forked_python.py instead of Python

    def start(self, job: dict[str, Any], files: tuple[int, ...]) -> None:
        """Send a job with its status socket, stdout and stderr."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
            server.connect(self.address)
            fds = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
            server.sendmsg([json.dumps(job).encode()], fds)


class _Server(_Door):
    def __init__(self) -> None:
        super().__init__(tempfile.mkdtemp(prefix="forked-"))
        script = [sys.executable, "-IS", str(ROOT / "tests" / "forked_python.py"), sys.executable, self.address]
        Path(self.python).write_text(f'#!/bin/sh\nexec {shlex.join(script)} "$@"\n')
        os.chmod(self.python, 0o700)
        self._life, theirs = socket.socketpair()
        with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
            door.bind(self.address)
            door.listen(64)
            fds = [theirs.fileno(), door.fileno()]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forked", *map(str, fds)], cwd=ROOT, env=os.environ | SETTINGS,
                pass_fds=fds, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        atexit.register(self.close)

    def close(self) -> None:
        self._life.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:  # a process that a test has forked holds the socket too
            self._process.kill()
            self._process.wait()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


@functools.cache
def _server() -> _Door:
    """One for each process that runs tests, or that of the process that started it."""
    return _Door(os.environ[SHARED]) if SHARED in os.environ else _Server()


def share() -> None:
    """Let the processes that this one starts use its server, so that the libraries are imported once for all."""
    os.environ[SHARED] = _server().folder


def python() -> str:
    """What to start instead of ``sys.executable``, so that a process is forked; see tests/forked_python.py."""
    return _server().python


def serve(life: socket.socket, door: socket.socket) -> dict[str, Any]:
    """Fork a child for each job, which comes by a connection of its own; returns only in such a child.

    Ends when the other end of ``life`` is closed. Between the server and the child stands a process that waits for
    it, so that several can run at a time.
    """
    assert threading.active_count() == len(os.listdir("/proc/self/task")) == 1, "a fork would lose threads"
    gc.freeze()
    waiting: set[int] = set()
    while True:
        if life in select.select([life, door], [], [])[0]:
            os._exit(0)
        with door.accept()[0] as caller:
            message, fds, _, _ = socket.recv_fds(caller, 1_000_000, 4)
        if not message:
            continue
        waiting = {child for child in waiting if os.waitpid(child, os.WNOHANG) == (0, 0)}
        if child := os.fork():
            waiting.add(child)
            for fd in fds:
                os.close(fd)
            continue
        life.close()
        door.close()
        status, out, err, *stdin = fds
        if child := os.fork():
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for standard in (1, 2):  # what reads the output of the tests does not wait for this process
                os.dup2(nowhere, standard)
            os.write(status, str(child).encode())
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os.write(status, str(code).encode())
            os._exit(0)
        os.close(status)
        for fd, standard in ((out, 1), (err, 2), *((fd, 0) for fd in stdin)):
            os.dup2(fd, standard)
            os.close(fd)
        return dict(json.loads(message))


def become(job: dict[str, Any]) -> None:
    """Be the Python that the job asks for."""
    argv, env = job["argv"], job["env"]
    ours = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(env)
    rest = [folder for folder in sys.path[1:] if folder not in ours]
    theirs = [os.path.abspath(folder) for folder in env.get("PYTHONPATH", "").split(os.pathsep) if folder]
    first = {"-m": os.getcwd(), "-c": ""}.get(argv[0], os.path.dirname(os.path.abspath(argv[0])))
    sys.path[:] = [first, *theirs, *rest]
    sys.executable = job["executable"]
    sys.orig_argv = [sys.executable, *argv]
    sys.dont_write_bytecode = bool(env.get("PYTHONDONTWRITEBYTECODE"))
    importlib.invalidate_caches()
    if argv[0] == "-m":
        sys.argv = argv[1:]
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    elif argv[0] == "-c":
        sys.argv = ["-c", *argv[2:]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(argv[1], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = argv
        runpy.run_path(argv[0], run_name="__main__")


def be_and_end(job: dict[str, Any]) -> NoReturn:
    """End as Python does, but do not tear down the modules: with all of them loaded that takes a second."""
    code, was_interrupted = 1, False
    try:
        become(job)
        code = 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            code = end.code or 0
        else:
            print(end.code, file=sys.stderr)
    except BaseException as error:
        traceback.print_exc()
        was_interrupted = isinstance(error, KeyboardInterrupt)
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        if was_interrupted:  # Python ends by the signal itself, so that a shell sees it
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(code & 0xFF)


if __name__ == "__main__":
    sockets = [socket.socket(fileno=int(fd)) for fd in sys.argv[1:]]
    select.select(sockets, [], [])  # the imports, too, wait for the first job
    gc.disable()  # imports leave nothing to collect
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.enable()
    be_and_end(serve(*sockets))
