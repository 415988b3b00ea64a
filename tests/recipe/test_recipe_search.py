"""A search with Optuna over real processes: it finds the better settings and continues in a later start."""

import json
import textwrap
from contextlib import ExitStack, closing
from pathlib import Path

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hydra_plugins.lwexp.optuna_sweeper import distribution
from lwexp.config.sweep_keys import Subprocess
from lwexp.recipe import search
from lwexp.recipe.study import Study
from lwexp.recipe.sweep import Sweep
from lwexp.records import LwexpError, lock_file
from lwexp.runs.trials import Trial, read_trials

# Stands in for train.py: its score is best at x = 3, and x = 7 crashes.
SCRIPT = """
import json, os, pathlib, sys
x = int(sys.argv[1].removeprefix("x="))
with open("starts.txt", "a") as out:
    out.write(f"{x}\\n")
if x == 7:
    sys.exit("error: x: 7 is refused")
run = pathlib.Path(f"run-{x}").resolve()
run.mkdir(exist_ok=True)
(run / "manifest.json").write_text(json.dumps({"status": "finished", "stage": "other"}))
(run / "summary.json").write_text(json.dumps({"models": {"m": {"S_l": 100.0 - (x - 3) ** 2}}}))
with open(os.environ["LWEXP_TRIAL_RECORD"], "a") as out:
    out.write(json.dumps(str(run)) + "\\n")
"""


def stored_study(folder):
    journal = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    return optuna.load_study(study_name=folder.name, storage=optuna.storages.JournalStorage(journal))


@pytest.mark.slow
def test_a_search_finds_the_best_and_resumes(tmp_path, monkeypatch, capsys):
    """Six of ten values tried at random first (TPE starts so); a failed one is counted and never scored."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    sweep = Sweep([str(tmp_path / "script.py")], tmp_path, "x", Subprocess(max_parallel_trials=2, question="Which x?"))
    four = search.Search({"x": IntDistribution(0, 9)}, ["y=1"], 4, "S_l", "maximize", seed=0)

    search.run(sweep, four)
    first = (tmp_path / "starts.txt").read_text().split()
    search.run(sweep, four)
    assert (tmp_path / "starts.txt").read_text().split() == first, "a finished search runs nothing"
    search.run(sweep, four._replace(n_trials=6))

    (folder,) = tmp_path.glob("search-x-*")
    trials = read_trials(folder)
    assert [trial.number for trial in trials] == list(range(6))
    assert "trial 5 of 6 started" in capsys.readouterr().err
    study = stored_study(folder)
    told = {trial.params["x"]: trial.value for trial in study.trials}
    assert told == {x: None if x == 7 else 100.0 - (x - 3) ** 2 for x in told}
    assert json.loads((folder / "sweep.json").read_text())["varied"] == ["x"]


def test_a_trial_cut_off_with_its_process_is_asked_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    sweep = Sweep([str(tmp_path / "script.py")], tmp_path, "x", Subprocess())
    one = search.Search({"x": IntDistribution(0, 6)}, [], 1, "S_l", "maximize", seed=0)

    def dies(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(search, "run_trials", dies)
        with pytest.raises(KeyboardInterrupt):
            search.run(sweep, one)
    search.run(sweep, one)

    (folder,) = tmp_path.glob("search-x-*")
    cut, again = stored_study(folder).trials
    assert (cut.value, again.params) == (None, cut.params)
    assert again.value == 100.0 - (cut.params["x"] - 3) ** 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1,2,b", CategoricalDistribution(["1", "2", "b"])),
        ("a=choice(x,y)", CategoricalDistribution(["x", "y"])),
        ("a=range(1,8,2)", IntDistribution(1, 7, step=2)),  # 1, 3, 5, 7
        ("a=range(0,4)", IntDistribution(0, 3)),
        ("a=interval(0.5,2.0)", FloatDistribution(0.5, 2.0)),
        ("a=tag(log,interval(1.0e-6,1.0e-3))", FloatDistribution(1e-6, 1e-3, log=True)),
        ("a=int(tag(log,interval(1,64)))", IntDistribution(1, 64, log=True)),
    ],
)
def test_hydra_sweeps_become_distributions(text, expected):
    (override,) = OverridesParser.create().parse_overrides([text])

    assert distribution(override) == expected


REFUSES = """
import sys
sys.exit(print(f"error: x: {sys.argv[1]} is refused", file=sys.stderr) or 2)
"""


def test_a_mistake_that_all_trials_share_ends_the_search_after_three(tmp_path, monkeypatch):
    """Exit code 2 and the same words but for the trial's own numbers; a crash (code 1) would not count."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(REFUSES)
    wanted = search.Search({"x": IntDistribution(0, 99)}, [], 20, "S_l", "maximize", seed=0)

    message = r"the first 3 trials failed because of the same mistake.*is refused; correct it"
    with pytest.raises(LwexpError, match=message):
        search.run(Sweep([str(tmp_path / "script.py")], tmp_path, "x", Subprocess()), wanted)

    (folder,) = tmp_path.glob("search-x-*")
    assert len(read_trials(folder)) == 3


