"""Mixture to model: SFT, and DPO from an SFT run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lwexp.config import Config
from lwexp.config.train import Zero
from lwexp.recipe.lineage import end, sft_run
from lwexp.recipe.probe import length_probe
from lwexp.records import Conversation, LwexpError, PreferencePair, write_rows
from lwexp.runs import Run, RunDirectory, open_run
from lwexp.runs.artifacts import MIXTURE_FAILURES
from lwexp.runs.launch import start_ranks
from lwexp.runs.logs import console_log
from lwexp.runs.ranks import is_rank_zero
from lwexp.runs.summaries import MixtureRow, MixtureSummary

if TYPE_CHECKING:
    from lwexp.mix.mixture import Mixture, PairMixture
    from lwexp.mix.resolve import Resolved
    from lwexp.train.parallel.rank_sync import Ranks

log = logging.getLogger(__name__)


def train(config: Config) -> RunDirectory | None:
    """Mixture -> packs -> checkpoint and an ordinary Hugging Face folder. None after a dry run."""
    from lwexp.train import describe_plan, join_ranks, preflight, settle_hardware, train_beside

    console_log()
    config = settle_hardware(config)
    if is_rank_zero():
        start = _start(config)
        start_from = start.path / "model" if start else None
        if config.dry_run:
            plan = describe_plan(config, *_rows_if_any(config), start_from=start_from)
            print(plan.text)
            if plan.refusal is not None:
                raise LwexpError(plan.refusal)
            return None
        preflight(config, start_from)
    if config.dry_run:
        return None
    _start_ranks(config)
    ranks = join_ranks(config)
    try:
        if is_rank_zero():
            return _train(config, ranks)
        train_beside(ranks)
        return None
    finally:
        ranks.leave()


def _start_ranks(config: Config) -> None:
    """Go on as one rank of the run; the process that starts the others waits for them here, and ends as they do."""
    hardware = config.hardware
    if not isinstance(hardware, Zero) or config.inspect_batch is not None:
        return
    if (code := start_ranks(hardware.devices, hardware.num_nodes)) is not None:
        sys.exit(code)


def _train(config: Config, ranks: Ranks) -> RunDirectory:
    """The run, as rank 0 sees it."""
    from lwexp.mix.resolve import resolve_mixture
    from lwexp.train import train_run

    start = _start(config)
    start_from = start.path / "model" if start else None
    sources = resolve_mixture(config)
    parents = [source.run for source in sources if source.run is not None]
    inputs = {source.name: source.fingerprint for source in sources}
    if start is not None:
        _warn_off_policy(parents, start)
        parents.append(start)
        inputs["init_from"] = start.id
        log.info("DPO starts from %s", start.path)
    run = open_run(
        "train",
        config,
        default_name=f"{config.objective.kind}-{config.model.name}",
        inputs=inputs,
        parents=parents,
        labels={"model": config.model.name, "objective": config.objective.kind},
    )
    with run:
        if not run.is_finished:
            conversations, chosen_pairs = _take(config, sources, run.path)
            results = train_run(config, run, conversations, chosen_pairs, start_from, ranks, length_probe(config))
            if results is None:  # inspect_batch: looked, trained nothing
                run.leave()
            else:
                if start is not None:  # the SFT lap's longest answer bounds the model too
                    before = start.number("max_train_words") or 0
                    results.max_train_words = max(results.max_train_words, int(before))
                run.finish(results)
    return end(run)


def _start(config: Config) -> Run | None:
    """The SFT run that DPO starts from; a dry run without one plans with the base model's sizes and says so."""
    if config.objective.kind != "dpo":
        return None
    try:
        return sft_run(config)
    except LwexpError as error:
        if not config.dry_run:
            raise
        log.warning("the plan is for the base model, because there is no SFT run yet: %s", error)
        return None


def _draw(config: Config, sources: Sequence[Resolved]) -> Mixture | PairMixture:
    """The mixture that the objective trains on."""
    from lwexp.mix.mixture import take, take_pairs

    return take_pairs(sources, config.seed) if config.objective.kind == "dpo" else take(sources, config.seed)


def _rows(mixture: Mixture | PairMixture) -> tuple[list[Conversation] | None, list[PreferencePair] | None]:
    """Conversations or pairs, as ``train`` takes them; the other is None."""
    from lwexp.mix.mixture import PairMixture

    return (None, mixture.pairs) if isinstance(mixture, PairMixture) else (mixture.conversations, None)


def _take(
    config: Config, sources: Sequence[Resolved], folder: Path
) -> tuple[list[Conversation] | None, list[PreferencePair] | None]:
    """Draw the mixture, print its table, and keep what was drawn in the run's mixture.json."""
    from rich import print as show

    mixture = _draw(config, sources)
    conversations, pairs = _rows(mixture)
    if is_rank_zero():
        show(mixture.render())
        words = [row.actual_words for row in conversations or ()] + [row.chosen_words for row in pairs or ()]
        table = [MixtureRow(**asdict(share)) for share in mixture.table]
        MixtureSummary(tally=str(mixture.tally), table=table, answer_words=sorted(words)).write(folder)
        write_rows(folder / MIXTURE_FAILURES, mixture.failures)
    return conversations, pairs


def _rows_if_any(config: Config) -> tuple[list[Conversation] | None, list[PreferencePair] | None]:
    """The mixture for a dry run; without data yet, the plan goes without token counts and says so."""
    from lwexp.mix.resolve import resolve_mixture

    try:
        sources = resolve_mixture(config)
    except LwexpError as error:
        log.warning("no token counts in this plan, because there are no data yet: %s", error)
        return None, None
    from rich import print as show

    mixture = _draw(config, sources)
    show(mixture.render())
    return _rows(mixture)


def _warn_off_policy(pair_runs: Sequence[Run], start: Run) -> None:
    """Pairs sampled from another model still train, but the paper's are sampled from the model itself."""
    for run in pair_runs:
        sampled_from = run.manifest.inputs.get("sft")
        if sampled_from is not None and sampled_from != start.id:
            log.warning("%s was sampled from %s, but DPO starts from %s", run.id, sampled_from, start.id)
