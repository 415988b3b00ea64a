"""What stands on the report's page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lwexp.config.fields import sections_of
from lwexp.config.schema import Config
from lwexp.pages.drawing import with_own_ids
from lwexp.pages.page import render as render_page
from lwexp.report.answers_reader import read_answers
from lwexp.report.diagnostics import agreement, endings, other_name
from lwexp.report.differences import differing
from lwexp.report.evaluations import Evaluation, all_metrics, known_sum
from lwexp.report.figures.evaluation_figures import evaluation_figures
from lwexp.report.figures.position_figure import along_the_text
from lwexp.report.figures.training_figures import training_figures
from lwexp.report.lineage import facts, family, layers, versions_of
from lwexp.report.published import beside
from lwexp.report.samples import choose
from lwexp.report.sweep.sweep_tables import sweep_context
from lwexp.report.view import GroupView, Report
from lwexp.stats.intervals import RESAMPLES

_TEMPLATE = Path(__file__).parent / "templates" / "report.html"
_MOST_CARDS = 4
_MOST_LEGENDS = 6  # above it, one legend for all figures
_MOST_VERSIONS = 12


def render(report: Report) -> str:
    comparison, views = report.comparison, report.views
    models = _models(views)
    places = {row.label: row.place for view in views for row in view.rows}
    reader = read_answers(views)
    nodes = comparison.nodes
    ends = [e.node.manifest.end or e.node.manifest.created for e in comparison.evaluations]
    return render_page(
        _TEMPLATE,
        labels={place: evaluation.label for place, evaluation in models.items()},
        packed=reader.packed,
        places=places,
        reader=reader,
        study=sweep_context(report.sweep, report.result, places) if report.sweep else None,
        resamples=RESAMPLES,
        title=f"{views[0].group.bench}: {', '.join(row.label for row in views[0].rows[:4])}" if views else "sweep",
        date=max(ends, default="")[:16].replace("T", " "),  # not the clock: the page depends on its runs alone
        notes=comparison.notes,
        views=[_group_context(view, number) for number, view in enumerate(views)],
        training=with_own_ids(training_figures(models), "t"),
        has_legends=len(models) <= _MOST_LEGENDS,
        family=family(nodes),
        names=_names(views),
        runs=[(run, run.tally or "; ".join(facts(run))) for column in layers(nodes) for run in column],
        total_cost=known_sum(node.number("cost_usd") for node in nodes.values()),
        versions=versions_of(nodes)[:_MOST_VERSIONS],
        mixtures=[(place, row) for place, e in models.items() for row in (e.mixture.table if e.mixture else ())],
        differences=_differences(models),
        models=models,
        meanings=[(m.label, m.meaning) for m in all_metrics(comparison.evaluations)],
        objective_line=_objective_line,
    )


def _group_context(view: GroupView, number: int) -> dict[str, Any]:
    samples = choose(view.rows)
    pictures = evaluation_figures(view.rows, view.metrics, is_stand_in=view.group.is_stand_in)
    return {
        "view": view,
        "number": number,
        "is_first": number == 0,
        "has_cards": len(view.rows) <= _MOST_CARDS,
        "has_legends": len(view.rows) <= _MOST_LEGENDS,
        "pictures": with_own_ids(pictures, f"f{number}"),
        "diagnostics": _diagnostics(view, number),
        "samples": samples,
        "sample_groups": list(dict.fromkeys(sample.group for sample in samples)),
        "sample_languages": list(dict.fromkeys(sample.asked.language for sample in samples)),
    }


def _diagnostics(view: GroupView, number: int) -> dict[str, Any]:
    """What was measured beside the scores; a part that no model has is empty."""
    names = {row.evaluation.node.id: row.label for row in view.rows}
    rows = [(row, row.evaluation) for row in view.rows]
    pairwise = [(row, other_name(p.other, names), p) for row, e in rows if (p := e.diagnostics.pairwise)]
    regressions = [(row, other_name(r.other, names), r.ranges) for row, e in rows if (r := e.diagnostics.regression)]
    agreed = [(row, e.diagnostics.judge, found) for row, e in rows for found in agreement(e.diagnostics)]
    found: dict[str, Any] = {
        "pairwise": pairwise,
        "regressions": regressions,
        "pictures": with_own_ids(along_the_text(view.rows), f"p{number}"),
        "endings": [(row, ends) for row, e in rows if (ends := endings(e.answers, e.diagnostics))],
        "agreement": agreed,
        "published": beside(view),
    }
    any_of_it = any(found.values())
    dimensions = list(dict.fromkeys(name for *_, found_by in agreed for name in found_by.alpha))
    heads = [(name if name.startswith("S_") else name.replace("_", " "), "number") for name in dimensions]
    return {**found, "any": any_of_it, "dimensions": dimensions, "dimension_heads": heads}


def _objective_line(evaluation: Evaluation) -> str:
    """What kind of model this is, in a few words."""
    if evaluation.train is None:
        return "not trained here"
    if evaluation.train.is_missing:
        return "training run not on disk"
    kind = {"sft": "SFT", "dpo": "DPO"}.get(evaluation.objective or "", evaluation.objective or "trained")
    cap = evaluation.max_train_words
    return kind if cap is None else f"{kind} on answers of up to {cap:,} words"


def _models(views: Sequence[GroupView]) -> dict[int, Evaluation]:
    """Place -> model, each trained model once even where several benches evaluated it."""
    models: dict[int, Evaluation] = {}
    for view in views:
        for row in view.rows:
            models.setdefault(row.place, row.evaluation)
    return models


def _names(views: Sequence[GroupView]) -> dict[str, tuple[str, int]]:
    """Id of a training or evaluation run -> name and place of the model it belongs to."""
    names: dict[str, tuple[str, int]] = {}
    for row in (row for view in views for row in view.rows):
        names[row.evaluation.node.id] = f"eval {row.label}", row.place
        if row.evaluation.train:
            names.setdefault(row.evaluation.train.id, (row.label, row.place))
    return names


def _differences(models: Mapping[int, Evaluation]) -> dict[str, list[str]]:
    """What the configs of the compared models disagree on: how they were trained, and how evaluated."""
    own = set(sections_of(Config, "evaluate")) - set(sections_of(Config, "train"))
    trees: list[dict[str, Any]] = []
    for evaluation in models.values():
        tree = {key: value for key, value in evaluation.train_config.items() if key not in own}
        tree.update({key: evaluation.config[key] for key in own if key in evaluation.config})
        trees.append(tree)
    return differing(trees)
