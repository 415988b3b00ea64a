"""A report's numbers for other programs and for the terminal: summary.json, a CSV, a Markdown table, a rich one."""

from collections.abc import Iterator, Sequence

from lwexp.pages.display import quoted, score, span, words
from lwexp.records import MetricInfo
from lwexp.report.aggregation import Cell, Score, n_unscored, seeds
from lwexp.report.answers.instructions import instruction_note, instruction_rows
from lwexp.report.answers.judges import judge_pairs, judges_summary, judges_table
from lwexp.report.evaluations import Evaluation, all_metrics
from lwexp.report.groups import Group
from lwexp.runs.logs import show
from lwexp.runs.summaries import ComparisonSummary, GroupSummary, ModelSummary
from lwexp.text.cells import csv_table, markdown_cell, markdown_table
from lwexp.text.plain import visible

_UNFIT = "did not tell good answers from shuffled words"


def summary(groups: Sequence[Group], notes: Sequence[str]) -> ComparisonSummary:
    """What the first screen of the HTML report shows: scores by model name, then checks, judges and notes.

    The models of the first group are at the top level as well, so that ``summary["long"]["S_l"]`` works;
    ``groups`` has the models of every group.
    """
    found = [_group_summary(group) for group in groups]
    if not found:
        return ComparisonSummary(notes=list(notes))
    models = {label: one for label, one in found[0].models.items() if label not in ComparisonSummary.model_fields}
    return ComparisonSummary(
        **models,
        **dict(found[0]),
        judges=[judges_summary(pair) for pair in judge_pairs(groups)],
        headline=quoted(groups[0].findings.headline),
        notes=[*notes, *(quoted(group.judge_check) for group in groups if group.judge_check)],
        groups=found if len(found) > 1 else [],
    )


def _group_summary(group: Group) -> GroupSummary:
    checks = {
        check.key: {"holds": check.holds, "expected": quoted(check.expected), "measured": quoted(check.measured)}
        | check.values
        for check in group.findings.checks
    }
    models = {each.label: _model_summary(each, group.metrics) for each in group.evaluations}
    common = {
        each.label: {"n": part.n, "n_prompts": part.n_prompts, **score_columns(group.metrics, part)}
        for each, part in (group.common_cells if group.is_uneven else [])
    }
    return GroupSummary(
        models=models, seeds=list(group.seeds), judge=group.judge, bench=group.bench, coverage=quoted(group.coverage),
        common=common, checks=checks,
    )  # fmt: skip


def _model_summary(evaluation: Evaluation, metrics: Sequence[MetricInfo]) -> ModelSummary:
    total = evaluation.total
    scores: dict[str, object] = {}
    if by_kind := instruction_rows(evaluation):
        scores |= {"S_l_obeyed": by_kind[-1].obeyed, "life_score": by_kind[-1].life}
    for metric in metrics:
        value = total.scores[metric.name]
        scores[metric.name] = value.mean
        scores[f"{metric.name}_interval"] = value.interval
        scores[f"{metric.name}_by_seed"] = value.by_repeat
    return ModelSummary(
        max_words=total.max_words,
        max_words_clean=total.max_clean_words,
        S_l_clean=total.clean_length,
        length_volatility=total.volatility.mean,
        length_volatility_interval=total.volatility.interval,
        n=total.n,
        n_missing=total.n_missing,
        n_prompts=total.n_prompts,
        n_unscored=n_unscored(total, metrics),
        n_empty=total.n_empty,
        n_cut=total.n_cut,
        median_words=total.median_words,
        max_train_words=evaluation.max_train_words,
        seeds=seeds(evaluation.answers),
        run=evaluation.node.id,
        **scores,
    )


