"""``task=pairs``: an SFT run answers each instruction n times, the answers are scored, and pairs are chosen."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from lwexp.config import Config
from lwexp.config.data import DraftInstructions, InstructionFile
from lwexp.config.evaluate import ApiEngine, CheckpointEngine, SampleConfig, ServerEngine, api_of
from lwexp.extend.metric import STANDARD, metrics_of
from lwexp.recipe.closing import end
from lwexp.recipe.decoder import with_decoder
from lwexp.recipe.lineage import (
    describe_sampling,
    judge_prompt_input,
    missing_for_now,
    require_keys,
    sft_run,
)
from lwexp.records import (
    LwexpError,
    PreferencePair,
    Prompt,
    Response,
    TableWriter,
    atomic,
    tally,
    write_rows,
)
from lwexp.runs import Run, RunDirectory, fingerprint, open_run
from lwexp.runs.artifacts import ENGINE_LEDGER, LEDGER, MODEL, PAIR_FAILURES, RESPONSES, PairsResults
from lwexp.runs.find import list_runs
from lwexp.runs.identity import identity_tree
from lwexp.runs.logs import console_log, show
from lwexp.text.plain import plural

log = logging.getLogger(__name__)

# Instructions made for pairs must not be those the SFT model was trained on.
_FRESH = 1_000_003


def pairs(config: Config) -> RunDirectory | None:
    """Sample n answers per instruction from an SFT run, score them, choose preference pairs. None after a dry run."""
    console_log()
    start = sft_run(config)
    parents = [start, *start.parent_runs("data", "import")]
    name, inputs = f"pairs-{start.name}", _inputs(config, start)
    stage = None if config.dry_run else "pairs"
    config = with_decoder(config, start.path / MODEL, stage, name=name, inputs=inputs)
    answering = _answering(config, start)
    if config.dry_run:
        prompts = _prompts(config, parents[1:])
        print(f"{answering} would answer {plural(len(prompts), 'instruction')} {config.pairs.n} times each")
        print(_checked(config, start, prompts) + describe_sampling(prompts, config, config.pairs.n))
        return None
    run = open_run(
        "pairs", config, default_name=name, inputs=inputs,
        parents=parents, labels={"model": start.labels.get("model") or config.model.name},
        check=lambda: require_keys(config),
    )  # fmt: skip
    with run:
        if not run.is_finished:
            _make(config, run, start, _prompts(config, parents[1:]))
    if run.is_finished:
        from lwexp.publish import publish_run

        publish_run(run)
    return end(run)


def _inputs(config: Config, start: Run) -> dict[str, str]:
    """Fingerprints of what the run reads: the SFT run, the user's own judge prompt, and a file of instructions."""
    inputs = {"sft": start.id}
    wanted = config.pairs.instructions
    if isinstance(wanted, InstructionFile) and Path(wanted.path).is_file():
        inputs["instructions"] = fingerprint(Path(wanted.path))
    return inputs | judge_prompt_input(config)


def _answering(config: Config, start: Run) -> str:
    """Name of the model, as recorded in each response."""
    engine = config.engine
    if not isinstance(engine, ApiEngine) and engine.path is not None:
        raise LwexpError("engine.path: pairs are sampled from the SFT run that init_from names; set init_from=<run>")
    api = api_of(engine)
    return start.id if api is None else api.model


def _checked(config: Config, start: Run, prompts: Sequence[Prompt]) -> str:
    """Lines about the model folder that answers; empty if a server of the user's does."""
    engine = config.engine
    if isinstance(engine, ApiEngine):
        return ""
    from lwexp.sample.folder_check import check_folder

    server = engine if isinstance(engine, ServerEngine) else None
    folder = start.path / MODEL
    return check_folder(folder, prompts, _sampling(config), engine.chat, server=server) + "\n"


