"""Resolves a config's input runs, and describes what a step does."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lwexp.config import Config
from lwexp.config.evaluate import api_of
from lwexp.extend import Metric
from lwexp.extend.endpoint import AskedJudge, Endpoint
from lwexp.extend.source import AnySource
from lwexp.recipe.closing import training_command
from lwexp.records import Failure, LwexpError, Prompt, Verdict, read_rows
from lwexp.runs import Run, find_run, fingerprint
from lwexp.runs.artifacts import ANSWER_FAILURES, CONVERSATIONS, MODEL, PAIRS
from lwexp.runs.summaries import JudgeFailures

if TYPE_CHECKING:
    from lwexp.score.estimate import CallEstimate

log = logging.getLogger(__name__)

_ROW_FILES = (CONVERSATIONS, PAIRS)


def sft_run(config: Config) -> Run:
    """The SFT run that ``init_from`` names; "newest" is the newest finished one of the config's model."""
    model = config.model.name
    labels = {"model": model, "objective": "sft"} if config.init_from == "newest" else {"objective": "sft"}
    return _with_its_weights(
        find_run(
            config.init_from, root=Path(config.root), stages=("train",), labels=labels, key="init_from",
            make_it=f"python train.py model={model}",
        )
    )  # fmt: skip


def train_run_of(config: Config) -> Run:
    """The training run that ``run`` names; "newest" is the newest finished one of the config's model."""
    model = config.model.name
    return _with_its_weights(
        find_run(
            config.run, root=Path(config.root), stages=("train",), key="run",
            labels={"model": model} if config.run == "newest" else {}, make_it=training_command(sys.argv, model),
        )
    )  # fmt: skip


def _with_its_weights(run: Run) -> Run:
    """A training run, refused if its model was replaced: the run's id would still stand for the earlier one.

    A model that was deleted is refused only where it is loaded; results that were made with it stay readable.
    """
    from lwexp.pack.model_weights import check_model

    check_model(run.path / MODEL, may_lack_files=True)
    return run


def with_own_parents(config: Config, run: Run) -> Config:
    """A run's config with "newest" replaced by the run that it was made from, if a newer one exists by now.

    Raises:
        LwexpError: If the data that it read is gone.
    """
    changes: dict[str, object] = {}
    trained = run.parent_runs("train")
    if trained and config.init_from == "newest":
        changes["init_from"] = str(trained[-1].path)
    if trained and config.run == "newest":
        changes["run"] = str(trained[-1].path)
    if run.stage == "train":
        section = config.objective.rows.section
        sources = getattr(config.mixture, section).items()
        own = {name: _own_source(config, run, name, source) for name, source in sources}
        changes["mixture"] = config.mixture.model_copy(update={section: own})
    return config.model_copy(update=changes)


def _own_source(config: Config, run: Run, name: str, source: AnySource) -> AnySource:
    """The source, unchanged if it still finds the run that was read, else with the path of that run."""
    read = run.manifest.inputs.get(name)
    if read is None or getattr(source, "run", None) != "newest":
        return source
    key = f"mixture.{config.objective.rows.section}.{name}"
    try:
        if source.find(key, Path(config.root)).fingerprint == read:
            return source
    except LwexpError:
        pass  # searched among the parents below
    for parent in run.parent_runs("data", "import", "pairs"):
        if any((parent.path / file).is_file() and fingerprint(parent.path / file) == read for file in _ROW_FILES):
            log.info("%s: uses %s, from which %s was made, although another run is newer", key, parent.id, run.id)
            return source.model_copy(update={"run": str(parent.path)})
    raise LwexpError(f"{key}: the run that {run.id} was made from is gone; set {key}.run=<id>")


def judge_prompt_input(config: Config) -> dict[str, str]:
    """The fingerprint of the user's own judge prompt, as an input of the run; empty without one.

    Raises:
        LwexpError: If the file does not exist.
    """
    if not isinstance(config.judge, AskedJudge) or config.judge.prompt is None:
        return {}
    path = Path(config.judge.prompt)
    if not path.is_file():
        raise LwexpError(f"judge.prompt={path}: the file does not exist (wanted: a text file)")
    return {"judge_prompt": fingerprint(path)}