def score_columns(metrics: Sequence[MetricInfo], cell: Cell | None) -> dict[str, float | None]:
    """Mean and both ends of the interval of each metric, by the name of their column."""
    found: dict[str, float | None] = {}
    for metric in metrics:
        value = cell.scores[metric.name] if cell else Score()
        ends = value.interval or (None, None)
        found |= {metric.name: value.mean, f"{metric.name}_low": ends[0], f"{metric.name}_high": ends[1]}
    return found


def as_csv(groups: Sequence[Group]) -> str:
    """One line for each model and part of the bench: all, each range, each language, each type of prompt.

    The part "common" is the prompts that all models answered; it exists only if the models answered different prompts.
    The column "judge_check" exists only if a judge failed its check. An empty cell means unknown, not zero.
    """
    metrics = all_metrics(each for group in groups for each in group.evaluations)
    clean = ["S_l_clean"] if any(metric.kind == "length" for metric in metrics) else []
    head = [
        "bench", "judge", "model", "part", "prompts", "answers", "asked", "missing", "empty", "cut",
        *score_columns(metrics, None),
        *clean, "unscored", "median_words", "max_words", "max_words_clean", "max_train_words", "run",
    ]  # fmt: skip
    scatters = any(each.total.volatility.mean is not None for group in groups for each in group.evaluations)
    head += ["length_volatility", "length_volatility_low", "length_volatility_high"] if scatters else []
    is_unfit = any(each.is_judge_unfit for group in groups for each in group.evaluations)
    head += ["judge_check"] if is_unfit else []
    lines: list[list[object]] = []
    for group, (each, name, part) in ((own, found) for own in groups for found in _parts(own)):
        scores = [None if value is None else round(value, 4) for value in score_columns(metrics, part).values()]
        lines.append(
            [group.bench, each.judge, each.label, name, part.n_prompts, part.n, part.asked, part.n_missing,
             part.n_empty, part.n_cut, *scores, *([part.clean_length and round(part.clean_length, 4)] if clean else []),
             n_unscored(part, group.metrics), part.median_words, part.max_words, part.max_clean_words,
             each.max_train_words, each.node.id, *([*_rounded(part.volatility)] if scatters else []),
             *([_UNFIT if each.is_judge_unfit else None] if is_unfit else [])]
        )  # fmt: skip
    return csv_table(head, lines)


def _rounded(value: Score) -> list[float | None]:
    """Mean and both ends of the interval."""
    return [None if number is None else round(number, 4) for number in (value.mean, *(value.interval or (None, None)))]


def _parts(group: Group) -> Iterator[tuple[Evaluation, str, Cell]]:
    """Each model, with the name of each part of the bench and the model's cell."""
    for each, common in group.common_cells:
        yield each, "all", each.total
        if group.is_uneven:
            yield each, "common", common
        types = {f"type {name}": part for name, part in each.parts["type"].items()}
        for name, part in {**each.parts["range"], **each.parts["language"], **types}.items():
            yield each, name, part


def _overall(group: Group) -> list[list[str]]:
    """For each model: its name, longest training answer, longest answer, scores with intervals, answers, unscored."""
    return [
        [
            each.label, words(each.max_train_words), longest(each.total),
            *(with_span(each.total.scores[metric.name], metric) for metric in group.metrics),
            answers(each.total), "not judged" if (n := group.unscored(each.total)) is None else f"{n:,}",
        ]
        for each in group.evaluations
    ]  # fmt: skip


def longest(part: Cell) -> str:
    """``17,467 [3,577 clean]``, the second only if cutting off loops and next turns changes the longest answer."""
    clean = part.max_clean_words
    return words(part.max_words) + ("" if clean in (None, part.max_words) else f" [{words(clean)} clean]")


def answers(part: Cell) -> str:
    """``120``, or ``246 of 492`` if some answers are missing."""
    return f"{part.n:,} of {part.asked:,}" if part.n_missing else f"{part.n:,}"


def _on_common_prompts(group: Group) -> list[list[str]]:
    """For each model: its name, and its scores with intervals on the prompts that all models answered."""
    return [
        [each.label, *(with_span(part.scores[metric.name], metric) for metric in group.metrics)]
        for each, part in (group.common_cells if group.is_uneven and group.common else [])
    ]


