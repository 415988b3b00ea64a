"""The HTML page: one file, one script whose hash the policy names, nothing loaded from anywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from lwexp.config.fields import sections_of
from lwexp.config.schema import Config
from lwexp.pages import display
from lwexp.pages.drawing import MARK_PATHS, marker, palette, with_own_ids
from lwexp.pages.packed import hash_source
from lwexp.report import diagnostics, family_tree
from lwexp.report.differences import differing
from lwexp.report.evaluations import Evaluation, mixture_of
from lwexp.report.figures.evaluation_figures import evaluation_figures
from lwexp.report.figures.position_figure import along_the_text
from lwexp.report.figures.training_figures import training_figures
from lwexp.report.lineage import Node, layers
from lwexp.report.load import Comparison
from lwexp.report.published import beside
from lwexp.report.reader import pack_answers
from lwexp.report.samples import LANGUAGES, choose
from lwexp.report.sweep.sweep_tables import sweep_context
from lwexp.report.view import GroupView, Report
from lwexp.stats.intervals import RESAMPLES
from lwexp.text.plain import one_line, visible

_TEMPLATES = Path(__file__).parent / "templates"
_STYLES = ("report", "reader")
_MOST_CARDS = 4
_MOST_LEGENDS = 6  # beyond it, one legend for all figures
_MOST_VERSIONS = 12
# Sections of a config that the evaluation reads; training runs hold them too, unused.
_SHARE_KEYS = {"source", "taken", "words_min", "words_median", "words_max", "share_of_rows", "share_of_words"}


def render(report: Report) -> str:
    """The page as text.

    Every value passes ``visible`` and jinja2's escaping on its way out; only markup made by this
    room (figures, lineage) is exempt.
    """
    comparison, views = report.comparison, report.views
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        score=display.score, span=display.span, words=display.words, dollars=display.dollars,
        duration=display.duration, signed=display.signed, hours=display.hours, count=lambda value: f"{value:,}",
    )  # fmt: skip
    labels = {row.label: row.place for view in views for row in view.rows}
    environment.filters.update(sentence=lambda text: _sentence(text, labels), scores=_scores)
    environment.globals.update(mark=_mark, languages=LANGUAGES, objective_line=_objective_line)
    return environment.get_template("report.html").render(**_context(comparison, views), **_study(report, labels))


def _study(report: Report, labels: Mapping[str, int]) -> dict[str, Any]:
    return {"study": sweep_context(report.sweep, report.result, labels) if report.sweep else None}


def _finalize(value: Any) -> Any:
    """What jinja2 prints for a value, before escaping: a dash for nothing, no hidden characters in text."""
    if value is None:
        return display.NO_VALUE
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return visible(value)


def _context(comparison: Comparison, views: Sequence[GroupView]) -> dict[str, Any]:
    models = _models(views)
    script = (_TEMPLATES / "reader.js").read_text(encoding="utf-8")
    reader = pack_answers(views)
    return {
        "policy": Markup(policy(script)),  # ours; escaped, the hash would not fit
        "script": Markup(script),
        "reader": reader,
        "packed": [Markup(block) for block in (reader.listing, *reader.blocks)],  # base64
        "resamples": RESAMPLES,
        "style": Markup("".join((_TEMPLATES / f"{name}.css").read_text(encoding="utf-8") for name in _STYLES)),
        "colours": palette(len(models)),
        "title": f"{views[0].group.bench}: {', '.join(row.label for row in views[0].rows[:4])}" if views else "sweep",
        "date": _newest([evaluation.node for evaluation in comparison.evaluations]),
        "notes": comparison.notes,
        "views": [_group_context(view, number) for number, view in enumerate(views)],
        "training": with_own_ids(training_figures(models), "t"),
        "has_legends": len(models) <= _MOST_LEGENDS,
        "label_list": {place: visible(evaluation.label) for place, evaluation in models.items()},
        "labels": {place: evaluation.label for place, evaluation in models.items()},
        "lineage": family_tree.draw(comparison.nodes, _names(views)),
        "runs": _runs(comparison.nodes),
        "total_cost": _total_cost(comparison.nodes),
        "versions": _versions(comparison.nodes),
        "mixtures": _mixtures(models),
        "differences": _differences(models),
        "models": models,
    }


def _group_context(view: GroupView, number: int) -> dict[str, Any]:
    samples = choose(view.rows)
    pictures = evaluation_figures(view.rows, is_stand_in=view.group.is_stand_in)
    return {
        "view": view,
        "number": number,
        "is_first": number == 0,
        "has_cards": len(view.rows) <= _MOST_CARDS,
        "has_legends": len(view.rows) <= _MOST_LEGENDS,
        "pictures": with_own_ids(pictures, f"f{number}"),
        "beyond": _beyond(view, number),
        "samples": samples,
        "sample_groups": list(dict.fromkeys(sample.group for sample in samples)),
        "sample_languages": list(dict.fromkeys(sample.language for sample in samples)),
    }


def policy(script: str) -> str:
    """What the page may do: run this one script, and load nothing. A script that slips in has another hash."""
    return (
        f"default-src 'none'; script-src '{hash_source(script)}'; style-src 'unsafe-inline'; "
        f"img-src data:; base-uri 'none'; form-action 'none'"
    )


def _beyond(view: GroupView, number: int) -> dict[str, Any]:
    """What was measured beside the scores; a part that no model has is empty."""
    names = {row.evaluation.node.id: row.label for row in view.rows}
    rows = [(row, row.evaluation) for row in view.rows]
    duels = [(row, duel) for row, e in rows if (duel := diagnostics.pairwise_result(e.diagnostics, names))]
    lost = [
        (row, diagnostics.compared_with(e.diagnostics, names), parts)
        for row, e in rows
        if (parts := diagnostics.regression_rows(e.diagnostics))
    ]
    agreement = [(row, agreed) for row, e in rows if (agreed := diagnostics.agreement(e.diagnostics))]
    found: dict[str, Any] = {
        "duels": duels,
        "lost": lost,
        "pictures": with_own_ids(along_the_text(view.rows), f"p{number}"),
        "endings": [(row, ends) for row, e in rows if (ends := diagnostics.endings(e.answers, e.diagnostics))],
        "agreement": agreement,
        "published": beside(view),
    }
    any_of_it = any(found.values())
    return {**found, "any": any_of_it, "dimensions": list(dict.fromkeys(k for _, a in agreement for k in a["alpha"]))}


def _mark(place: int) -> Markup:
    """A model's mark, for legends, tables and cards; decoration, the name always stands beside it."""
    return Markup(
        '<svg class="mark" viewBox="0 0 12 12" aria-hidden="true"><path d="{}" fill="var(--m{})"/></svg>'
    ).format(MARK_PATHS[marker(place)], place)


