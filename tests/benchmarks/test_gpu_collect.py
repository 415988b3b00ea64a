"""The collector of the GPU benchmark: a finished case is kept even if the process that ran it crashes later."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import collect
from benchmarks.gpu.cases import STAGES, Stage
from tests import ROOT

# A child runs this first: sections come from the test's folder, and nothing imports torch.
START = """
import sys, types
import benchmarks.gpu
benchmarks.gpu.__path__.append({folder!r})
place = types.ModuleType("benchmarks.gpu.place")
class Place:
    is_cuda = False
    def clear(self): return 0.0
place.Place, place.find_place = Place, lambda quick: Place()
machine = types.ModuleType("benchmarks.gpu.machine")
machine.describe_machine = lambda place: {{"bench": "gpu", "device": "stand-in"}}
sys.modules.update({{"benchmarks.gpu.place": place, "benchmarks.gpu.machine": machine}})
"""
OK = "{'parity_ok': 1.0}"


@pytest.fixture
def sections(tmp_path, monkeypatch):
    """Writes sections of the stage "test": a name and what each case does, as statements."""
    (tmp_path / "sitecustomize.py").write_text(START.format(folder=str(tmp_path)))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")

    def write(**bodies):
        for section, cases in bodies.items():
            lines = ["import os, sys, time", "from benchmarks.gpu.cases import Case"]
            for name, body in cases.items():
                lines += [f"def {name}():", textwrap.indent(body, "    ")]
            found = ", ".join(f"Case('test', '{section}/{name}', {name})" for name in cases)
            lines += ["def cases(place, earlier):", f"    return [{found}]"]
            (tmp_path / f"{section}.py").write_text("\n".join(lines) + "\n")

    return write


def run(monkeypatch, capsys, *stages, deadline=30):
    """Exit code, and the lines that were printed."""
    monkeypatch.setattr(collect, "STAGES", stages)
    monkeypatch.setattr(sys, "argv", ["gpu", "--quick", "--deadline", str(deadline)])
    code = command.main()
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_section_stopped_in_the_middle_delivers_its_finished_cases(sections, monkeypatch, capsys):
    sections(middle={"first": f"return {OK}", "second": "time.sleep(60)", "third": f"return {OK}"})
    sections(after={"only": f"return {OK}"})
    start = time.monotonic()
    code, lines = run(monkeypatch, capsys, Stage("test", ("middle",), 3), Stage("test", ("after",), 30))

    assert time.monotonic() - start < 30
    assert code == 1
    assert [line["case"] for line in lines[1:-1]] == ["middle/first", "after/only"]
    assert lines[-1]["not_reached"] == ["middle/second", "middle/third"]
    assert lines[-1]["failed"] == []


def test_what_the_deadline_cuts_off_is_a_failure_only_where_the_stage_is_required(sections, monkeypatch, capsys):
    sections(ours={"only": f"return {OK}"}, rivals={"fast": f"return {OK}", "slow": "time.sleep(60)"})
    required = Stage("test", ("ours",), 30)
    code, lines = run(monkeypatch, capsys, required, Stage("test", ("rivals",), 99, is_required=False), deadline=3)
    assert code == 0
    assert lines[-1]["not_reached"] == ["rivals/slow"]
    assert lines[-1]["seconds"] == pytest.approx(3, abs=2)

    code, _ = run(monkeypatch, capsys, required, Stage("test", ("rivals",), 99), deadline=3)
    assert code == 1


def test_a_case_that_kills_its_process_costs_itself_alone(sections, monkeypatch, capsys):
    sections(
        hard={"first": f"return {OK}", "dies": "os.abort()", "last": f"return {OK}"},
        cuda={"breaks": "raise RuntimeError('CUDA error: an illegal memory access')", "next": f"return {OK}"},
    )  # fmt: skip
    code, lines = run(monkeypatch, capsys, Stage("test", ("hard", "cuda"), 60))
    by_name = {line["case"]: line for line in lines[1:-1]}

    assert code == 1
    assert list(by_name) == ["hard/first", "hard/dies", "hard/last", "cuda/breaks", "cuda/next"]
    assert by_name["hard/dies"]["error"].startswith(f"exit code {-signal.SIGABRT}")
    assert "illegal memory access" in by_name["cuda/breaks"]["error"]
    assert lines[-1]["failed"] == ["hard/dies", "cuda/breaks"]


def test_a_missing_module_and_missed_parity_are_named(sections, monkeypatch, capsys):
    sections(
        loud={"talks": f"print('noise'); os.system('echo noise'); return {OK}", "wrong": "return {'parity_ok': 0.0}"}
    )
    code, lines = run(monkeypatch, capsys, Stage("test", ("no_such_section", "loud"), 60))

    assert code == 1
    assert lines[0] == {"bench": "gpu", "device": "stand-in"}
    assert lines[1]["case"] == "no_such_section"
    assert "ModuleNotFoundError: No module named 'benchmarks.gpu.no_such_section'" in lines[1]["error"]
    assert lines[-1]["failed"] == ["no_such_section"]
    assert lines[-1]["parity_missed"] == ["loud/wrong"]


def test_lines_are_out_before_the_collector_itself_is_ended(sections, tmp_path):
    """As when a lease ends: what was printed by then is in the pipe and in the file, and no process stays."""
    sections(middle={"first": "return {'pid': os.getpid()}", "second": "time.sleep(60)"})
    out = tmp_path / "gpu.jsonl"
    program = (
        "import sys; from benchmarks.gpu import collect, __main__ as command; from benchmarks.gpu.cases import Stage\n"
        "collect.STAGES = (Stage('test', ('middle',), 60),)\n"
        f"sys.argv = ['gpu', '--quick', '--out', {str(out)!r}]; command.main()"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline() for _ in range(2)]
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM

    assert [json.loads(line).get("case") for line in printed] == [None, "middle/first"]
    assert out.read_text() == "".join(printed)
    with pytest.raises(ProcessLookupError):
        os.kill(json.loads(printed[1])["pid"], 0)


def test_stages_are_named_right_and_an_unknown_one_is_refused():
    assert [stage.name for stage in STAGES] == ["parity", "zero", "command", "ours", "rivals"]
    assert [stage.name for stage in STAGES if not stage.is_required] == ["rivals"]
    assert collect.named(["ours"]) == (STAGES[3],)
    with pytest.raises(SystemExit, match="no stage 'parities'; choose from: parity, zero"):
        collect.named(["parities"])