def with_span(value: Score, metric: MetricInfo) -> str:
    """``61.2 [58.1 to 66.0]``."""
    mean = score(value.mean, metric.decimals)
    return f"{mean} [{span(value.interval, metric.decimals)}]" if value.interval else mean


def as_markdown(groups: Sequence[Group]) -> str:
    """The overall table of each group with intervals, for a README or an issue."""
    blocks = []
    for group in groups:
        labels = [metric.label for metric in group.metrics]
        head = ["model", "trained on up to", "longest answer", *labels, "answers", "unscored"]
        finding = markdown_cell(quoted(group.findings.headline), 600)
        rows = [[markdown_cell(label), *cells] for label, *cells in _overall(group)]
        table = markdown_table(map(markdown_cell, head), rows, align="l" + "r" * len(head))
        blocks.append(f"**{markdown_cell(group.bench)}**, {markdown_cell(group.judge_label)}. {finding}\n\n{table}")
        blocks += filter(None, [judges_table(group, groups)])
        blocks += [markdown_cell(quoted(note), 900) for note in _notes(group)]
        if common := _on_common_prompts(group):
            cells = [[markdown_cell(label), *scores] for label, *scores in common]
            head = ["model", *(f"{label} on common prompts" for label in labels)]
            blocks.append(markdown_table(map(markdown_cell, head), cells, align="l" + "r" * len(labels)))
    footer = "Brackets: 95% intervals over prompts. Missing and unscored answers enter no mean."
    if any(group.volatility for group in groups):
        footer += " Volatility: standard deviation of the lengths of a prompt's answers in percent of their mean."
    if any(group.cuts for group in groups):
        footer += " Clean: without loops and next turns played by the model."
    return "\n\n".join([*blocks, footer]) + "\n"


def _notes(group: Group) -> list[str]:
    """What a reader of the means has to know."""
    notes = (
        group.judge_check, group.coverage, group.cuts, instruction_note(group.evaluations), group.volatility,
        group.templates,
    )  # fmt: skip
    return [note for note in notes if note]


def print_tables(groups: Sequence[Group]) -> None:
    """Print one table per group: longest answer, scores with intervals, answers and unscored."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    for group in groups:
        table = Table(
            title=Text(f"{group.bench}, {group.judge_label}"), title_justify="left", title_style="bold",
            caption="cap: longest answer in training. Below each score: its 95% interval over prompts.",
            caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False,
        )  # fmt: skip
        widest = max(len(each.label) for each in group.evaluations)
        table.add_column("model", overflow="fold", min_width=min(14, widest))
        for heading in ("cap", "longest", *(metric.label for metric in group.metrics), "answers\n(unscored)"):
            table.add_column(visible(heading), justify="right", no_wrap=True)
        for *cells, came, unscored in _overall(group):
            cells.append(came if unscored == "not judged" else f"{came}\n({unscored})")
            # Text, not str: rich would read square brackets in a name as markup.
            table.add_row(*map(Text, _in_lines(cells)))
        show(table)
        for note in _notes(group):
            show(Text(quoted(note)))
        if common := _on_common_prompts(group):
            table = Table(title="On common prompts", title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
            for heading in ("model", *(metric.label for metric in group.metrics)):
                table.add_column(visible(heading), justify="left" if heading == "model" else "right")
            for cells in common:
                table.add_row(*map(Text, _in_lines(cells)))
            show(table)
        show(Text(quoted(group.findings.headline)))


def _in_lines(cells: Sequence[str]) -> list[str]:
    """A name and its numbers, each interval below its score, so that seven columns fit 80 characters."""
    label, *numbers = cells
    return [visible(label), *(text.replace(" [", "\n").rstrip("]").replace(" to ", "-") for text in numbers)]
