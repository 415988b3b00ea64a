"""The report's page: what its templates show."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lwexp.config.fields import sections_of
from lwexp.config.schema import Config
from lwexp.pages.drawing import with_own_ids
from lwexp.pages.page import render as render_page
from lwexp.pages.text_files import TextFiles, text_files
from lwexp.report.answers.instructions import instruction_note, instruction_rows
from lwexp.report.answers.judges import JudgePair, judge_pairs
from lwexp.report.answers.reader import read_answers
from lwexp.report.answers.samples import choose
from lwexp.report.cuts import stages
from lwexp.report.diagnostics import agreement, other_name, sign_counts
from lwexp.report.differences import differing
from lwexp.report.evaluations import Evaluation, all_metrics, known_sum
from lwexp.report.figures.evaluation_figures import evaluation_figures
from lwexp.report.figures.position_figure import position_figure
from lwexp.report.figures.training_figures import training_figures
from lwexp.report.groups import Group
from lwexp.report.lineage import facts, family, layers, versions_of
from lwexp.report.load import Comparison
from lwexp.report.published import comparable
from lwexp.report.sweep.read_sweep import Sweep
from lwexp.report.sweep.sweep_analysis import SweepResult
from lwexp.report.sweep.sweep_figure import sweep_figure
from lwexp.stats.intervals import RESAMPLES, SMALL_SAMPLE

_TEMPLATE = Path(__file__).parent / "templates" / "report.html"
_MOST_CARDS = 4
_MOST_LEGENDS = 6  # above it, one legend for all figures
_MOST_VERSIONS = 12


def render(
    comparison: Comparison, sweep: Sweep | None, result: SweepResult | None, out: Path
) -> tuple[str, TextFiles | None]:
    """The page that will be written to ``out``, and the files beside it that hold its texts, if they are many."""
    groups, models, nodes = comparison.groups, comparison.models, comparison.nodes
    with_cap = result is None or not result.is_cap  # a sweep of caps shows that figure in its answer
    reader = read_answers(groups)
    texts = text_files(reader.packed, out, reader.pack_index)
    pairs = judge_pairs(groups)
    ends = [each.node.manifest.end or each.node.manifest.created for each in comparison.evaluations]
    page = render_page(
        _TEMPLATE,
        labels={each.place: each.label for each in models},
        packed=reader.packed,
        texts=texts,
        places={each.label: each.place for each in comparison.evaluations},
        reader=reader,
        sweep=sweep,
        result=result,
        sweep_figure=with_own_ids([sweep_figure(result)], "q")[0] if result else None,
        resamples=RESAMPLES,
        small_sample=SMALL_SAMPLE,
        title=f"{groups[0].bench}: {', '.join(e.label for e in groups[0].evaluations[:4])}" if groups else "sweep",
        date=max(ends, default="")[:16].replace("T", " "),  # not the clock, so that the page depends only on its runs
        notes=comparison.notes,
        sections=[_section(group, number, pairs, with_cap=with_cap) for number, group in enumerate(groups)],
        training=with_own_ids(training_figures(models), "t"),
        has_legends=len(models) <= _MOST_LEGENDS,
        family=family(nodes),
        facts=facts,
        names=_names(comparison.evaluations),
        runs=[run for column in layers(nodes) for run in column],
        total_cost=known_sum(node.number("cost_usd") for node in nodes.values()),
        known_sum=known_sum,
        versions=versions_of(nodes)[:_MOST_VERSIONS],
        mixtures=[(each, row) for each in models for row in (each.mixture.table if each.mixture else ())],
        differences=_differences(models),
        models=models,
        meanings=[(metric.label, metric.meaning) for metric in all_metrics(comparison.evaluations)],
    )
    return page, texts


def _section(group: Group, number: int, pairs: Sequence[JudgePair], *, with_cap: bool) -> dict[str, Any]:
    samples = choose(group.evaluations)
    common = [part for _, part in group.common_cells] if group.is_uneven and group.common else None
    pictures = evaluation_figures(
        group.evaluations, group.metrics, is_stand_in=group.is_stand_in, with_cap=with_cap, common=common
    )
    return {
        "group": group,
        "instructions": instruction_note(group.evaluations),
        "number": number,
        "is_first": number == 0,
        "has_cards": len(group.evaluations) <= _MOST_CARDS,
        "has_legends": len(group.evaluations) <= _MOST_LEGENDS,
        "pictures": with_own_ids(pictures, f"f{number}"),
        "diagnostics": _diagnostics(group, number, pairs),
        "samples": samples,
        "sample_groups": list(dict.fromkeys(sample.group for sample in samples)),
        "sample_languages": list(dict.fromkeys(sample.asked.language for sample in samples)),
    }


def _diagnostics(group: Group, number: int, pairs: Sequence[JudgePair]) -> dict[str, Any]:
    """Measurements other than scores; a part that no model has is empty."""
    names = {each.node.id: each.label for each in group.evaluations}
    each_with = [(each, each.diagnostics) for each in group.evaluations]
    agreed = [(each, d.judge, found) for each, d in each_with for found in agreement(d)]
    parts: dict[str, Any] = {
        "pairwise": [(each, other_name(p.other, names), p) for each, d in each_with if (p := d.pairwise)],
        "regressions": [(each, other_name(r.other, names), r.ranges) for each, d in each_with if (r := d.regression)],
        "pictures": with_own_ids(position_figure(group.evaluations), f"p{number}"),
        "endings": [(each, ends) for each, d in each_with if (ends := sign_counts(each.answers, d))],
        "instructions": [(each, rows) for each in group.evaluations if (rows := instruction_rows(each))],
        "cuts": [(each, found) for each in group.evaluations if (found := stages(each))],
        "agreement": agreed,
        "judges": [pair for pair in pairs if pair.model.node.id in names],
        "published": comparable(group),
    }
    dimensions = list(dict.fromkeys(name for *_, found in agreed for name in found.alpha))
    heads = [(name if name.startswith("S_") else name.replace("_", " "), "number") for name in dimensions]
    return {**parts, "any": any(parts.values()), "dimensions": dimensions, "dimension_heads": heads}


def _names(evaluations: Sequence[Evaluation]) -> dict[str, tuple[str, int]]:
    """Run -> the name and the place of its model, for the lineage."""
    names: dict[str, tuple[str, int]] = {}
    for each in evaluations:
        names[each.node.id] = f"eval {each.label}", each.place
        if each.train:
            names.setdefault(each.train.id, (each.label, each.place))
    return names


def _differences(models: Sequence[Evaluation]) -> dict[str, list[str]]:
    """Settings that differ between the compared models, of training and of evaluation."""
    own = set(sections_of(Config, "evaluate")) - set(sections_of(Config, "train"))
    return differing(
        [
            {key: value for key, value in each.train_config.items() if key not in own}
            | {key: each.config[key] for key in own if key in each.config}
            for each in models
        ]
    )
