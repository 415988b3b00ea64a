"""Model to report: sample a bench, score the answers, compare."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from lwexp.config import Config
from lwexp.recipe.lineage import describe_sampling, end, train_run_of
from lwexp.records import LwexpError, Prompt, Response, read_rows, write_rows
from lwexp.runs import RunDirectory, fingerprint, open_run
from lwexp.runs.logs import console_log

log = logging.getLogger(__name__)


def evaluate(config: Config) -> RunDirectory | None:
    """Checkpoint + prompts -> responses -> verdicts -> tables and a report. None after a dry run."""
    from lwexp.report import compare
    from lwexp.sample import collect, load_bench
    from lwexp.score import score_responses

    console_log()
    prompts = load_bench(config.bench)
    trained = None if config.responses else train_run_of(config)
    inputs = {"responses": fingerprint(_existing(config.responses))} if config.responses else {}
    if trained is not None:
        inputs["run"] = trained.id
    if config.dry_run:
        print(f"{trained.id if trained else config.responses} on bench {config.bench.name} v{config.bench.version}")
        print(describe_sampling(prompts, config, repeats=config.sample.repeats))
        return None
    name = Path(config.responses).stem if config.responses else (trained.manifest["name"] if trained else "")
    run = open_run(
        "evaluate", config, default_name=f"eval-{name}", inputs=inputs,
        parents=[trained] if trained else [],
        labels={"bench": config.bench.name, **(trained.manifest["labels"] if trained else {})},
    )  # fmt: skip
    with run:
        if not run.is_finished:
            if trained is None:
                responses = _given_responses(config, prompts)
                write_rows(run.path / "responses.jsonl", responses)
            else:
                responses = collect(
                    prompts, model=trained.path / "model", model_name=trained.id, sample=config.sample,
                    seed=config.seed, out=run.path / "responses.jsonl",
                )  # fmt: skip
            verdicts = score_responses(responses, config.judge, seed=config.seed, out_dir=run.path)
            unscored = sum(verdict.score is None for verdict in verdicts)
            run.finish({"responses": len(responses), "verdicts": len(verdicts), "unscored": unscored})
    compare([run.path], run.path / "report.html")
    return end(run)


def _existing(path: str | None) -> Path:
    if path is None or not Path(path).exists():
        raise LwexpError(f"responses={path}: the file does not exist (wanted: JSONL of Response rows)")
    return Path(path)


def _given_responses(config: Config, prompts: Sequence[Prompt]) -> list[Response]:
    """Responses that something else wrote, refused where they answer prompts of another bench."""
    rows = list(read_rows(_existing(config.responses), Response))
    known = {prompt.id for prompt in prompts}
    strangers = [row.prompt_id for row in rows if row.prompt_id not in known]
    if strangers:
        raise LwexpError(
            f"responses={config.responses}: {len(strangers)} of {len(rows)} answers are to prompts that bench "
            f"{config.bench.name} does not have, the first is {strangers[0]!r}; choose the right bench="
        )
    return rows