def require_keys(config: Config) -> None:
    """Check the keys of engine and judge before anything is sampled, which may take hours.

    Raises:
        LwexpError: If an environment variable that should hold a key is not set.
    """
    from lwexp.llm.key import require_key

    for endpoint in _asked(config):
        require_key(endpoint)


def _asked(config: Config) -> Iterator[Endpoint]:
    """The models behind an API that an evaluation asks: the engine, the judge."""
    if (api := api_of(config.engine)) is not None and config.responses is None:
        from lwexp.sample.remote import writer_of

        yield writer_of(api, config.sample)
    if isinstance(config.judge, AskedJudge):
        yield config.judge


def describe_sampling(
    prompts: Sequence[Prompt],
    config: Config,
    repeats: int,
    metrics: Sequence[Metric] | None = None,
    *,
    is_compared: bool = False,
) -> str:
    """What ``dry_run=true`` prints before sampling and scoring.

    Args:
        prompts: What would be answered.
        config: Has the judge and its settings.
        repeats: Answers to each prompt.
        metrics: The metrics; None takes the paper's three.
        is_compared: Whether the judge also compares each answer with that of another run.

    Raises:
        LwexpError: If the engine's or the judge's model does not take a parameter of the config.
    """
    from lwexp.llm.transport import require_parameters
    from lwexp.score.estimate import estimate_answers, estimate_judging, estimate_pairwise

    for endpoint in _asked(config):
        require_parameters(endpoint)
    judging = estimate_judging(config.judge, prompts, repeats, parts=config.score.segments, metrics=metrics)
    answers = len(prompts) * repeats
    asked = sorted({prompt.required_words for prompt in prompts if prompt.required_words is not None})
    lengths = ""
    if asked:
        words = answers * sum(asked) // len(asked)
        lengths = f" of {asked[0]:,} to {asked[-1]:,} words, {words:,} words if each meets its length"
    lines = [f"answers  {answers:,}{lengths}, at most {config.sample.max_new_tokens:,} tokens each"]
    for endpoint in _asked(config):
        if endpoint.section == "engine":
            lines.append(f"engine   {_priced(estimate_answers(endpoint, prompts, repeats), endpoint)}")
    judge = config.judge
    said = _priced(judging, judge) if judging.calls and isinstance(judge, AskedJudge) else "no judge calls"
    lines.append(f"judge    {said}")
    if is_compared and config.score.pairwise and isinstance(judge, AskedJudge):
        lines.append(f"pairwise {_priced(estimate_pairwise(judge, prompts, repeats), judge)}")
    return "\n".join(lines)


def _priced(found: CallEstimate, endpoint: Endpoint) -> str:
    unknown = f"at an unknown price; set {endpoint.section}.price"
    price = unknown if found.dollars is None else f"about ${found.dollars:,.2f}"
    tokens = f"{found.prompt_tokens:,} tokens in, {found.completion_tokens:,} out"
    return f"{found.calls:,} calls to {endpoint.model}, {tokens}, {price}"


def missing_for_now(folder: Path, verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Missing answers and verdicts that a rerun may add: reason -> how many.

    A transient error may pass, and a judge whose reply was unreadable is asked again at the next start.

    Args:
        folder: The run's folder, with the failures file of ``collect`` if there were failures.
        verdicts: The verdicts of all answers.
    """
    from lwexp.llm.errors import is_transient

    asked_again = [row for row in JudgeFailures.of(folder) if row.may_come]
    of_judge = {row.reason for row in asked_again if row.about == "answers"}
    found = Counter(
        verdict.unscored_reason
        for verdict in verdicts
        if verdict.unscored_reason and (verdict.unscored_reason in of_judge or is_transient(verdict.unscored_reason))
    )
    for row in asked_again:
        if row.about in ("segments", "pairs"):  # they have no verdict
            found[row.reason] += row.count
    if (failures := folder / ANSWER_FAILURES).exists():
        found.update(row.reason for row in read_rows(failures, Failure) if is_transient(row.reason))
    return dict(found)
