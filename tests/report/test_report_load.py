"""Finding runs, reading damaged ones, naming and grouping."""

import json

import pytest

from lwexp.records import LwexpError
from lwexp.report.differences import differing, tell_apart
from lwexp.report.lineage import layers
from lwexp.report.load import load
from lwexp.runs.run import trace
from lwexp.watch.detail import budget_usd
from tests.report import report_runs


def plain(required, rng):
    return required


def labels(comparison):
    return [evaluation.label for evaluation in comparison.evaluations]


def test_a_folder_a_glob_and_the_runs_themselves_give_the_same(demo_runs):
    folder = demo_runs[0].parent
    for wanted in ([folder], [folder.parent], [str(folder / "eval-*")], demo_runs, [folder, *demo_runs]):
        assert labels(load(wanted)) == ["short", "long", "dpo"]


def test_a_training_run_stands_for_its_evaluations(demo_runs):
    assert labels(load([demo_runs[0].parent / "long-9c0d1e2f"])) == ["long"]


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LwexpError, match="nowhere does not exist"):
        load([tmp_path / "nowhere"])


def test_a_folder_without_evaluations_says_what_there_is(tmp_path):
    report_runs.training(tmp_path, "sft-00000001", parents=[], max_train_words=9, status="failed", reason="NaN loss")
    with pytest.raises(LwexpError, match=r"no evaluation with answers.*sft-00000001.*NaN loss.*evaluate\.py"):
        load([tmp_path])


def test_unfinished_runs_are_noted(tmp_path):
    report_runs.evaluation(tmp_path, "eval-a-00000001", None, plain, repeats=1, status="interrupted")
    report_runs.make_run(tmp_path, "eval-b-00000002", "evaluate", status="failed", reason="disk full")
    report_runs.training(tmp_path, "sft-00000003", parents=[], max_train_words=9, status="running")
    notes = " ".join(load([tmp_path]).notes)
    assert "eval-a-00000001: interrupted; its numbers are partial." in notes
    assert "eval-b-00000002: failed (disk full); it has no answers and is left out." in notes
    assert "sft-00000003: training run, running; not evaluated" in notes


def test_a_torn_line_costs_that_line_only(tmp_path):
    path = report_runs.evaluation(tmp_path, "eval-a-00000001", None, plain, repeats=1)
    with (path / "responses.jsonl").open("a") as out:
        out.write('{"id": "torn')
    comparison = load([path])
    assert len(comparison.evaluations[0].answers) == 64
    assert "ignored 1 unreadable line in responses.jsonl" in comparison.notes[0]


def test_answers_without_verdicts_are_unscored(tmp_path):
    path = report_runs.evaluation(tmp_path, "eval-a-00000001", None, plain, repeats=1)
    rows = (path / "verdicts.jsonl").read_text().splitlines()
    (path / "verdicts.jsonl").write_text("\n".join(rows[:20]) + "\n")
    reasons = [answer.reason for answer in load([path]).evaluations[0].answers]
    assert reasons.count("no verdict") == 54


def test_different_benches_and_judges_are_never_mixed(tmp_path):
    for name, judge in (("a", "openai/gpt-4o"), ("b", "offline/judge"), ("c", None)):
        report_runs.evaluation(tmp_path, f"eval-{name}-00000001", None, plain, repeats=1, judge=judge)
    other = report_runs.evaluation(tmp_path, "eval-d-00000001", None, plain, repeats=1)
    config = json.loads((other / "config.json").read_text())
    config["bench"]["version"] = "2"
    (other / "config.json").write_text(json.dumps(config))
    groups = load([tmp_path]).groups
    found = {(group.bench, group.judge): len(group.evaluations) for group in groups}
    assert found == {
        ("miniature v1", "openai/gpt-4o"): 2,  # with the one that no judge scored: lengths compare
        ("miniature v1", "offline/judge"): 1,
        ("miniature v2", "offline/judge"): 1,
    }
    assert [group.is_stand_in for group in groups] == [False, True, True]


def test_missing_parents_are_shown_as_missing(tmp_path):
    report_runs.training(tmp_path, "sft-00000001", parents=["gone-00000009"], max_train_words=9)
    path = report_runs.evaluation(tmp_path, "eval-a-00000002", "sft-00000001", plain, repeats=1)
    nodes = load([path]).nodes
    assert nodes["gone-00000009"].is_missing
    assert not nodes["sft-00000001"].is_missing