def _make(config: Config, run: RunDirectory, start: Run, prompts: Sequence[Prompt]) -> None:
    """Make answers, verdicts, pairs and the table. If transient errors left gaps, the run is not finished."""
    from lwexp.llm.errors import is_transient
    from lwexp.mix.pair_table import render, summarise
    from lwexp.mix.preferences import choose_pairs
    from lwexp.score.anchors import check_judge
    from lwexp.score.verdicts import score_responses

    responses = _answers(config, run, start, prompts)
    root = Path(config.root)
    check_judge(config.judge, metrics_of(STANDARD), responses, seed=config.seed, folder=run.path, root=root)
    verdicts = score_responses(responses, config.judge, seed=config.seed, out_dir=run.path, root=root)
    missing = missing_for_now(run.path, verdicts)
    if passing := {reason: count for reason, count in missing.items() if is_transient(reason)}:
        named = ", ".join(sorted(reason.replace("_", " ") for reason in passing))
        log.warning(
            "missing answers or verdicts: %d (%s); no pairs yet, the same command requests them again",
            sum(passing.values()), named,
        )  # fmt: skip
        run.leave()
        return
    kept, skipped = choose_pairs(responses, verdicts, config.pairs, seed=config.seed)
    with TableWriter(run.path, "pairs", PreferencePair) as table:
        for pair in kept:
            table.append(pair)
    write_rows(run.path / PAIR_FAILURES, skipped)
    lines = summarise(prompts, kept, skipped)
    show(render(lines))
    counts = tally(len(prompts), len(kept), (failure.reason for failure in skipped))
    log.info("pairs: %s", counts)
    by_length = [line._asdict() for line in lines]
    results = PairsResults(tally=str(counts), pairs=len(kept), answers=len(responses), by_required_words=by_length)
    run.finish(results, missing=missing)


def _answers(config: Config, run: RunDirectory, start: Run, prompts: Sequence[Prompt]) -> list[Response]:
    """n answers to each prompt, copied from another pairs run if it sampled the same."""
    from lwexp.sample.collect import collect

    engine, api, folder = config.engine, api_of(config.engine), start.path / MODEL
    out = run.path / RESPONSES
    if not out.exists() and (other := _same_answers(config, run)) is not None:
        # The ledgers are copied first, because the file of answers marks the copy as complete.
        for name in (LEDGER, ENGINE_LEDGER, RESPONSES):
            if (other.path / name).is_file():
                with atomic(run.path / name) as aside:
                    shutil.copyfile(other.path / name, aside)
        log.info("answers copied from %s; only the choice among them differs", other.id)
    return collect(
        prompts, model=folder if api is None else api, model_name=_answering(config, start), sample=_sampling(config),
        seed=config.seed, out=out, chat=None if isinstance(engine, ApiEngine) else engine.chat, root=Path(config.root),
        server=engine if isinstance(engine, ServerEngine) else None, expected=folder,
        workers=engine.workers if isinstance(engine, CheckpointEngine) else 1,
    )  # fmt: skip


def _sampling(config: Config) -> SampleConfig:
    return config.sample.model_copy(update={"temperature": config.pairs.temperature, "repeats": config.pairs.n})


def _same_answers(config: Config, run: Run) -> Run | None:
    """A finished pairs run of the same SFT run, instructions and sampling, if there is one."""
    ours = identity_tree("pairs", config, choices=False)
    for other in reversed(list_runs(Path(config.root))):
        is_kin = other.stage == "pairs" and _answered_from(other) == _answered_from(run)
        if not is_kin or not other.is_finished or other.id == run.id or other.config is None:
            continue
        if identity_tree("pairs", other.config, choices=False) == ours:
            return other
    return None


def _answered_from(run: Run) -> dict[str, str]:
    """The inputs that the answers depend on: all but the judge's prompt."""
    return {name: mark for name, mark in run.manifest.inputs.items() if name != "judge_prompt"}


def _prompts(config: Config, data_runs: Sequence[Run]) -> list[Prompt]:
    """The instructions to answer, each with a stated length."""
    wanted = config.pairs.instructions
    if isinstance(wanted, DraftInstructions):
        from lwexp.mix.pair_prompts import draft_prompts, take_lengths_in_turn

        return take_lengths_in_turn(draft_prompts(run.path for run in data_runs), wanted.count)
    from lwexp.generate.instructions import load_instructions

    prompts = [
        Prompt(id=row.id, text=row.text, language=row.language, type=row.source, required_words=row.required_words)
        for row in load_instructions(wanted, seed=config.seed + _FRESH)
        if row.required_words is not None
    ]
    if not prompts:
        raise LwexpError("pairs.instructions: none of them states a length, and S_l needs one; add required_words")
    return prompts
