"""Teacher or files to conversations; SFT run to preference pairs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from lwexp.config import Config
from lwexp.config.data import DraftInstructions
from lwexp.recipe.lineage import describe_sampling, end, parents_of, sft_run
from lwexp.records import (
    Conversation,
    LwexpError,
    PreferencePair,
    Prompt,
    TableWriter,
    read_rows,
    tally,
    write_rows,
)
from lwexp.runs import RunDirectory, fingerprint, open_run
from lwexp.runs.logs import console_log

log = logging.getLogger(__name__)

# Instructions made for pairs must not be those the SFT model was trained on.
_FRESH = 1_000_003


def write(config: Config) -> None:
    """AgentWrite: instructions -> plans -> drafts -> conversations."""
    from lwexp.generate import write_drafts
    from lwexp.publish import publish_run

    console_log()
    run = write_drafts(config, publish=lambda run: publish_run(run, anew=True))
    if run is not None:
        _publish(run)
        end(run)


def select(config: Config) -> RunDirectory | None:
    """Conversations of any set -> the instructions that need a long answer. None after a dry run."""
    from lwexp.generate.select import forecast, plain_name, select_instructions
    from lwexp.llm.key import require_key
    from lwexp.mix.files import hub_fingerprint, read_file, stream

    console_log()
    source = config.source
    assert source is not None, "the config gate lets task=select through only with a source"
    path, name = Path(source), plain_name(source)
    rows = read_file(path) if path.is_file() else stream(source, config.split)
    if config.dry_run:
        print(forecast(config, rows, name).describe(config))
        return None
    mark = fingerprint(path) if path.exists() else hub_fingerprint(source)
    run = open_run(
        "select", config, default_name=f"select-{name}", inputs={"source": mark},
        labels={"teacher": config.teacher.model}, check=lambda: require_key(config.teacher),
    )  # fmt: skip
    with run:
        if run.is_finished:
            log.info("%s is finished: %s", run.id, run.manifest["results"]["tally"])
        else:
            results, missing = select_instructions(config, run, rows, name)
            run.finish(results, missing=missing)
    return end(run)


def import_file(config: Config) -> None:
    """A file of conversations, as it is -> conversations."""
    from lwexp.mix import import_conversations

    console_log()
    run = import_conversations(config)
    if run is not None:
        _publish(run)
        end(run)


def export(config: Config) -> None:
    """A finished run's rows -> a file in another trainer's shape."""
    from lwexp.publish import export_run, publish_run
    from lwexp.runs import find_run

    console_log()
    stages = ("data", "import", "pairs")
    run = find_run(
        config.export.run, root=Path(config.root), stages=stages, key="export.run", make_it="python generate_data.py"
    )
    if config.export.format != "viewer":
        export_run(run, config.export, dry_run=config.dry_run)
    elif not config.dry_run:
        publish_run(run, anew=True)


def _publish(run: RunDirectory) -> None:
    """Card and page of a finished run."""
    from lwexp.publish import publish_run

    if run.is_finished:
        publish_run(run)


def pairs(config: Config) -> RunDirectory | None:
    """Sample n answers an instruction from an SFT run, score them, choose preference pairs. None after a dry run."""
    from lwexp.mix.preferences import choose_pairs
    from lwexp.sample import collect
    from lwexp.score import score_responses

    console_log()
    start = sft_run(config)
    parents = [start, *parents_of(start, stages=("data", "import"))]
    if config.dry_run:
        prompts = _prompts(config, parents[1:])
        print(f"{start.id} would answer {len(prompts):,} instructions {config.pairs.n} times each")
        print(describe_sampling(prompts, config, repeats=config.pairs.n))
        return None
    run = open_run(
        "pairs", config, default_name=f"pairs-{start.manifest['name']}", inputs={"sft": start.id},
        parents=parents, labels={"model": start.manifest["labels"]["model"]},
    )  # fmt: skip
    with run:
        if run.is_finished:
            _publish(run)
            return end(run)
        prompts = _prompts(config, parents[1:])
        sample = config.sample.model_copy(update={"temperature": config.pairs.temperature, "repeats": config.pairs.n})
        responses = collect(
            prompts, model=start.path / "model", model_name=start.id, sample=sample, seed=config.seed,
            out=run.path / "responses.jsonl",
        )  # fmt: skip
        verdicts = score_responses(responses, config.judge, seed=config.seed, out_dir=run.path)
        kept, failures = choose_pairs(responses, verdicts, config.pairs, seed=config.seed)
        with TableWriter(run.path, "pairs", PreferencePair) as table:
            for pair in kept:
                table.append(pair)
        write_rows(run.path / "failures.jsonl", failures)
        counts = tally(len(prompts), len(kept), (failure.reason for failure in failures))
        log.info("pairs: %s", counts)
        run.finish({"tally": str(counts), "pairs": len(kept), "answers": len(responses)})
    _publish(run)
    return end(run)


def _prompts(config: Config, data_runs: Sequence[RunDirectory]) -> list[Prompt]:
    """The instructions to answer, each with a stated length."""
    wanted = config.pairs.instructions
    if isinstance(wanted, DraftInstructions):
        return _in_turn(_from_drafts(data_runs), wanted.count)
    from lwexp.generate.instructions import load_instructions

    prompts = [
        Prompt(id=row.id, text=row.text, language=row.language, type=row.source, required_words=row.required_words)
        for row in load_instructions(wanted, seed=config.seed + _FRESH)
        if row.required_words is not None
    ]
    if not prompts:
        raise LwexpError("pairs.instructions: none of them states a length, and S_l needs one; add required_words")
    return prompts


def _from_drafts(data_runs: Sequence[RunDirectory]) -> Iterable[Prompt]:
    for run in data_runs:
        for row in read_rows(run.path / "conversations.jsonl", Conversation):
            if row.required_words is not None and len(row.messages) == 2:
                yield Prompt(
                    id=row.id,
                    text=row.messages[0].content,
                    language=row.language,
                    type=row.source,
                    required_words=row.required_words,
                )


def _in_turn(prompts: Iterable[Prompt], wanted: int) -> list[Prompt]:
    """``wanted`` prompts, one of each required length in turn, shortest first."""
    by_length: dict[int, list[Prompt]] = {}
    for prompt in prompts:
        by_length.setdefault(prompt.required_words, []).append(prompt)
    available = sum(len(queue) for queue in by_length.values())
    if available < wanted:
        raise LwexpError(
            f"pairs.instructions.count={wanted}: the SFT run's data hold only {available} single-turn instructions "
            f"that state a length; lower it or generate more data"
        )
    chosen: list[Prompt] = []
    while len(chosen) < wanted:
        for length in sorted(by_length):
            if by_length[length] and len(chosen) < wanted:
                chosen.append(by_length[length].pop(0))
    return chosen
