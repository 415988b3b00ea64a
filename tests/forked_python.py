"""What a forked command starts instead of Python: the server of tests/forked.py forks, and this ends as its child ends.

    python -IS tests/forked_python.py PYTHON SOCKET -m lwexp train ...

Options of Python itself, as ``-X importtime``, cannot be had from a fork, so with them it becomes Python. So it does
for submitit, which names a job's files by the number of the process that it has started; its jobs start this again.
"""

import array
import contextlib
import json
import os
import signal
import socket
import sys

KEEP_EXECUTABLE = """
import runpy, sys
sys.executable, *sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def main() -> None:
    python, address, *argv = sys.argv[1:]
    this = os.path.join(os.path.dirname(address), "python")
    if "-m" in argv and argv[argv.index("-m") + 1].startswith("submitit."):
        place = argv.index("-m")
        os.execv(python, [python, *argv[:place], "-c", KEEP_EXECUTABLE, this, *argv[place + 1 :]])
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-m", "-c")):
        os.execv(python, [python, *argv])
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # one that comes now is sent on below
    job = {"argv": argv, "cwd": os.getcwd(), "env": dict(os.environ), "executable": this}
    status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server, theirs:
        server.connect(address)
        fds = array.array("i", (theirs.fileno(), 1, 2, 0))
        server.sendmsg([json.dumps(job).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    child = int(status.recv(64))
    for number in FORWARDED:
        signal.signal(number, lambda number, _: send(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    code = int(status.recv(64))
    if code < 0:
        if -code in FORWARDED:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def send(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.kill(child, number)


if __name__ == "__main__":
    main()
