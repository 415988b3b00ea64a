"""tests/forked.py: a forked command is a process like any other, whose libraries are there already."""

import os
import signal
import subprocess
import sys

import pytest

from tests import ROOT, forked
from tests.forked import LIBRARIES

SAID = "import os, sys; print(os.getcwd(), sys.argv, sys.orig_argv[1:], os.environ.get('MINE'), __name__)"


def python(*argv, **options):
    return forked.run([sys.executable, *argv], **options)


@pytest.mark.parametrize("start", [["-c", SAID, "a", "b"], ["said.py", "a"], ["-m", "said", "a"]])
def test_it_runs_as_python_runs_it(tmp_path, start):
    """Folder, arguments, environment and streams are those of ``subprocess``, also for what ends at exit."""
    (tmp_path / "said.py").write_text(f"{SAID}\nimport atexit, helper; atexit.register(print, 'bye', file=sys.stderr)")
    (tmp_path / "helper.py").write_text("")
    environment = {"MINE": "1", "PATH": os.environ["PATH"]}
    real = subprocess.run([sys.executable, *start], cwd=tmp_path, env=environment, capture_output=True, text=True)
    ours = python(*start, cwd=tmp_path, env=environment)
    assert real.returncode == 0, real.stderr
    assert (ours.returncode, ours.stdout, ours.stderr) == (0, real.stdout, real.stderr)
    assert ours.stdout.endswith(" 1 __main__\n")


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.exit(3)", "import sys; sys.exit('no')", "1/0", "raise KeyboardInterrupt",
        "import os; os.kill(os.getpid(), 9)", "import os; os._exit(7)", "import nothing_of_this_name",
    ],
)  # fmt: skip
def test_it_ends_as_python_ends(code):
    real = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    ours = python("-c", code)
    assert ours.returncode == real.returncode != 0
    assert ours.stderr.splitlines()[-1:] == real.stderr.splitlines()[-1:]


def test_two_run_at_a_time_and_a_signal_meets_one():
    stopped, other = (
        forked.Process([sys.executable, "-c", f"import time; time.sleep({seconds}); print('done')"])
        for seconds in (60, 0.2)
    )
    assert (stopped.poll(), other.communicate(), other.returncode) == (None, ("done\n", ""), 0)
    stopped.send_signal(signal.SIGTERM)
    assert stopped.communicate() == ("", "")
    assert stopped.returncode == -signal.SIGTERM


def test_one_that_does_not_end_is_killed():
    process = forked.Process([sys.executable, "-c", "import time; print('in', flush=True); time.sleep(60)"])
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.5)
    assert process.returncode == -signal.SIGKILL


def test_one_that_fails_while_only_its_end_is_waited_for_is_heard(capsys):
    assert forked.Process([sys.executable, "-c", "import sys; sys.exit('no space')"]).wait() == 1
    assert "no space" in capsys.readouterr().out


def test_libraries_are_there_and_lwexp_is_not():
    """lwexp is imported by each command itself, so that what it does while it is imported is tried."""
    done = python("-c", "import sys; print(*sys.modules)")
    assert set(LIBRARIES) <= set(done.stdout.split())
    assert not [name for name in done.stdout.split() if name.partition(".")[0] == "lwexp"]


STARTS = """
import subprocess, sys
done = subprocess.run([sys.executable, *sys.argv[1:]], capture_output=True, text=True)
print(done.returncode, done.stdout.strip(), done.stderr.strip().splitlines()[-1:])
"""


@pytest.mark.parametrize(
    "command",
    [
        ["-c", SAID, "a"], ["-X", "utf8", "-c", SAID], ["-c", "1/0"], ["-c", "import sys; sys.exit(3)"],
        ["-c", "import os; os.kill(os.getpid(), 9)"], ["-c", "import os; os.kill(os.getpid(), 15)"],
    ],
)  # fmt: skip
def test_what_a_forked_command_starts_is_the_same(command):
    real, ours = (python("-c", STARTS, *command, also_its_own=own) for own in (False, True))
    assert (ours.returncode, ours.stdout) == (real.returncode, real.stdout) != (0, "")


def test_what_a_forked_command_starts_is_forked():
    libraries = [python("-c", STARTS, "-c", "import sys; print('torch' in sys.modules)", also_its_own=own)
                 for own in (False, True)]  # fmt: skip
    assert [done.stdout for done in libraries] == ["0 False []\n", "0 True []\n"]


def test_a_signal_to_what_a_forked_command_started_reaches_it():
    code = "import os, signal, subprocess, sys, time; signal.signal(15, lambda *_: sys.exit(5)); print(1, flush=True)"
    starter = (
        f"import subprocess, sys; code = {code + '; time.sleep(60)'!r}\n"
        "child = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); child.terminate(); print(child.wait(20))"
    )
    assert python("-c", starter, also_its_own=True).stdout == "5\n"


def test_a_process_that_the_tests_start_can_fork_from_their_server(monkeypatch):
    """As a worker of xdist does."""
    monkeypatch.setenv(forked.SHARED, os.path.dirname(forked.python()))
    code = (
        "import sys; from tests import forked; print(forked.python()); "
        "print(forked.run([sys.executable, '-c', 'import sys; print(\"torch\" in sys.modules)']).stdout)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == [forked.python(), "True"], done.stderr
