"""The recipe: which room runs after which, and which run each one reads.

The only module above all rooms. It finds input runs, opens the run directory, hands rooms plain values
and paths, and records results; it computes nothing itself. Rooms are imported inside the functions, so
that a mistake in the config is told before torch is loaded.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lwexp.config import Config
from lwexp.records import Conversation, LwexpError, Prompt, Response, read_rows, tally, write_rows
from lwexp.runs import RunDirectory, find_run, fingerprint, open_run
from lwexp.runs.logs import console_log
from lwexp.runs.trials import Trial, note_run

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)


def write(config: Config) -> None:
    """AgentWrite: instructions -> plans -> drafts -> conversations."""
    from lwexp.generate import write_drafts

    console_log()
    _end(write_drafts(config))


def import_file(config: Config) -> None:
    """A file of conversations, as it is -> conversations."""
    from lwexp.mix import import_conversations

    console_log()
    _end(import_conversations(config))


def pairs(config: Config) -> RunDirectory:
    """Sample n answers an instruction from an SFT run, score them, choose preference pairs."""
    from lwexp.mix.preferences import choose_pairs
    from lwexp.sample import collect
    from lwexp.score import score_responses

    console_log()
    start = _sft_run(config)
    parents = [start, *_parents(start, stages=("data", "import"))]
    run = open_run(
        "pairs", config, default_name=f"pairs-{start.manifest['name']}", inputs={"sft": start.id},
        parents=parents, labels={"model": start.manifest["labels"]["model"]},
    )  # fmt: skip
    with run:
        if run.is_finished or config.dry_run:
            return _end(run)
        prompts = _pair_prompts(parents[1:], config.pairs.instructions)
        sample = config.sample.model_copy(update={"temperature": config.pairs.temperature, "repeats": config.pairs.n})
        responses = collect(
            prompts, model=start.path / "model", model_name=start.id, sample=sample, seed=config.seed,
            out=run.path / "responses.jsonl",
        )  # fmt: skip
        verdicts = score_responses(responses, config.judge, seed=config.seed, out_dir=run.path)
        kept, failures = choose_pairs(
            responses, verdicts, rejected=config.pairs.rejected, min_margin=config.pairs.min_margin,
            seed=config.seed,
        )  # fmt: skip
        write_rows(run.path / "pairs.jsonl", kept)
        write_rows(run.path / "failures.jsonl", failures)
        counts = tally(len(prompts), len(kept), (failure.reason for failure in failures))
        log.info("pairs: %s", counts)
        run.finish({"tally": str(counts), "pairs": len(kept), "answers": len(responses)})
    return _end(run)


def train(config: Config) -> RunDirectory:
    """Mixture -> packs -> checkpoint and an ordinary Hugging Face folder."""
    from lwexp.mix import resolve_mixture
    from lwexp.train import preflight, train_run

    console_log()
    preflight(config)
    sources = resolve_mixture(config)
    start = _sft_run(config) if config.objective.kind == "dpo" else None
    parents = [source.run for source in sources if source.run is not None]
    inputs = {source.name: source.fingerprint for source in sources}
    if start is not None:
        parents.append(start)
        inputs["init_from"] = start.id
        log.info("DPO starts from %s", start.path)
    run = open_run(
        "train", config, default_name=f"{config.objective.kind}-{config.model.name}", inputs=inputs,
        parents=parents, labels={"model": config.model.name, "objective": config.objective.kind},
    )  # fmt: skip
    with run:
        if not run.is_finished:
            results = train_run(config, run, sources, start.path / "model" if start else None)
            if results is not None:
                run.finish(results)
    return _end(run)


def evaluate(config: Config) -> RunDirectory:
    """Checkpoint + prompts -> responses -> verdicts -> tables and a report."""
    from lwexp.report import print_table, write_report
    from lwexp.sample import collect, load_bench
    from lwexp.score import score_responses

    console_log()
    prompts = load_bench(config.bench)
    trained = None if config.responses else _train_run(config)
    inputs = {"responses": fingerprint(_existing(config.responses))} if config.responses else {}
    if trained is not None:
        inputs["run"] = trained.id
    name = Path(config.responses).stem if config.responses else (trained.manifest["name"] if trained else "")
    run = open_run(
        "evaluate", config, default_name=f"eval-{name}", inputs=inputs,
        parents=[trained] if trained else [],
        labels={"bench": config.bench.name, **(trained.manifest["labels"] if trained else {})},
    )  # fmt: skip
    with run:
        if not run.is_finished and not config.dry_run:
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
    if run.is_finished:
        write_report([run.path], run.path / "report.html")
        print_table([run.path])
    return _end(run)


def compare_trials(trials: Sequence[Trial], folder: Path) -> None:
    """One comparison over all trials of a sweep, the failed ones listed with their exit code."""
    from lwexp.report import print_table, write_report

    evaluated = [
        Path(run)
        for trial in trials
        for run in trial.runs or []
        if RunDirectory.load(Path(run)).manifest["stage"] == "evaluate"
    ]
    for trial in trials:
        if trial.exit_code != 0:
            log.error("trial %d failed (exit code %s): %s", trial.number + 1, trial.exit_code, trial.label)
    if not evaluated:
        log.warning("no trial was evaluated, so there is nothing to compare; set then_evaluate=true")
        return
    report = write_report(evaluated, folder / "report.html")
    print_table(evaluated)
    log.info("comparison of %d trials: %s", len(evaluated), report)


def _end(run: RunDirectory) -> RunDirectory:
    """Say where the results are, and tell the sweep that started this process."""
    note_run(run.path)
    log.info("%s: %s", run.manifest["status"], run.path)
    return run


def _sft_run(config: Config) -> RunDirectory:
    model = config.model.name
    labels = {"model": model, "objective": "sft"} if config.init_from == "newest" else {"objective": "sft"}
    return find_run(
        config.init_from, root=Path(config.root), stages=("train",), labels=labels, key="init_from",
        make_it=f"python train.py model={model}",
    )  # fmt: skip


def _train_run(config: Config) -> RunDirectory:
    model = config.model.name
    return find_run(
        config.run, root=Path(config.root), stages=("train",), key="run",
        labels={"model": model} if config.run == "newest" else {}, make_it=f"python train.py model={model}",
    )  # fmt: skip


def _parents(run: RunDirectory, stages: tuple[str, ...]) -> list[RunDirectory]:
    """The parents of a run that still exist and are of one of these stages."""
    parents = [Path(parent["path"]) for parent in run.manifest["parents"]]
    loaded = [RunDirectory.load(path) for path in parents if (path / "manifest.json").is_file()]
    return [parent for parent in loaded if parent.manifest["stage"] in stages]


def _pair_prompts(data_runs: Sequence[RunDirectory], wanted: int) -> list[Prompt]:
    """Instructions with a stated length, taken in turn from each required length, shortest first."""
    by_length: dict[int, list[Prompt]] = {}
    for run in data_runs:
        for row in read_rows(run.path / "conversations.jsonl", Conversation):
            if row.required_words is not None and len(row.messages) == 2:
                prompt = Prompt(
                    id=row.id, text=row.messages[0].content, language=row.language, type=row.source,
                    required_words=row.required_words,
                )  # fmt: skip
                by_length.setdefault(row.required_words, []).append(prompt)
    available = sum(len(prompts) for prompts in by_length.values())
    if available < wanted:
        raise LwexpError(
            f"pairs.instructions={wanted}: the SFT run's data hold only {available} single-turn instructions "
            f"that state a length; lower pairs.instructions or generate more data"
        )
    queues = [by_length[length] for length in sorted(by_length)]
    chosen: list[Prompt] = []
    while len(chosen) < wanted:
        for queue in queues:
            if queue and len(chosen) < wanted:
                chosen.append(queue.pop(0))
    return chosen


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
