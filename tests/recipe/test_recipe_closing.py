"""A command ends with its run, what to look at there, and a command that works next."""

import pytest

from lwexp.config import compose
from lwexp.recipe.closing import end, next_command, training_command
from lwexp.recipe.sweep import compare_trials
from lwexp.runs import Run
from lwexp.runs.artifacts import Manifest, Parent
from lwexp.runs.trial_process import RECORD_VARIABLE
from lwexp.runs.trials import Trial
from tests.docs_commands import call_of


def a_run(stage: str, folder, status: str = "finished", **fields) -> Run:
    return Run(folder, Manifest(id=folder.name, name="long", stage=stage, status=status, **fields))


CASES = [
    ("data", "lwexp generate experiment=smoke", "lwexp train experiment=smoke"),
    ("data", "generate_data.py experiment=smoke name=a seed=1", "python train.py experiment=smoke"),
    ("import", "lwexp generate task=import source=my.jsonl root=here", "lwexp train root=here"),
    ("select", "lwexp generate task=select source=my.jsonl", "lwexp generate instructions=selected"),
    ("select", "lwexp generate task=select teacher=gpt4o", "lwexp generate teacher=gpt4o instructions=selected"),
    ("pairs", "lwexp generate task=pairs model=glm4", "lwexp train model=glm4 objective=dpo"),
    (
        "train",
        "lwexp train experiment=own_data mixture.path=my.jsonl",
        "lwexp evaluate experiment=own_data run=runs/a-1",
    ),
    ("train", "/clone/train.py experiment=miniature", "python evaluate.py experiment=miniature run=runs/a-1"),
    ("pairs", "lwexp generate experiment=miniature task=pairs", "lwexp train experiment=miniature_dpo"),
    ("pairs", "lwexp generate experiment=own_data task=pairs", "lwexp train objective=dpo"),
    ("evaluate", "lwexp evaluate run=a", "lwexp report runs --out compare.html"),
    ("evaluate", "evaluate.py run=a", "python -m lwexp.report runs --out compare.html"),
]


@pytest.mark.parametrize(("stage", "typed", "wanted"), CASES)
def test_the_next_command(stage, typed, wanted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a-1").mkdir(parents=True)
    words = typed.removeprefix("lwexp ").split()
    run = a_run(stage, (tmp_path / "runs" / "a-1").relative_to(tmp_path))
    assert next_command(run, words if words[0].endswith(".py") else ["/bin/lwexp " + words[0], *words[1:]]) == wanted


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("/bin/lwexp evaluate experiment=own_data run=mine", "lwexp train experiment=own_data"),
        ("/clone/evaluate.py model=glm4 bench=longbench_write", "python train.py model=glm4"),
        ("/bin/lwexp evaluate root=here judge=none", "lwexp train root=here model=tiny_glm"),
    ],
)
def test_the_command_that_trains_what_is_to_be_evaluated(typed, wanted):
    assert training_command(typed.split(), "tiny_glm") == wanted


@pytest.mark.parametrize("wanted", sorted({case[2] for case in CASES if "report" not in case[2]}))
def test_each_next_command_composes(wanted):
    call = call_of(wanted)
    assert call is not None
    stand_ins = ["mixture.path=my.jsonl"] if "own_data" in wanted else []
    compose(*call.words, *stand_ins)


def test_pairs_name_the_run_that_they_were_sampled_from(tmp_path):
    sft = tmp_path / "long-1"
    sft.mkdir()
    a_run("train", sft).manifest.write(sft)
    run = a_run("pairs", tmp_path / "pairs-1", parents=[Parent(id="long-1", path=str(sft))])
    assert next_command(run, ["lwexp"]) == f"lwexp train objective=dpo init_from={sft}"


def test_imported_pairs_are_for_dpo(tmp_path):
    (tmp_path / "pairs.jsonl").touch()
    assert next_command(a_run("import", tmp_path), ["lwexp"]) == "lwexp train objective=dpo"


@pytest.mark.parametrize("status", ["incomplete", "new"])
def test_an_unfinished_run_is_repeated_first(status, tmp_path):
    run = a_run("pairs", tmp_path, status=status)
    assert next_command(run, ["lwexp"]) == "the same command again, which asks for what is missing"


def test_the_end_names_what_is_there(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("sys.argv", ["lwexp train", "experiment=smoke"])
    caplog.set_level("INFO", "lwexp")
    (tmp_path / "training.html").touch()
    (tmp_path / "model").mkdir()
    end(a_run("train", tmp_path))
    assert caplog.messages == [
        f"finished: {tmp_path}",
        "look at: training.html, model",
        f"next: lwexp evaluate experiment=smoke run={tmp_path}",
    ]


def test_a_trial_of_a_sweep_says_only_where_it_is(tmp_path, caplog, monkeypatch):
    """Its sweep ends with one comparison of all trials."""
    monkeypatch.setenv(RECORD_VARIABLE, str(tmp_path / "record.json"))
    caplog.set_level("INFO", "lwexp")
    end(a_run("train", tmp_path))
    assert caplog.messages == [f"finished: {tmp_path}"]


@pytest.mark.parametrize(
    ("status", "last"),
    [
        ("finished", "next: lwexp report {folder} study=answer.md, for the answer as a Markdown page"),
        ("failed", "next: the same command again, after fixing what failed; it runs 1 trial"),
    ],
)
def test_a_sweep_says_what_comes_next(status, last, tmp_path, caplog, monkeypatch):
    evaluation = tmp_path / "eval-1"
    evaluation.mkdir()
    a_run("evaluate", evaluation).manifest.write(evaluation)
    monkeypatch.setattr("lwexp.report.compare", lambda paths, out: out)
    caplog.set_level("INFO", "lwexp")
    folder = tmp_path / "sweep-1"
    folder.mkdir()
    compare_trials([Trial(0, [], str(folder / "0.log"), status=status, runs=[str(evaluation)])], folder)
    assert caplog.messages[-1] == last.format(folder=folder)
