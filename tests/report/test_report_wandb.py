"""The W&B report: the specification that the library sends, captured without a network."""

import json
from typing import Any

import pytest

from lwexp.records import LwexpError
from lwexp.report.sweep.read_sweep import read_sweep
from lwexp.report.sweep.sweep_analysis import sweep_result
from lwexp.report.sweep.wandb_report import build_report, lineage_table, publish, read_target, scores_of, target_of
from tests.report import report_runs
from tests.report.test_report_sweep import KEY, make_sweep


class FakeRun:
    """Keeps what its summary gets."""

    def __init__(self):
        self.summary = {}


class FakeApi:
    """The parts of wandb.Api that the library and we call."""

    default_entity = "team"

    client = type("Client", (), {"app_url": "https://wandb.ai"})

    def __init__(self):
        self.runs = {}

    def projects(self, _):
        return [type("Project", (), {"name": "lwexp"})]

    def run(self, path):
        return self.runs.setdefault(path, FakeRun())


@pytest.fixture
def captured(monkeypatch):
    """What goes to the server, and the fake behind it; any other connection would be an error of the library."""
    import wandb
    from wandb_workspaces.reports.v2 import interface

    sent, api = [], FakeApi()

    def execute(_, __, variables=None, **___):
        if "spec" not in variables:
            return {"project": {"internalId": "UHJvamVjdDox"}}
        sent.append(variables)
        project = {"id": "1", "name": "lwexp", "entityName": "team"}
        view = {"id": "abc", "name": "x", "displayName": variables["displayName"], "spec": variables["spec"],
                "description": variables["description"], "project": project,
                "createdAt": "2026-01-01T00:00:00", "updatedAt": "2026-01-01T00:00:00"}  # fmt: skip
        return {"upsertView": {"view": view, "inserted": True}}

    monkeypatch.setattr(interface, "_get_api", lambda: api)
    monkeypatch.setattr(interface, "execute_graphql", execute)
    monkeypatch.setattr(wandb, "Api", lambda: api)
    return sent, api


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Two caps that were evaluated and a trial that crashed."""
    cells: list[Any] = [([f"{KEY}={cap}"], cap, "finished", 0, None) for cap in (50, 400)]
    cells.append(([f"{KEY}=9"], None, "failed", 1, "boom"))
    return read_sweep(make_sweep(tmp_path_factory.mktemp("wandb"), cells, varied=[KEY], question="Does it follow?"))


def test_the_specification_holds_run_sets_panels_and_tables(read, captured):
    sent, api = captured
    sweep, comparison = read
    report = build_report(comparison, sweep, sweep_result(sweep), "| model | S_l |\n|:--|--:|\n", "team", "lwexp")
    url = publish(report, scores_of(comparison), "team", "lwexp")

    assert url.startswith("https://wandb.ai/team/lwexp/reports/")
    assert sent[0]["displayName"] == "Does it follow?"
    blocks = json.loads(sent[0]["spec"])["blocks"]
    grid = next(block["metadata"] for block in blocks if block["type"] == "panel-grid")
    (runs,) = grid["runSets"]
    assert sorted(runs["filters"]["filters"][0]["value"]) == ["sft-00000000", "sft-00000001"]
    assert runs["grouping"] == [{"section": "config", "name": "mixture.value.sources.drafts.max_words"}]
    panels = [panel["viewType"] for panel in grid["panelBankSectionConfig"]["panels"]]
    assert {"Scatter Plot", "Bar Chart", "Run History Line Plot", "Parallel Coordinates Plot", "Run Comparer"} == set(
        panels
    )
    scatter = next(p["config"] for p in grid["panelBankSectionConfig"]["panels"] if p["viewType"] == "Scatter Plot")
    assert (scatter["xAxis"], scatter["yAxis"]) == ("summary:eval/max_train_words", "summary:eval/max_words")
    text = "\n".join(block["content"] for block in blocks if block["type"] == "markdown-block")
    assert "failed (exit code 1)" in text
    assert "| model | S_l |" in text
    assert "| eval-sft-00000063 | evaluate | sft-00000000 |" in text.replace("\\", "")
    graphs = json.dumps([block for block in blocks if block["type"].startswith("weave")])
    assert all(f'"{run}"' in graphs for run in ("sft-00000000", "sft-00000001"))
    assert graphs.count('"lineage"') == 2
    # The panels read these from the runs' summaries, so they have to be there.
    assert api.runs["team/lwexp/sft-00000000"].summary["eval/max_train_words"] == 50
    assert {"eval/S_l", "eval/max_words"} <= set(api.runs["team/lwexp/sft-00000001"].summary)


def test_a_refusal_is_one_line(read, captured, monkeypatch):
    sweep, comparison = read
    monkeypatch.setattr(FakeApi, "run", lambda *_: (_ for _ in ()).throw(ValueError("Could not find run\nmore")))
    report = build_report(comparison, sweep, sweep_result(sweep), "", "team", "lwexp")
    with pytest.raises(LwexpError, match="Could not find run; run wandb login"):
        publish(report, scores_of(comparison), "team", "lwexp")


@pytest.mark.parametrize("text", ["lwexp", "/p", "e/", "a/b/c", ""])
def test_a_target_is_an_entity_and_a_project(text):
    assert read_target("team/lwexp") == ("team", "lwexp")
    with pytest.raises(LwexpError, match="entity/project"):
        read_target(text)


def test_runs_that_were_not_tracked_online_have_no_target(read, tmp_path):
    _, comparison = read
    assert target_of(comparison) is None
    path = report_runs.training(tmp_path, "t-00000001", parents=[], max_train_words=9, steps=10)
    tracking = {"kind": "wandb", "mode": "online", "entity": "team", "project": "lwexp"}
    (path / "config.json").write_text(json.dumps({"tracking": tracking}))
    from lwexp.report.load import Comparison
    from lwexp.runs.run import trace

    assert target_of(Comparison((), trace([path]), ())) == ("team", "lwexp")
    assert "t-00000001" in lineage_table(trace([path])).replace("\\", "")