@pytest.mark.parametrize(
    ("metric", "summary", "message"),
    [
        (
            "S_1",
            {"S_l": 7.0, "S_l_interval": [6, 8]},
            r"metric=S_1: an evaluation has no such number; choose S_l$",
        ),
        ("seeds", {"seeds": [1]}, "metric=seeds: an evaluation has no such number; choose one of summary.json$"),
        ("S_l", None, r"metric=S_l: trial 1 was not evaluated, so it has no score; add evaluate_after=true"),
    ],
)
def test_a_metric_that_no_trial_would_have_ends_the_search_after_one(tmp_path, monkeypatch, metric, summary, message):
    """Before, all twenty trials were trained and none was scored."""
    monkeypatch.chdir(tmp_path)
    line = '(run / "summary.json").write_text('
    begin, _, rest = textwrap.dedent(SCRIPT).partition(line)
    after = rest.partition("\n")[2]
    told = "" if summary is None else f"{line}{json.dumps({'models': {'m': summary}})!r})\n"
    (tmp_path / "script.py").write_text(begin + told + after)
    wanted = search.Search({"x": IntDistribution(0, 6)}, [], 20, metric, "maximize", seed=0)
    with pytest.raises(LwexpError, match=message):
        search.run(Sweep([str(tmp_path / "script.py")], tmp_path, "x", Subprocess()), wanted)
    assert len((tmp_path / "starts.txt").read_text().split()) == 1


def test_a_score_that_an_evaluation_could_not_give_is_none(tmp_path):
    """S_q without a judge, for example; a failed trial has none either."""
    (tmp_path / "summary.json").write_text(json.dumps({"models": {"m": {"S_q": None, "S_l": 7.5}}}))
    trial = Trial(0, [], "log", status="finished", runs=[str(tmp_path / "gone"), str(tmp_path)])
    assert search.score_of(trial, "S_q") is None
    assert search.score_of(trial, "S_l") == 7.5
    trial.status = "failed"
    assert search.score_of(trial, "nonsense") is None


def test_trials_that_fail_in_different_ways_do_not_end_a_search(tmp_path, monkeypatch):
    """Negative control: the second trial crashes, so all five run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(
        "import pathlib, sys\n"
        "with open('starts', 'a') as out: out.write('.')\n"
        "second = pathlib.Path('starts').read_text() == '..'\n"
        "sys.exit(1 if second else print('error: x: is refused', file=sys.stderr) or 2)\n"
    )
    wanted = search.Search({"x": IntDistribution(0, 99)}, [], 5, "S_l", "maximize", seed=0)

    search.run(Sweep([str(tmp_path / "script.py")], tmp_path, "x", Subprocess()), wanted)

    assert (tmp_path / "starts").read_text() == "....."


LR = {"lr": FloatDistribution(1e-6, 1e-3, log=True), "depth": IntDistribution(1, 9)}


@pytest.fixture
def study_in():
    """Opens a study, and closes it when the test has ended."""
    with ExitStack() as opened:

        def study(folder, still_runs=lambda _: False):
            folder.mkdir(exist_ok=True)
            return opened.enter_context(closing(Study(folder, LR, "maximize", seed=0, still_runs=still_runs)))

        yield study


def test_a_resumed_search_proposes_what_an_uninterrupted_one_does(tmp_path, study_in):
    """14 trials, so that TPE's ten random ones are over. One search is reopened before each trial."""
    whole, parts = study_in(tmp_path / "search"), []
    settings = []
    for number in range(14):
        (trial,) = whole.ask(1, 14)
        whole.tell(trial, float(-number))
        settings.append(trial.params)
    (tmp_path / "other").mkdir()
    for number in range(14):
        with closing(study_in(tmp_path / "other" / "search")) as study:
            (trial,) = study.ask(1, 14)
            study.tell(trial, float(-number))
            parts.append(trial.params)
    assert parts == settings
    assert len({found["lr"] for found in settings}) == 14


