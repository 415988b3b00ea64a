"""The same comparison as a Weights & Biases report: a pure builder, and the two calls that need an account.

Runs are named by their ids, which are also the ids of their W&B runs (``tracking=wandb``).
"""

from collections.abc import Mapping
from typing import Any

from lwexp.pages.display import quoted
from lwexp.records import LwexpError
from lwexp.report.evaluations import all_metrics
from lwexp.report.lineage import layers
from lwexp.report.load import Comparison
from lwexp.report.sweep.read_sweep import Sweep
from lwexp.report.sweep.sweep_analysis import SweepResult
from lwexp.report.sweep.sweep_tables import sweep_markdown
from lwexp.runs import Run
from lwexp.text.cells import markdown_cell, markdown_table

_CURVES = ("loss", "lr", "grad_norm", "preference_loss", "margin", "accuracy")
_MOST_GRAPHS = 4


def read_target(text: str) -> tuple[str, str]:
    """``entity/project``.

    Raises:
        LwexpError: If the text has another form.
    """
    entity, slash, project = text.partition("/")
    if not (entity and slash and project) or "/" in project:
        raise LwexpError(f"report: wandb={text}: give entity/project, such as wandb=my-team/lwexp")
    return entity, project


def target_of(comparison: Comparison) -> tuple[str, str] | None:
    """The W&B project of the runs, from their configs; None if they were not tracked online or name no entity."""
    for node in comparison.nodes.values():
        tracking = node.setting("tracking", dict) or {}
        if tracking.get("kind") == "wandb" and tracking.get("mode") == "online" and tracking.get("entity"):
            return str(tracking["entity"]), str(tracking.get("project") or "lwexp")
    return None


def scores_of(comparison: Comparison) -> dict[str, dict[str, float]]:
    """Training run id -> values for its W&B summary: scores, and the longest and median answer."""
    found: dict[str, dict[str, float]] = {}
    for each in comparison.evaluations:
        if each.train is not None:
            values: dict[str, float | None] = {m.name: each.total.scores[m.name].mean for m in each.metrics}
            values |= {"max_words": each.total.max_words, "median_words": each.total.median_words,
                       "max_train_words": each.max_train_words}  # fmt: skip
            known = {f"eval/{key}": float(value) for key, value in values.items() if value is not None}
            found.setdefault(each.train.id, known)
    return found


def build_report(
    comparison: Comparison, sweep: Sweep | None, result: SweepResult | None, table: str, entity: str, project: str
) -> Any:
    """The report as an object of ``wandb_workspaces.reports.v2``; touches no network.

    Args:
        comparison: The runs, with their lineage.
        sweep: Its question and trials; None for a plain comparison.
        result: The answer to the question.
        table: The comparison's table in Markdown.
        entity: Owner of the project.
        project: The project that holds the runs.
    """
    import wandb_workspaces.reports.v2 as wr

    names = ", ".join(evaluation.label for evaluation in comparison.evaluations[:4])
    title = (sweep.question or sweep.name) if sweep else f"Comparison of {names}"
    finding = quoted(result.finding) if result else ""
    ids = ", ".join(f"'{node.id}'" for node in comparison.nodes.values() if node.stage == "train")
    runset = wr.Runset(  # one run set for all panels
        entity=entity, project=project, name=sweep.name if sweep else "compared runs",
        filters=f"Metric('name') in [{ids}]" if ids else "",
        groupby=[f"config.{key}" for key in sweep.factors[:1]] if sweep else [],
    )  # fmt: skip
    models = list(dict.fromkeys(evaluation.train.id for evaluation in comparison.evaluations if evaluation.train))
    blocks = [
        wr.TableOfContents(),
        wr.H1(text="Answer"), wr.MarkdownBlock(text=finding or "See the table."),
        wr.H1(text="Panels"), wr.PanelGrid(runsets=[runset], panels=_panels(comparison, sweep, result)),
        wr.H1(text="Table"),
        wr.MarkdownBlock(text=(sweep_markdown(sweep, result) + "\n" if sweep else "") + table),
        wr.H1(text="Lineage"), wr.MarkdownBlock(text=lineage_table(comparison.nodes)),
        *(  # training logs each model as an artifact named after its run
            wr.WeaveBlockArtifact(entity=entity, project=project, artifact=name, tab="lineage")
            for name in models[:_MOST_GRAPHS]
        ),
    ]  # fmt: skip
    return wr.Report(entity=entity, project=project, title=title[:128], description=finding[:500], width="fluid",
                     blocks=blocks)  # fmt: skip


def _panels(comparison: Comparison, sweep: Sweep | None, result: SweepResult | None) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    scores = [wr.SummaryMetric(f"eval/{metric.name}") for metric in all_metrics(comparison.evaluations)]
    is_cap = result is None or result.is_cap
    x: Any = wr.SummaryMetric("eval/max_train_words")
    if sweep and sweep.factors and result and result.is_numeric and not is_cap:
        x = wr.Config(sweep.factors[0])
    y = wr.SummaryMetric("eval/max_words" if result is None or is_cap else f"eval/{result.metric.name}")
    is_log = result is not None and is_cap
    columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(key)) for key in (sweep.varied if sweep else ())]
    columns += [wr.ParallelCoordinatesPlotColumn(score) for score in scores]
    return [
        wr.ScatterPlot(title="Answer", x=x, y=y, log_x=is_log, log_y=is_log, regression=True,
                       layout=wr.Layout(x=0, y=0, w=16, h=10)),
        wr.BarPlot(title="Scores", metrics=scores, layout=wr.Layout(x=16, y=0, w=8, h=10)),
        *(wr.LinePlot(title=name, x="Step", y=[name], layout=wr.Layout(x=8 * (n % 3), y=10 + 6 * (n // 3), w=8, h=6))
          for n, name in enumerate(_CURVES)),
        wr.ParallelCoordinatesPlot(title="Settings and scores", columns=columns,
                                   layout=wr.Layout(x=0, y=22, w=24, h=8)),
        wr.RunComparer(diff_only="split", layout=wr.Layout(x=0, y=30, w=24, h=12)),
    ]  # fmt: skip


def lineage_table(nodes: Mapping[str, Run]) -> str:
    """Which run was made from which, from the teacher to the score."""
    rows = [
        [node.id, node.stage, ", ".join(node.parents), node.tally or node.number("final_loss") or ""]
        for column in layers(nodes)
        for node in column
    ]
    return markdown_table(["run", "stage", "made from", "result"], [map(markdown_cell, row) for row in rows])


def publish(report: Any, scores: Mapping[str, Mapping[str, float]], entity: str, project: str) -> str:
    """Write the scores into the runs' W&B summaries, save the report, and return its URL.

    Raises:
        LwexpError: If W&B refuses the report.
    """
    import wandb

    try:
        api = wandb.Api()
        for run_id, values in scores.items():
            run = api.run(f"{entity}/{project}/{run_id}")
            run.summary.update(dict(values))
        report.save()
    except (wandb.errors.Error, ValueError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise LwexpError(
            f"report: W&B refused the report for {entity}/{project}: {first}; run wandb login, and check that the runs "
            f"were tracked there (the local report was written)"
        ) from None
    return str(report.url)
