"""Typed files of a run: those of older versions can be read, and what is written is read back equal."""

import json
import math
import shutil
from pathlib import Path

import pytest

from lwexp.records import Failure, LwexpError, read_rows
from lwexp.runs import Run
from lwexp.runs.artifacts import (
    METRICS,
    PAIR_FAILURES,
    RESULTS,
    DataResults,
    EvaluateResults,
    Labels,
    Manifest,
    TrainResults,
    failures_in,
)
from lwexp.runs.run import ancestors, trace
from lwexp.runs.summaries import (
    JudgeSummary,
    MetricsRow,
    MixtureSummary,
    PairedDifference,
    PairwiseSummary,
    RegressionSummary,
    SweepSummary,
    read_metrics,
)

OLD = Path(__file__).parent / "old_runs"
"""Files of a finished ``make demo`` of commit 2be0cdd; rows are cut short."""


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    shutil.copytree(OLD, tmp_path / "demo")
    return tmp_path / "demo"


def test_every_run_of_an_older_version_has_its_stage_status_config_and_results(demo: Path) -> None:
    runs = {run.id: run for run in map(Run.load, demo.iterdir())}
    assert {run.stage for run in runs.values()} == {"data", "pairs", "train", "evaluate"}
    for run in runs.values():
        raw = json.loads((run.path / "manifest.json").read_text())
        results = run.results(RESULTS[run.stage])
        assert run.is_finished
        assert (run.name, run.manifest.command, run.labels.model) == (
            raw["name"],
            raw["command"],
            raw["labels"].get("model"),
        )
        assert results is not None
        read = results.model_dump(mode="json").items()
        assert {key: value for key, value in read if value is not None or key in raw["results"]} == raw["results"]
        assert run.config is not None
        assert run.config.seed == raw["seed"] == 0
    # by hand, from the files
    long, evaluated, data = (runs[id] for id in ("long-d326cf50", "eval-dpo-7dae2557", "data-offline-a75c8ce0"))
    trained, scored, written = long.results(TrainResults), evaluated.results(EvaluateResults), data.results(DataResults)
    assert trained is not None
    assert scored is not None
    assert written is not None
    assert trained.steps == 888
    assert long.seconds == pytest.approx(134.427, abs=0.001)
    assert scored.responses == 192
    assert (written.calls, data.tally) == (3559, "480 in = 480 kept")
    assert evaluated.results(TrainResults) is None


def test_the_lineage_of_a_moved_tree_is_found_beside_it_and_what_is_gone_is_missing(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifests say runs/demo/..., where nothing is; in the clone, ``make demo`` may have made the same runs."""
    monkeypatch.chdir(demo)
    runs = trace([demo / "eval-dpo-7dae2557"])
    assert set(runs) == {path.name for path in demo.iterdir()}
    above = [run.id for run in ancestors("eval-dpo-7dae2557", runs)]
    assert above == ["dpo-661ab685", "pairs-long-1b91ab93", "long-d326cf50", "data-offline-a75c8ce0"]
    assert [run.id for run in runs["pairs-long-1b91ab93"].parent_runs("data", "import")] == ["data-offline-a75c8ce0"]
    shutil.rmtree(demo / "long-d326cf50")
    gone = trace([demo / "dpo-661ab685"])["long-d326cf50"]
    assert (gone.is_missing, gone.name, gone.status, gone.results(TrainResults)) == (True, gone.id, "missing", None)


def test_objects_and_rows_of_an_older_version_are_read(demo: Path) -> None:
    judge = JudgeSummary.read(demo / "eval-dpo-7dae2557")
    assert judge is not None
    assert (judge.model, judge.scored, judge.alpha["S_q"]) == ("offline/judge", 192, None)
    mixture = MixtureSummary.read(demo / "long-d326cf50")
    assert mixture is not None
    assert (mixture.tally, mixture.table[0].words_median) == ("480 in = 480 kept", 168.0)
    sft, dpo = (
        [MetricsRow(**row) for row in read_metrics(demo / id / METRICS)] for id in ("long-d326cf50", "dpo-661ab685")
    )
    assert [(row.step, row.target_tokens) for row in sft] == [(1, 867), (10, 9235), (20, 18580)]
    assert dpo[0].model_extra is not None
    assert dpo[0].model_extra["accuracy"] == 0.0
    left_out = failures_in(demo / "pairs-long-1b91ab93", PAIR_FAILURES)
    assert left_out is not None
    assert [row.reason for row in read_rows(left_out, Failure)] == ["small_margin"] * 2


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    part = PairedDifference(n=3, ours=1.5, other=2.0, difference=-0.5, interval=(-1.0, -0.1), is_worse=True)
    written = [
        RegressionSummary(other="a-1", ranges={"all": {"S_l": part}}),
        PairwiseSummary(
            other="a-1", scorer="j", prompts=0, ours=0, other_wins=0, ties=0, unscored=2, win_rate=None, interval=None,
            first_shown_wins=None,
        ),
        SweepSummary(name="s", question="?", varied=["seed"]),
        Manifest(id="a-1", name="a", stage="train", status="new", labels=Labels(model="m", size="9b")),
    ]  # fmt: skip
    for item in written:
        item.write(tmp_path)
        assert type(item).read(tmp_path) == item
    tree = json.loads((tmp_path / "manifest.json").read_text())
    assert tree["labels"] == {"model": "m", "size": "9b"}  # a label of a plugin stays
    assert "results" not in tree
    assert tree["git"] == {"commit": None, "dirty": None}


def test_a_loss_that_never_was_finite_comes_back_as_nan() -> None:
    results = TrainResults(steps=1, target_tokens=2, seconds=0.1, max_train_words=3, model="m")
    back = TrainResults.model_validate(json.loads(json.dumps(results.model_dump(mode="json"))))
    assert math.isnan(back.final_loss)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"labels": 3}'])
def test_a_damaged_manifest_is_no_run(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    assert Run.at(tmp_path) is None
    with pytest.raises(LwexpError, match=r"is not a run: .*manifest\.json is missing or cannot be read"):
        Run.load(tmp_path)


def test_a_torn_or_damaged_line_of_metrics_has_no_row(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\nnot json\n[2]\n{"step": 3}\n{"step": 4}')
    assert read_metrics(path) == [{"step": 1}, {"step": 3}]
    assert read_metrics(tmp_path / "none.jsonl") == []
