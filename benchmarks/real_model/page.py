"""The text of docs/study/real_model.md; its sentences follow from the numbers, whatever the result."""

from __future__ import annotations

from statistics import fmean

from benchmarks.real_model.study import STATISTICS, Setting, Study
from lwexp.pages.display import confidence, quoted, score, span
from lwexp.report.lineage import versions_of
from lwexp.report.load import load
from lwexp.text.cells import markdown_cell, markdown_table

_SAMPLE_WORDS = 90
_HARD = 0.02
"""A cap is called hard if at most this share of answers, one in fifty, is longer than the longest training answer."""


def page_text(study: Study, figure: str) -> str:
    """The whole page in Markdown."""
    title = "Does a real pretrained model's longest output follow the longest output in its SFT data?"
    parts = [
        f"# {title}",
        reading(study),
        f"![Lengths of the answers]({figure})",
        "Left: each mark is one model; dashed: as long as the longest training answer. Right: means over seeds.",
        "## Lengths",
        lengths_table(study),
        "Means over seeds, with 95% bootstrap intervals over prompts. In brackets: each seed. Cut: answers that "
        "reached the limit of new tokens; they count with the words that they have. Loop: text repeated to the end.",
        "## Words written by words asked for",
        requests_table(study),
        "## Every model",
        models_table(study),
        "## Samples",
        *samples(study),
        "## How it was made",
        made(study),
    ]
    return "\n\n".join(parts) + "\n"


def reading(study: Study) -> str:
    """Paragraphs: whether lengths follow the cap, how hard it is, what was cut, and what this cannot show."""
    follows = [
        f"the {name.removesuffix(' without loops')} of its answers{', loops left out,' if kind.without_loops else ''} "
        f"{_verb(study, name)}"
        for name, kind in STATISTICS.items()
        if study.fits.get(name) is not None
    ]
    ends = study.trained[0], study.trained[-1]
    means = [f"{fmean(end.values('mean')):,.0f} words after training on {end.label}" for end in ends]
    beyond = ", ".join(f"{100 * setting.beyond:.0f}% (trained on {setting.label})" for setting in study.trained)
    is_hard = all(setting.beyond <= _HARD for setting in study.trained)
    kind = "hard: at most one answer in fifty is" if is_hard else "soft: some answers are"
    lines = [
        f"SmolLM2-135M-Instruct, {sum(len(each.cells) for each in study.trained)} models: "
        f"{'; '.join(follows) or 'one cap alone says nothing about the others'}. Its mean answer has "
        f"{' and '.join(means)}.",
        f"The cap is {kind} longer than the longest training answer. Share of such answers: {beyond}.",
    ]
    cuts, came = (sum(numbers) for numbers in zip(*(_cut(setting) for setting in study.trained), strict=True))
    if cuts:
        lines.append(
            f"{cuts} of {came} answers of trained models reached the limit of new tokens. How long they would have "
            "become is not known, so the 95th percentile and the longest answer are lower bounds there."
        )
    if study.untouched is not None:
        cut, answers = _cut(study.untouched)
        lines[1] += (
            f" Untouched, the same model writes {fmean(study.untouched.values('mean')):,.0f} words in the mean, "
            f"{cut} of {answers} answers up to the limit."
        )
    lines.append(
        "What this does not show: the model is small, was already tuned to answer, and its weights were rounded to 4 "
        "bits before training. Its training texts are its own, cut at the end of a sentence, so they stop without "
        "concluding. Lengths are measured, quality is not: there is no judge."
    )
    return "\n\n".join(quoted(line) for line in lines)


def _verb(study: Study, name: str) -> str:
    """Whether a statistic rises with the cap, by the interval of its slope on logarithmic axes."""
    fit = study.fits[name]
    assert fit is not None
    low, high = fit.slope_interval or (fit.slope, fit.slope)
    uncertain = "does not clearly rise with the cap"
    says = "rises with the cap" if low > 0 else "shrinks as the cap grows" if high < 0 else uncertain
    sure = f", 95% interval {span(fit.slope_interval, 2)}" if fit.slope_interval else ""
    return f"{says} (slope {fit.slope:.2f} on logarithmic axes{sure})"


