"""how_measured.md: every parameter of an evaluation on one page, read off the files of its run.

The page holds no score. It is what someone else needs to repeat the measurement or to see why theirs differs.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from lwexp.config import Config
from lwexp.config.evaluate import api_of
from lwexp.extend import Strict
from lwexp.extend.endpoint import AskedJudge
from lwexp.extend.settings import key_of
from lwexp.extend.word_range import WordRange
from lwexp.records import AnswerCheck, BadRow, Response, Row, Verdict, scan_rows, write_text
from lwexp.runs import Run
from lwexp.runs.artifacts import CHECKS, HOW_MEASURED, RESPONSES, VERDICTS, EvaluateResults
from lwexp.runs.summaries import JudgeSummary
from lwexp.stats.intervals import RESAMPLES, SMALL_SAMPLE
from lwexp.text.cells import markdown_cell, markdown_table
from lwexp.text.plain import plural

R = TypeVar("R", bound=Row)

_LONGEST = 4000  # characters of a value
_NOT_RECORDED = "not recorded"
_MARK = 16  # characters of a fingerprint of code
_INTERVALS = (
    f"95%, over prompts, with repeats of a prompt averaged first; below {SMALL_SAMPLE} prompts the wider of Student's "
    f"t and a studentised bootstrap, else percentiles of {RESAMPLES:,} bootstrap means"
)
_CUTS = "reasoning before an answer is separated and never scored; next turns and loops are part of the scored text"


class Fact(NamedTuple):
    """One row of the page. The name is Markdown, the value any text."""

    name: str
    value: str


def write_how_measured(config: Config, run: Run) -> Path:
    """Write the page into the folder of a finished evaluation, and return its path."""
    responses, unreadable = _rows(run.path / RESPONSES, Response)
    sections = {
        "Bench": [*_prompts(run, responses), *_settings("bench", config.bench)],
        "Answers": [*_answers(config, run, responses), *_counts(run, responses, unreadable)],
        "Scores": [*_scores(config, run), Fact("intervals", _INTERVALS), Fact("cuts", _CUTS)],
        "Software": list(_software(run)),
    }
    tables = [
        f"## {title}\n\n" + markdown_table(("", ""), [(f.name, markdown_cell(f.value, _LONGEST)) for f in facts])
        for title, facts in sections.items()
    ]
    where = run.path / HOW_MEASURED
    write_text(where, f"# How {markdown_cell(run.id)} was measured\n\n" + "\n\n".join(tables) + "\n")
    return where


def _prompts(run: Run, responses: Sequence[Response]) -> Iterator[Fact]:
    prompts = len({response.prompt_id for response in responses})
    yield Fact("prompts", f"{prompts:,}, sha256 of their rows {run.manifest.inputs.get('prompts', _NOT_RECORDED)}")


def _answers(config: Config, run: Run, responses: Sequence[Response]) -> Iterator[Fact]:
    yield Fact("model", _values(response.model for response in responses))
    if config.responses:
        yield Fact("file of answers", f"{config.responses}, sha256 {run.manifest.inputs.get('responses')}")
    else:
        yield from _weights(run)
        yield from _settings("engine", config.engine)
        results = run.results(EvaluateResults)
        template = results.template if results is not None and results.template else _NOT_RECORDED
        yield Fact("chat template", "the server's" if api_of(config.engine) is not None else template)
        yield from _settings("sample", config.sample)
    sampled = [response.sampling for response in responses]
    for name in ("temperature", "top_p", "top_k", "repetition_penalty", "max_new_tokens", "seed"):
        found = (_NOT_RECORDED if sampling is None else getattr(sampling, name) for sampling in sampled)
        yield Fact(f"`{name}`", _values(found))


def _weights(run: Run) -> Iterator[Fact]:
    inputs = run.manifest.inputs
    if "run" in inputs:
        yield Fact("training run", inputs["run"])
    if "model" in inputs:
        yield Fact("fingerprint of the weights", inputs["model"])


def _counts(run: Run, responses: Sequence[Response], unreadable: int = 0) -> Iterator[Fact]:
    came = [response for response in responses if response.finish_reason != "error"]
    ends = Counter(response.finish_reason for response in came)
    checks, damaged = _rows(run.path / CHECKS, AnswerCheck)
    is_checked = bool(checks or not came) and not damaged
    if unreadable:
        yield Fact("unreadable lines", f"{unreadable:,} of {RESPONSES}, left out of this page")
    yield Fact("answers", f"{len(came):,} of {len(responses):,}; missing ones enter no mean")
    yield Fact("empty", f"{sum(response.words == 0 for response in came):,}, scored as 0 words")
    cut = f"{ends['length']:,}" if ends["unknown"] < len(came) else "unknown"
    unsaid = f"; {ends['unknown']:,} do not say how they ended" if ends["unknown"] else ""
    looped = f"; {ends['loop']:,} more ended by sample.stop_after_repeats" if ends["loop"] else ""
    yield Fact("cut off at the token limit", f"{cut}{looped}{unsaid}")
    yield Fact("with separated reasoning", f"{sum(bool(response.reasoning) for response in came):,}")
    for name, count in (
        ("with a next turn", sum(bool(check.next_turn) for check in checks)),
        ("ending in a loop", sum(check.loops for check in checks)),
    ):
        yield Fact(name, f"{count:,}" if is_checked else _NOT_RECORDED)


def _scores(config: Config, run: Run) -> Iterator[Fact]:
    for metric in config.bench.scored_by:
        yield Fact(markdown_cell(metric.label or metric.name), metric.meaning)
    yield from _settings("score", config.score)
    judge = config.judge
    yield from _settings("judge", judge)
    if isinstance(judge, AskedJudge):
        yield Fact("seed sent to the judge", str(config.seed))
        if (summary := JudgeSummary.read(run.path)) is not None:
            for one in (summary, *summary.further):
                yield Fact(f"question of {markdown_cell(one.metric)}", f"{one.prompt}, sha256 {one.prompt_sha256}")
                unscored = ", ".join(f"{count:,} {reason}" for reason, count in one.unscored.items())
                yield Fact(
                    f"scored by {markdown_cell(one.metric)}",
                    f"{one.scored:,} of {one.answers:,}; unscored: {unscored or '0'}",
                )
    judged = {metric.kind for metric in config.bench.scored_by if metric.needs_judge}
    own = judge.model if isinstance(judge, AskedJudge) else None
    verdicts, damaged = _rows(run.path / VERDICTS, Verdict)
    if damaged:
        yield Fact("unreadable lines", f"{damaged:,} of {VERDICTS}, left out of this page")
    scorers = Counter(verdict.scorer for verdict in verdicts if verdict.kind in judged)
    for scorer, count in scorers.items():
        if scorer != own:
            yield Fact("scores that came with the answers", f"{scorer}: {plural(count, 'answer')}")


def _software(run: Run) -> Iterator[Fact]:
    made = run.manifest
    yield Fact("command", made.command)
    yield Fact("created", f"{made.created}, started {plural(len(made.starts), 'time')}, seed {made.seed}")
    changed = ", with changes that are not committed" if made.git.dirty else ""
    yield Fact("git commit", f"{made.git.commit or 'not a checkout'}{changed}")
    yield Fact("code", ", ".join(f"{room} {mark[:_MARK]}" for room, mark in made.code.items()))
    for plugin, mark in made.plugins.items():
        yield Fact("plugin", f"{plugin} {mark[:_MARK]}")
    versions = {"python": made.python, **made.versions}
    yield Fact("versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version))


def _rows(path: Path, row_type: type[R]) -> tuple[list[R], int]:
    """The readable rows of a file and the number of other lines. A finished run may have lost a file or part of it
    since, and then still gets its page and its report."""
    if not path.is_file():
        return [], 0
    lines = list(scan_rows(path, row_type))
    rows = [line for line in lines if not isinstance(line, BadRow)]
    return rows, len(lines) - len(rows)


def _settings(prefix: str, section: Strict) -> Iterator[Fact]:
    """Every key that can change a result. Keys that affect only speed, names or places are left out."""
    for name, field in type(section).model_fields.items():
        if key_of(field).affects in ("result", "choice"):
            yield Fact(f"`{prefix}.{name}`", _shown(getattr(section, name)))


def _shown(value: object) -> str:
    if isinstance(value, tuple) and value and all(isinstance(part, WordRange) for part in value):
        return " ".join(part.label for part in value)
    if isinstance(value, str):
        return value
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else to_jsonable_python(value)
    return json.dumps(plain, ensure_ascii=False)


def _values(found: Iterable[object]) -> str:
    """The value that all answers share, or each value with the number of answers that have it."""
    counts = Counter(found)
    if len(counts) == 1:
        return str(next(iter(counts)))
    shown = [f"{value} ({count:,})" for value, count in counts.most_common(5)]
    return ", ".join(shown) + (f" and {len(counts) - 5:,} more" if len(counts) > 5 else "")
