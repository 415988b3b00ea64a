"""A run's data-set card: README.md with the front matter that the Hugging Face hub and ``datasets`` read.

The front matter names the Parquet file, so ``datasets.load_dataset(<run directory>)`` loads the rows and no other
file there, and the unchanged folder, uploaded to the hub, shows its rows.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lwexp.pages.display import LANGUAGES, dollars
from lwexp.publish.texts import Entry, failures_of, kind_of
from lwexp.records import Conversation, PreferencePair, write_text
from lwexp.runs import Run
from lwexp.runs.artifacts import CARD, DataResults
from lwexp.text.cells import markdown_cell

_TEMPLATE = Path(__file__).parent / "templates" / "card.md"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_UNQUOTED = str.maketrans({"`": "'", "|": "/", "\n": " "})  # characters that would end a code span or a table cell
_BAR = 40  # characters of the longest bar


def write_card(run: Run, seen: Sequence[Entry]) -> None:
    """Write README.md into the run's directory."""
    import jinja2

    is_pair = kind_of(run.path) == "pair"
    kept = [entry for entry in seen if entry.status != "failed"]
    reasons = Counter(note for entry in seen if entry.status == "failed" for note in entry.notes)
    failures = failures_of(run.path)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    card = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        run=run,
        front_matter=_front_matter(run, kept, is_pair=is_pair),
        kept=kept,
        is_pair=is_pair,
        made=_made(run),
        languages=[_line(code, kept) for code in sorted({entry.language for entry in kept})],
        histogram=histogram([entry.words for entry in kept]),
        failures=failures.name if failures else "The run",
        reasons=[(markdown_cell(reason), count) for reason, count in reasons.most_common()],
        columns=list((PreferencePair if is_pair else Conversation).model_fields),
    )
    write_text(run.path / CARD, card)


def _front_matter(run: Run, kept: Sequence[Entry], *, is_pair: bool) -> str:
    from huggingface_hub import DatasetCardData

    files = [{"config_name": "default", "data_files": f"{'pairs' if is_pair else 'conversations'}.parquet"}]
    if is_pair and (run.path / "conversations.parquet").is_file():
        files.append({"config_name": "conversations", "data_files": "conversations.parquet"})
    data = DatasetCardData(
        pretty_name=run.id,
        language=sorted({entry.language for entry in kept}),
        license="unknown",
        task_categories=["text-generation"],
        size_categories=[next((name for limit, name in _SIZES if len(kept) < limit), "1M<n<10M")],
        tags=["long-output", "lwexp", *(["synthetic"] if run.stage != "import" else [])],
        configs=files,
    )
    return str(data.to_yaml()).strip()


def _made(run: Run) -> list[tuple[str, str]]:
    """Names and values for the card's first table, escaped for Markdown cells."""
    manifest, results, cost = run.manifest, run.results(DataResults), run.number("cost_usd")
    lines = [
        ("command", f"`{manifest.command.translate(_UNQUOTED)}`"),
        ("date", manifest.created[:10]),
        *((name, markdown_cell(value)) for name, value in manifest.labels.items()),
        ("seed", str(manifest.seed)),
        ("code", f"{manifest.git.commit or 'unknown'}{', with changes' if manifest.git.dirty else ''}"),
        *((f"input: {name}", f"`{value}`") for name, value in manifest.inputs.items()),
        *((f"parent: {parent}", "its run directory has the details") for parent in run.parents),
    ]
    if cost is not None:
        lines.append(("cost", dollars(cost)))
    if results is not None and results.cleaned:
        rules = ", ".join(f"{rule.replace('_', ' ')} {count:,}" for rule, count in results.cleaned.items())
        lines.append(("paragraphs cleaned", rules))
    return [(markdown_cell(name), value) for name, value in lines]


def _line(code: str, kept: Sequence[Entry]) -> list[str]:
    """The row for one language in the card's table of languages."""
    rows = [entry for entry in kept if entry.language == code]
    words = [entry.words for entry in rows]
    scores = [score for entry in rows if (score := entry.length_score) is not None]
    lengths = f"{min(words):,} / {statistics.median(words):,.0f} / {max(words):,}"
    mean = f"{statistics.mean(scores):.1f}" if scores else ""
    return [LANGUAGES.get(code, code), f"{len(rows):,}", lengths, f"{len(scores):,}", mean]


def histogram(words: Sequence[int]) -> str:
    """Text bars, from the first non-empty bin to the last; bins start at 0, 10, 20, 50, 100, 200, 500 and so on."""
    if not words:
        return "no rows"
    edges = [0, *(digit * 10**exponent for exponent in range(1, 8) for digit in (1, 2, 5))]
    counts = Counter(max(edge for edge in edges if edge <= n) for n in words)
    first, last = edges.index(min(counts)), edges.index(max(counts))
    tallest = max(counts.values())
    wide = len(f"{edges[last + 1]:,}")
    lines = []
    for low, high in zip(edges[first : last + 1], edges[first + 1 : last + 2], strict=True):
        bar = "\N{FULL BLOCK}" * max(round(_BAR * counts[low] / tallest), 1 if counts[low] else 0)
        lines.append(f"{low:>{wide},} to {high - 1:>{wide},}  {bar:<{_BAR}}  {counts[low]:,}".rstrip())
    return "\n".join(lines)
