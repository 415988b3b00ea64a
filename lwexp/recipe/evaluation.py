"""``lwexp evaluate``: a model answers a bench, the answers are scored, and a report compares models."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lwexp.config import Config
from lwexp.config.evaluate import ApiEngine, ServerEngine, api_of
from lwexp.extend import JudgedMetric
from lwexp.extend.bench import bench_heading
from lwexp.extend.endpoint import AskedJudge
from lwexp.pack.model_weights import conversion_advice
from lwexp.recipe.answers import (
    chat_template,
    check_architecture,
    collect_answers,
    model_folder,
    subject,
    template_for_report,
)
from lwexp.recipe.closing import end
from lwexp.recipe.decoder import with_decoder
from lwexp.recipe.lineage import describe_sampling, judge_prompt_input, missing_for_now, require_keys, train_run_of
from lwexp.records import LwexpError, Prompt, Response, Verdict, read_rows
from lwexp.runs import Run, RunDirectory, find_run, fingerprint, model_fingerprint, open_run
from lwexp.runs.artifacts import REPORT, RESPONSES, VERDICTS, EvaluateResults
from lwexp.runs.logs import console_log
from lwexp.runs.summaries import JudgeSummary, RegressionSummary
from lwexp.text.plain import plural

if TYPE_CHECKING:
    from lwexp.score.given_scores import GivenScores

log = logging.getLogger(__name__)


def evaluate(config: Config) -> RunDirectory | None:
    """Checkpoint, server or file + prompts -> responses -> verdicts -> tables and a report. None after a dry run."""
    from lwexp.benches.select import load_bench
    from lwexp.report import compare
    from lwexp.score.how_measured import write_how_measured

    console_log()
    _refuse_a_judge_that_does_not_fit(config)
    prompts = load_bench(config.bench)
    trained = trained_run(config)
    other = _other(config)
    if config.dry_run:
        config = with_decoder(config, model_folder(config, trained))
        print(f"{subject(config, trained)} on bench {bench_heading(config.bench.model_dump())}")
        if (model := _checked_folder(config, trained, prompts)) is not None:
            print(model)
        if trained is None and (template := chat_template(config, None)):
            print(f"prompts: chat template {template}")
        repeats, metrics = config.sample.repeats, config.bench.scored_by
        print(describe_sampling(prompts, config, repeats, metrics, is_compared=other is not None))
        return None
    name, inputs = f"eval-{_name(config, trained)}", _inputs(config, prompts, trained, other)
    config = with_decoder(config, model_folder(config, trained), "evaluate", name=name, inputs=inputs)
    run = open_run(
        "evaluate", config, default_name=name, inputs=inputs,
        parents=[trained] if trained else [],
        labels={"bench": config.bench.name, **(dict(trained.labels.items()) if trained else {})},
        check=lambda: require_keys(config),
    )  # fmt: skip
    with run:
        if not run.is_finished:
            check_architecture(config)
            scored: dict[str, GivenScores] = {}
            responses = collect_answers(config, prompts, trained, run, scored)
            verdicts = _score(config, responses, run, scored)
            if other is not None:
                _compare(config, responses, verdicts, other, run)
            _close(run, responses, verdicts, template_for_report(config, trained))
    write_how_measured(config, run)
    compare([run.path], run.path / REPORT)
    return end(run)


def _refuse_a_judge_that_does_not_fit(config: Config) -> None:
    """Check this before anything is sampled, because scores that the judge cannot give would be missing."""
    metrics, judge = config.bench.scored_by, config.judge
    if not isinstance(judge, AskedJudge):
        if all(metric.needs_judge for metric in metrics):
            raise LwexpError(f"judge=none: all metrics of bench={config.bench.name} need a judge; choose one")
        return
    for metric in metrics:
        if isinstance(metric, JudgedMetric):
            metric.judge_prompt(judge.prompt)
    if judge.segments and not any(metric.kind == "quality" for metric in metrics):
        raise LwexpError(f"judge.segments=true: parts are scored by S_q, which bench={config.bench.name} does not use")


def trained_run(config: Config) -> Run | None:
    """The training run whose model answers; None if the answers come from elsewhere.

    A server of the user's may serve any model; one that should serve a run's is told so by naming the run.
    """
    if config.responses or isinstance(config.engine, ApiEngine) or config.engine.path is not None:
        return None
    if api_of(config.engine) is not None and config.run == "newest":
        return None
    return train_run_of(config)


def _other(config: Config) -> Run | None:
    """The evaluation run that ``baseline_run`` names."""
    if config.baseline_run is None:
        return None
    other = find_run(
        config.baseline_run, root=Path(config.root), stages=("evaluate",), key="baseline_run",
        make_it="python evaluate.py bench=<the same> run=<the other model>",
    )  # fmt: skip
    here, there = bench_heading(config.bench.model_dump()), bench_heading(other.setting("bench", dict) or {})
    if here != there:
        wrong = f"baseline_run={config.baseline_run}"
        raise LwexpError(f"{wrong}: it used bench {there}, here it is {here}; choose the same bench=")
    return other


def _inputs(config: Config, prompts: Sequence[Prompt], trained: Run | None, other: Run | None) -> dict[str, str]:
    """Fingerprints of what the run reads. Different prompts, answers, weights or judge prompts make a different run."""
    asked = "\n".join(prompt.model_dump_json() for prompt in prompts)
    inputs = {"prompts": hashlib.sha256(asked.encode()).hexdigest()}
    if config.responses:
        inputs["responses"] = fingerprint(_existing(config.responses))
    inputs |= judge_prompt_input(config)
    if trained is not None:
        inputs["run"] = trained.id
    elif not config.responses and not isinstance(config.engine, ApiEngine) and config.engine.path is not None:
        folder = Path(config.engine.path)
        if advice := conversion_advice(folder):
            raise LwexpError(f"engine.path={folder}: {advice}")
        if not (folder / "config.json").is_file():
            raise LwexpError(f"engine.path={folder} holds no model (config.json is missing); wanted a model's folder")
        inputs["model"] = model_fingerprint(folder, Path(config.root))
    if other is not None:
        inputs["against"] = other.id  # part of the run's id, so the former name of the key stays here
    return inputs


def _checked_folder(config: Config, trained: Run | None, prompts: Sequence[Prompt]) -> str | None:
    """A line about the model folder that answers; None if the answers come from elsewhere.

    Raises:
        LwexpError: If the folder could not answer these prompts.
    """
    engine, folder = config.engine, model_folder(config, trained)
    if config.responses or isinstance(engine, ApiEngine) or folder is None:
        return None
    from lwexp.sample.folder_check import check_folder

    server = engine if isinstance(engine, ServerEngine) else None
    found = check_folder(folder, prompts, config.sample, engine.chat, server=server)
    check_architecture(config)
    return found


def _existing(path: str) -> Path:
    if not Path(path).exists():
        raise LwexpError(f"responses={path}: the file does not exist (wanted: a file or folder of answers)")
    return Path(path)


def _name(config: Config, trained: Run | None) -> str:
    """The readable part of the run's name."""
    if trained is not None:
        return trained.name
    plain = Path(subject(config, None)).stem if config.responses else subject(config, None).rstrip("/").split("/")[-1]
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in plain)[:50]