def _cut(setting: Setting) -> tuple[int, int]:
    return sum(cell.cut for cell in setting.cells), sum(len(cell.lengths) for cell in setting.cells)


def lengths_table(study: Study) -> str:
    """Mean, 95th percentile and longest side by side, a row for each cap."""
    rows = []
    for setting in study.settings:
        cut, answers = _cut(setting)
        row = [setting.label, f"{answers}", f"{cut}"]
        for name in STATISTICS:
            low, high = setting.interval(name)
            each = ", ".join(f"{value:,.0f}" for value in setting.values(name))
            row.append(f"{fmean(setting.values(name)):,.0f}, {low:,.0f} to {high:,.0f} ({each})")
        rows.append([*row, "-" if setting.trained_up_to is None else f"{100 * setting.beyond:.0f}%"])
    return markdown_table(["trained on", "answers", "cut", *STATISTICS, "longer than the cap"], rows)


def requests_table(study: Study) -> str:
    """Mean words for each length asked for."""
    asked = sorted(study.settings[0].by_request())
    rows = []
    for setting in study.settings:
        written = setting.by_request()
        rows.append([setting.label, *(f"{written[words]:,.0f}" if words in written else "-" for words in asked)])
    return markdown_table(["trained on", *(f"{words:,}" for words in asked)], rows)


def models_table(study: Study) -> str:
    """S_l and training numbers of each model, with its run."""
    rows = []
    for setting in study.settings:
        for cell in setting.cells:
            found, train = cell.evaluation.total.scores["S_l"], cell.evaluation.train
            known = train.number("seconds") if train else None
            rows.append([
                setting.label, f"{cell.seed}", f"{score(found.mean)}{confidence(found.interval)}",
                f"{known:,.0f}" if known is not None else "-", markdown_cell(cell.evaluation.node.id),
            ])  # fmt: skip
    return markdown_table(["trained on", "seed", "S_l", "training, s", "evaluation"], rows)


def samples(study: Study) -> list[str]:
    """The answers of every setting's first seed to one prompt for the shortest and one for the longest length."""
    first = [setting.cells[0] for setting in study.settings]
    prompts = {each.response.prompt_id: each.response for each in first[0].evaluation.came}
    asked = sorted({response.required_words or 0 for response in prompts.values()})
    found = []
    for words in (asked[0], asked[-1]):
        prompt = min((each for each in prompts.values() if each.required_words == words), key=lambda one: one.prompt_id)
        found.append(f"**{markdown_cell(prompt.prompt, 300)}**")
        for setting, cell in zip(study.settings, first, strict=True):
            own = next(each.response for each in cell.evaluation.came if each.response.prompt_id == prompt.prompt_id)
            found.append(f"{setting.label}, {own.words:,} words:\n\n> {_beginning(own.text)}")
    return found


def _beginning(text: str) -> str:
    words = text.split()
    more = " ..." if len(words) > _SAMPLE_WORDS else ""
    return markdown_cell(" ".join(words[:_SAMPLE_WORDS]) + more, 2000)


def made(study: Study) -> str:
    """Command, versions and time."""
    cells = [cell for setting in study.settings for cell in setting.cells]
    nodes = load([cell.evaluation.node.path for cell in cells]).nodes
    named = ("python", "torch", "transformers", "lightning")
    versions = [f"{name} {version}" for name, version in versions_of(nodes) if name in named]
    commits = sorted({(node.manifest.git.commit or "")[:12] for node in nodes.values() if node.manifest.git.commit})
    return "\n".join([
        "- Command: `make study-real`; data, prompts and their origin: `examples/smollm2/README.md`",
        f"- Commits: {', '.join(f'`{commit}`' for commit in commits) or 'not recorded'}",
        f"- Versions: {markdown_cell('; '.join(versions) or 'not recorded', 400)}",
    ])  # fmt: skip
