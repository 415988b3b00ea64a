"""A run's data-set card: README.md with the front matter that the Hugging Face hub and ``datasets`` read.

The front matter names the Parquet file, so ``datasets.load_dataset(<run directory>)`` loads the rows and nothing
else that lies there, and a folder that is uploaded as it is shows up on the hub with its rows.
"""

import statistics
from collections import Counter
from collections.abc import Sequence

from lwexp.pages.display import dollars
from lwexp.publish.texts import Entry, Kind, failures_of, kind_of
from lwexp.records import Conversation, PreferencePair, write_text
from lwexp.runs import Run
from lwexp.runs.artifacts import DataResults
from lwexp.text.cells import markdown_cell
from lwexp.text.words import score_length

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_NAMES = {"en": "English", "zh": "Chinese"}
_UNQUOTED = str.maketrans({"`": "'", "|": "/", "\n": " "})  # what would leave a code span or a table cell
_BAR = 40  # characters of the longest bar
_HOW: dict[str, str] = {
    "data": "AgentWrite (arXiv 2408.07055): the teacher turned each instruction into a plan, then wrote it paragraph "
    "by paragraph. What it wrote was cleaned by named rules.",
    "import": "Rows of another data set, taken over as they are; rows that could not be used were left out "
    "and counted.",
    "pairs": "A trained model answered each instruction several times. The answers were scored by length (S_l) and "
    "quality (S_q); chosen is the best of them.",
}
_LICENCE: dict[str, str] = {
    "data": "Not decided here. The texts come from the teacher named above, and its provider's terms say what they may "
    "be used for, training of other models included. Set `license` above before publishing.",
    "import": "That of the set it was imported from; set `license` above before publishing.",
    "pairs": "Not decided here. The answers come from a trained model, so the terms of its base model and of its "
    "training data apply. Set `license` above before publishing.",
}


def write_card(run: Run, seen: Sequence[Entry]) -> None:
    """Write README.md into the run's directory. The texts of its entries are not read."""
    kind = kind_of(run.path)
    kept = [entry for entry in seen if entry.status != "failed"]
    measured = "Chosen answers" if kind == "pair" else "Answers (the longest of each conversation)"
    stage = run.stage
    parts = [
        f"---\n{_front_matter(run, kept, kind)}\n---",
        f"# {run.id}",
        f"{len(kept):,} {'preference pairs' if kind == 'pair' else 'conversations'}. {_HOW[stage]}",
        "## How it was made\n\n" + _made(run),
        "## What is in it\n\n" + _per_language(kept, kind),
        f"## Lengths\n\n{measured} by words; a Chinese character counts as a word.",
        f"```\n{histogram([entry.words or 0 for entry in kept])}\n```",
        "## What was left out\n\n" + _left_out(run, [entry for entry in seen if entry.status == "failed"]),
        "## Columns\n\n" + _columns(kind),
        "## Loading\n\n```python\nimport datasets\n\n"
        'rows = datasets.load_dataset("<this folder>", split="train")\n```\n\n'
        "`viewer.html` shows every text in a browser, offline.",
        f"## Licence\n\n{_LICENCE[stage]}",
    ]
    write_text(run.path / "README.md", "\n\n".join(parts) + "\n")


def _front_matter(run: Run, kept: Sequence[Entry], kind: Kind) -> str:
    from huggingface_hub import DatasetCardData

    files = [{"config_name": "default", "data_files": f"{'pairs' if kind == 'pair' else 'conversations'}.parquet"}]
    if kind == "pair" and (run.path / "conversations.parquet").is_file():
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


def _made(run: Run) -> str:
    manifest = run.manifest
    results, cost = run.results(DataResults), run.number("cost_usd")
    git = manifest.git
    lines = [
        ("command", f"`{manifest.command.translate(_UNQUOTED)}`"),
        ("date", manifest.created[:10]),
        *((name, markdown_cell(value)) for name, value in manifest.labels.items()),
        ("seed", str(manifest.seed)),
        ("code", f"{git.commit or 'unknown'}{', with changes' if git.dirty else ''}"),
        *((f"input: {name}", f"`{value}`") for name, value in manifest.inputs.items()),
        *((f"parent: {parent}", "its run directory has the details") for parent in run.parents),
    ]
    if cost is not None:
        lines.append(("cost", dollars(cost)))
    if results is not None and results.cleaned:
        rules = ", ".join(f"{rule.replace('_', ' ')} {count:,}" for rule, count in results.cleaned.items())
        lines.append(("paragraphs cleaned", rules))
    rows = "\n".join(f"| {markdown_cell(name)} | {value} |" for name, value in lines)
    return f"| | |\n|---|---|\n{rows}\n\n`config.json` and `manifest.json` beside this card have every setting."


def _per_language(kept: Sequence[Entry], kind: Kind) -> str:
    words = "words of the chosen answer" if kind == "pair" else "words"
    head = f"| language | rows | {words}: least / median / most | state a length | mean S_l of these |"
    lines = [head, "|---|---|---|---|---|"]
    for code in sorted({entry.language for entry in kept}):
        rows = [entry for entry in kept if entry.language == code]
        lengths = sorted(entry.words or 0 for entry in rows)
        scores = [score_length(entry.asked, entry.words or 0) for entry in rows if entry.asked]
        lines.append(
            f"| {_NAMES.get(code, code)} | {len(rows):,} | {lengths[0]:,} / {statistics.median(lengths):,.0f} / "
            f"{lengths[-1]:,} | {len(scores):,} | {f'{statistics.mean(scores):.1f}' if scores else ''} |"
        )
    return "\n".join(lines)


def histogram(words: Sequence[int]) -> str:
    """Bars of text over the bins 0, 10, 20, 50, 100, 200, 500 and so on that hold anything."""
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


def _left_out(run: Run, failed: Sequence[Entry]) -> str:
    counts, found = run.tally, failures_of(run.path)
    failures = found.name if found else "The run"
    if not failed:
        return f"Nothing: {counts}." if counts else "Nothing."
    reasons = Counter(note for entry in failed for note in entry.notes)
    rows = "\n".join(f"| {markdown_cell(reason)} | {count:,} |" for reason, count in reasons.most_common())
    counts = counts or "The run was stopped before its end"
    return f"{counts}. `{failures}` names each with its reason.\n\n| reason | rows |\n|---|---|\n{rows}"


def _columns(kind: Kind) -> str:
    row_type = PreferencePair if kind == "pair" else Conversation
    about = {
        "messages": "the conversation: role and content",
        "prompt": "the messages before the answers",
        "required_words": "length that the instruction asks for, where it states one",
        "actual_words": "length of the longest answer, counted as LongBench-Write counts",
        "prompt_sha": "sha256 of the text of the prompt; several messages are joined by a zero byte",
        "finish_reasons": "how each paragraph's call ended",
        "cost_usd": "what the row cost, its plan included",
        "plan": "the plan as the teacher wrote it",
    }
    return "\n".join(f"- `{name}`: {about[name]}" if name in about else f"- `{name}`" for name in row_type.model_fields)