def _score(
    config: Config, responses: Sequence[Response], run: RunDirectory, scored: Mapping[str, GivenScores]
) -> list[Verdict]:
    from lwexp.score.anchors import check_judge
    from lwexp.score.checks import check_texts
    from lwexp.score.given_scores import given_verdicts
    from lwexp.score.verdicts import score_responses

    root = Path(config.root)
    takes_given = any(metric.kind == "quality" for metric in config.bench.scored_by)
    if scored and not takes_given:
        log.warning("%s have scores, which are left out: the bench has no S_q", plural(len(scored), "answer"))
    check_judge(config.judge, config.bench.scored_by, responses, seed=config.seed, folder=run.path, root=root)
    verdicts = score_responses(
        responses, config.judge, metrics=config.bench.scored_by, seed=config.seed, out_dir=run.path, root=root,
        given=given_verdicts(scored) if takes_given else (),
    )  # fmt: skip
    check_texts(
        responses, config.judge, parts=config.score.segments, seed=config.seed, out_dir=run.path, root=root,
        counter=config.bench.counter,
    )  # fmt: skip
    return verdicts


def _compare(
    config: Config, responses: Sequence[Response], verdicts: Sequence[Verdict], other: Run, run: RunDirectory
) -> None:
    """Compare with another run: paired differences per range, and pairwise judgements."""
    from lwexp.score.pairwise import compare_pairwise
    from lwexp.score.regression import regression

    theirs = list(read_rows(other.path / RESPONSES, Response))
    scored = _by_the_judge(list(read_rows(other.path / VERDICTS, Verdict)), config)
    verdicts = _by_the_judge(verdicts, config)
    metrics = [metric.info() for metric in config.bench.scored_by]
    if not _same_judge(run.path, other.path):
        judged = [metric for metric in metrics if metric.needs_judge]
        metrics = [metric for metric in metrics if not metric.needs_judge]
        if judged:
            names = ", ".join(metric.label for metric in judged)
            log.info("%s: not compared with %s, which has another judge or judge prompt", names, other.id)
    found = regression((responses, verdicts), (theirs, scored), config.bench.ranges, metrics)
    RegressionSummary(other=other.id, ranges=found).write(run.path)
    for label, parts in found.items():
        for part, numbers in parts.items():
            if numbers.is_worse:
                log.warning(
                    "%s on %s is worse than that of %s: %.1f against %.1f over %s",
                    part, label, other.id, numbers.ours, numbers.other, plural(numbers.n, "prompt"),
                )  # fmt: skip
    if config.score.pairwise and isinstance(config.judge, AskedJudge):
        compare_pairwise(
            responses, theirs, other.id, config.judge, seed=config.seed, out_dir=run.path, root=Path(config.root)
        )


def _by_the_judge(verdicts: Sequence[Verdict], config: Config) -> list[Verdict]:
    """Without the scores of other judges that came with the answers."""
    judged = {metric.kind for metric in config.bench.scored_by if metric.needs_judge}
    model = config.judge.model if isinstance(config.judge, AskedJudge) else None
    return [verdict for verdict in verdicts if verdict.kind not in judged or verdict.scorer == model]


def _same_judge(ours: Path, other: Path) -> bool:
    """Whether both runs were judged by the same model with the same prompt."""
    a, b = JudgeSummary.read(ours), JudgeSummary.read(other)
    if a is None or b is None:
        return False
    prompts = [{one.metric: one.prompt_sha256 for one in (summary, *summary.further)} for summary in (a, b)]
    return a.model == b.model and prompts[0] == prompts[1]


def _close(run: RunDirectory, responses: Sequence[Response], verdicts: Sequence[Verdict], template: str | None) -> None:
    """Finish the run; it is incomplete if a rerun may add missing answers or verdicts."""
    unscored = sum(verdict.score is None for verdict in verdicts)
    results = EvaluateResults(responses=len(responses), verdicts=len(verdicts), unscored=unscored, template=template)
    run.finish(results, missing=missing_for_now(run.path, verdicts))