def _sentence(text: str, places: Mapping[str, int]) -> Markup:
    """A sentence of ours, its names underlined in their models' colours, S_l and S_q with their subscripts."""
    name = Markup('<span class="name" style="--c:var(--m{})">{}</span>')
    return Markup("").join(
        name.format(places.get(piece, 0), visible(piece)) if is_name else _scores(piece)
        for piece, is_name in display.split_names(text)
    )


def _scores(text: str) -> Markup:
    """S_l and S_q as they are printed: with a subscript."""
    return Markup(re.sub(r"\bS_([lq])\b", r"S<sub>\1</sub>", str(escape(text))))


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


def _names(views: Sequence[GroupView]) -> dict[str, family_tree.Model]:
    """Run id -> the model it belongs to, for training and evaluation runs."""
    names: dict[str, family_tree.Model] = {}
    for row in (row for view in views for row in view.rows):
        names[row.evaluation.node.id] = family_tree.Model(f"eval {row.label}", row.place)
        if row.evaluation.train:
            names.setdefault(row.evaluation.train.id, family_tree.Model(row.label, row.place))
    return names


def _newest(nodes: Sequence[Node]) -> str:
    """When the newest evaluation ended: the page depends on its runs alone, not on the clock."""
    ends = [node.manifest.end or node.manifest.created for node in nodes]
    return max(ends, default="")[:16].replace("T", " ")


def _runs(nodes: Mapping[str, Node]) -> list[dict[str, Any]]:
    """One line a run, in the order they were made."""
    rows = []
    for node in [node for column in layers(nodes) for node in column]:
        git = node.manifest.git
        rows.append(
            {
                "node": node,
                "status": node.status,
                "command": node.manifest.command,
                "results": str(node.tally or "; ".join(family_tree.facts(node))),
                "cost": node.number("cost_usd"),
                "calls": node.number("calls"),
                "seconds": node.seconds,
                "seed": node.manifest.seed,
                "commit": (git.commit or "")[:8],
                "dirty": bool(git.dirty),
            }
        )
    return rows


def _total_cost(nodes: Mapping[str, Node]) -> float | None:
    """Dollars of all runs of the lineage; None where no run recorded any."""
    costs = [cost for node in nodes.values() if (cost := node.number("cost_usd")) is not None]
    return sum(costs) if costs else None


def _versions(nodes: Mapping[str, Node]) -> list[tuple[str, str]]:
    """Package -> its version, or every version where runs used different ones."""
    found: dict[str, set[str]] = {}
    for node in nodes.values():
        stated: dict[str, Any] = dict(node.manifest.versions)
        stated = {"python": node.manifest.python, **stated}
        for package, version in stated.items():
            if version is not None:
                found.setdefault(one_line(str(package), 40), set()).add(one_line(str(version), 40))
    return [(package, " and ".join(sorted(versions))) for package, versions in found.items()][:_MOST_VERSIONS]


def _mixtures(models: Mapping[int, Evaluation]) -> list[dict[str, Any]]:
    """One line for each model and source of its training data."""
    lines = []
    for place, evaluation in models.items():
        table = mixture_of(evaluation).get("table")
        for share in table if isinstance(table, list) else []:
            if isinstance(share, dict) and share.keys() >= _SHARE_KEYS:
                lines.append({**share, "place": place})
    return lines


def _differences(models: Mapping[int, Evaluation]) -> dict[str, list[str]]:
    """What the configs of the compared models disagree on: how they were trained, and how evaluated."""
    own = set(sections_of(Config, "evaluate")) - set(sections_of(Config, "train"))
    trees: list[dict[str, Any]] = []
    for evaluation in models.values():
        tree = {key: value for key, value in evaluation.train_config.items() if key not in own}
        tree.update({key: evaluation.config[key] for key in own if key in evaluation.config})
        trees.append(tree)
    return differing(trees)