def test_parents_are_found_next_to_a_moved_run(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    report_runs.training(old, "sft-00000001", parents=[], max_train_words=9)
    report_runs.evaluation(old, "eval-a-00000002", "sft-00000001", plain, repeats=1)
    old.rename(new)
    assert load([new]).evaluations[0].max_train_words == 9


def test_parents_that_go_in_a_circle_end(tmp_path):
    report_runs.make_run(tmp_path, "a-00000001", "train", parents=["b-00000001"])
    report_runs.make_run(tmp_path, "b-00000001", "train", parents=["a-00000001"])
    nodes = trace([tmp_path / "a-00000001"])
    assert sorted(node.id for column in layers(nodes) for node in column) == ["a-00000001", "b-00000001"]


def test_lineage_is_in_the_order_of_creation(demo_runs):
    columns = [[node.name for node in column] for column in layers(load(demo_runs).nodes)]
    assert columns == [["data"], ["long", "short"], ["pairs", "eval-long", "eval-short"], ["dpo"], ["eval-dpo"]]


def test_equal_names_are_told_apart_by_what_differs():
    seeds = [{"seed": 0, "name": "x"}, {"seed": 1, "name": "y"}]
    assert tell_apart(["sft", "sft"], seeds, ["i", "j"], ["k", "l"]) == ["seed=0", "seed=1"]
    assert tell_apart(["sft", "sft", "dpo"], [*seeds, {}], ["i", "j", "k"], ["l", "m", "n"]) == [
        "sft seed=0", "sft seed=1", "dpo",
    ]  # fmt: skip
    assert tell_apart(["sft", "sft"], [{}, {}], ["i", "j"], ["k", "l"]) == ["i", "j"]
    assert tell_apart(["sft", "sft"], [{}, {}], ["i", "i"], ["k", "l"]) == ["k", "l"]


def test_only_differences_that_matter_are_listed():
    trees = [
        {"name": "a", "seed": 0, "o": {"lr": 0.1, "b": [1, 2]}},
        {"name": "b", "seed": 0, "o": {"lr": 0.2, "b": [1, 2]}},
    ]
    assert differing(trees) == {"o.lr": ["0.1", "0.2"]}
    assert differing([{"a": None}, {}]) == {"a": ["null", "\N{EN DASH}"]}


@pytest.mark.parametrize(
    "damage",
    [
        *({name: 3} for name in ("engine", "bench", "judge", "objective", "hardware", "plugins", "responses", "name")),
        {"bench": {"ranges": 3}},
        {"plugins": [None]},
        {"teacher": {"limits": 3}},
    ],
    ids=str,
)
def test_values_of_other_types_in_a_config_json_are_no_traceback(tmp_path, damage):
    train = report_runs.training(tmp_path, "t-00000001", parents=[], max_train_words=9, steps=10)
    path = report_runs.evaluation(tmp_path, "eval-t-00000002", "t-00000001", plain, repeats=1)
    for run in (train, path):
        config = json.loads((run / "config.json").read_text())
        (run / "config.json").write_text(json.dumps(config | damage))
    comparison = load([path])
    assert [each.label for each in comparison.evaluations] == ["t"]
    assert "this version cannot read its config.json" in " ".join(comparison.notes)
    assert budget_usd(comparison.nodes["eval-t-00000002"]) is None


@pytest.mark.parametrize(
    ("loss", "name"),
    [("sigmoid", "DPO"), ("hinge", "DPO (hinge)"), ({"kind": "simpo", "gamma": 0.5}, "simpo"), ("gone", "gone")],
)
def test_a_model_is_called_by_how_it_was_trained(tmp_path, loss, name):
    """simpo is the example's loss, and not loaded here: a report has its name all the same."""
    train = report_runs.training(tmp_path, "t-00000001", parents=[], max_train_words=9, kind="dpo", steps=10)
    config = json.loads((train / "config.json").read_text())
    config["objective"]["loss"] = loss
    (train / "config.json").write_text(json.dumps(config))
    path = report_runs.evaluation(tmp_path, "eval-t-00000002", "t-00000001", plain, repeats=1)
    comparison = load([path])
    assert comparison.evaluations[0].method == name
    unreadable = "this version cannot read its config.json" in " ".join(comparison.notes)
    assert unreadable is (name in ("simpo", "gone"))


def test_a_model_started_from_another_is_told_from_one_trained_on_its_data(tmp_path):
    """pairs are made with the model of long, and dpo starts from it; sft is only trained on those pairs' answers."""
    report_runs.training(tmp_path, "long-00000001", parents=[], max_train_words=9)
    report_runs.make_run(tmp_path, "pairs-00000002", "pairs", parents=["long-00000001"])
    report_runs.training(tmp_path, "sft-00000003", parents=["pairs-00000002"], max_train_words=9)
    report_runs.training(tmp_path, "dpo-00000004", parents=["pairs-00000002", "long-00000001"], max_train_words=9)
    for name, train in (("a", "sft-00000003"), ("b", "dpo-00000004")):
        report_runs.evaluation(tmp_path, f"eval-{name}-00000005", train, plain, repeats=1)
    found = {e.label: e.started_from for e in load([tmp_path]).evaluations}
    assert found == {"sft": (), "dpo": ("long-00000001",)}