def test_two_workers_share_a_study_and_take_over_a_lost_trial(tmp_path, study_in):
    """Four trials for two workers. The first is lost with its trial, whose settings the second then gets."""
    first, second = study_in(tmp_path / "search"), study_in(tmp_path / "search")
    (lost,) = first.ask(1, 4)
    others = second.ask(9, 4)
    assert len({found.params["lr"] for found in [lost, *others]}) == 4
    for trial in others:
        second.tell(trial, 1.0)
    assert second.ask(1, 4) == []  # the first still works on the last one
    first.close()
    (again,) = second.ask(1, 4)
    assert again.params == lost.params
    second.tell(again, 2.0)
    assert (second.ended, second.ask(1, 4)) == (4, [])


def test_a_trial_that_outlives_its_sweep_is_waited_for(tmp_path, study_in):
    running = {0}
    first = study_in(tmp_path / "search")
    first.ask(1, 1)
    first.close()
    second = study_in(tmp_path / "search", still_runs=lambda number: number in running)
    assert second.ask(1, 1) == []
    running.clear()
    assert len(second.ask(1, 1)) == 1


def test_a_second_process_on_a_study_is_refused_unless_both_share_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    sweep = Sweep([str(tmp_path / "script.py")], tmp_path, "x", Subprocess())
    wanted = search.Search({"x": IntDistribution(0, 6)}, [], 1, "S_l", "maximize", seed=0)
    search.run(sweep, wanted)
    (folder,) = tmp_path.glob("search-x-*")

    with closing(lock_file(folder / "lock", what=folder, shared=True)):
        with pytest.raises(LwexpError, match=r"is in use by another process.*hydra.sweeper.shared=true"):
            search.run(sweep, wanted)
        search.run(sweep, wanted._replace(shared=True))
    with closing(lock_file(folder / "lock", what=folder)), pytest.raises(LwexpError, match="is in use by another"):
        search.run(sweep, wanted._replace(shared=True))


def test_a_study_of_an_earlier_version_goes_on(tmp_path, study_in):
    """It was kept in SQLite."""
    folder = tmp_path / "search"
    folder.mkdir()
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.sqlite'}")
    old = optuna.create_study(study_name="search", storage=storage, direction="maximize")
    asked = old.ask(LR)
    old.tell(asked, 3.0)
    storage.remove_session()
    storage.engine.dispose()
    study = study_in(folder)
    assert (study.ended, study.best.params) == (1, asked.params)


def test_a_resumed_search_proposes_other_settings(tmp_path, monkeypatch):
    """Optuna's sampler starts again with each process: with the same seed it would propose trial 0 again."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    sweep = Sweep([str(tmp_path / "script.py")], tmp_path, "x", Subprocess())
    wanted = search.Search({"x": IntDistribution(0, 10**6)}, [], 1, "S_l", "maximize", seed=0)

    for n_trials in (1, 2, 3):
        search.run(sweep, wanted._replace(n_trials=n_trials))

    assert len(set((tmp_path / "starts.txt").read_text().split())) == 3


def test_a_script_that_is_not_there_is_a_failed_trial(tmp_path, monkeypatch):
    """Negative control of scoring: no run, no score."""
    monkeypatch.chdir(tmp_path)
    sweep = Sweep([str(tmp_path / "missing.py")], tmp_path, "x", Subprocess())

    search.run(sweep, search.Search({"x": IntDistribution(0, 1)}, [], 1, "S_l", "maximize", seed=0))

    (folder,) = tmp_path.glob("search-x-*")
    (trial,) = read_trials(Path(folder))
    assert trial.status == "failed"
