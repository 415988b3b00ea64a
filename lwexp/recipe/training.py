"""``lwexp train``: draws the mixture and trains on it, from the base model or from a finished run."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lwexp.config import Config
from lwexp.config.train import Zero
from lwexp.recipe.closing import end
from lwexp.recipe.lineage import sft_run
from lwexp.recipe.probe import length_probe
from lwexp.records import FileState, LwexpError, Preempted, stop_handlers_restored, write_rows
from lwexp.runs import Run, RunDirectory, model_fingerprint, open_run
from lwexp.runs.artifacts import MIXTURE_FAILURES, MODEL
from lwexp.runs.launch import start_ranks
from lwexp.runs.logs import console_log, show
from lwexp.runs.ranks import is_rank_zero
from lwexp.runs.summaries import MixtureSummary
from lwexp.text.plain import first_line

if TYPE_CHECKING:
    from lwexp.mix.mixture import Mixture
    from lwexp.mix.resolve import Resolved
    from lwexp.train.parallel.rank_sync import Ranks
    from lwexp.train.planner.dry_run import Description

log = logging.getLogger(__name__)

_RESOLVED_START = "LWEXP_INIT_FROM"
"""Environment variable that tells the ranks which run ``init_from=newest`` meant when the command started."""


def train(config: Config) -> RunDirectory | None:
    """Mixture -> packs -> checkpoint and an ordinary Hugging Face folder. None after a dry run."""
    from lwexp.train import limit_spinning
    from lwexp.train.planner.hardware import hardware_of, settle_hardware

    console_log()
    limit_spinning()
    config = settle_hardware(config)
    start = _check(config) if is_rank_zero() else None
    if config.dry_run:
        return None
    _start_ranks(config, start)
    from lwexp.train.parallel.rank_sync import join_process_group

    ranks = join_process_group(hardware_of(config) if config.inspect_batch is None else None)
    if not is_rank_zero():
        _work_and_exit(ranks)
    try:
        with stop_handlers_restored():
            return _train(config, start, ranks)
    finally:
        ranks.leave()


def _work_and_exit(ranks: Ranks) -> NoReturn:
    """Run a rank other than 0 and exit. It skips Python's shutdown: it has nothing left to write, and a native thread
    (gloo's, the store's) that is still running could abort the process. A rank that ends by a signal would make the
    whole job look failed although rank 0 has finished the run."""
    from lwexp.train.loop.run import run_worker_rank

    code = 0
    try:
        run_worker_rank(ranks)
    except SystemExit as stopped:  # rank 0 has ended
        code = stopped.code if isinstance(stopped.code, int) else 1
    except Preempted:  # rank 0 logs what was saved, once for all ranks
        code = 143
    except KeyboardInterrupt:
        code = 130
    finally:
        ranks.leave()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _check(config: Config) -> Run | None:
    """Print the plan of a dry run, or refuse what cannot work here. Returns the run that training starts from."""
    from lwexp.train.planner.readiness import preflight

    if config.dry_run:
        plan, problem = plan_training(config, may_lack_runs=False)
        print(plan.text)
        if problem is not None:
            raise LwexpError(problem)
        return None
    start = _start(config)
    preflight(config, start.path / MODEL if start else None)
    return start


def plan_training(config: Config, *, may_lack_runs: bool) -> tuple[Description, str | None]:
    """The plan of a training run, and the reason it would fail, if any.

    A run named as "newest" may not exist yet: the plan leaves it out, and says so.

    Args:
        config: After ``settle_hardware``.
        may_lack_runs: Whether other runs and files that the config names may be missing as well.
    """
    from lwexp.mix.resolve import resolve_mixture
    from lwexp.train.planner.dry_run import describe_plan

    problem, start, rows = None, None, None
    try:
        start = _start(config)
    except LwexpError as error:
        problem = None if may_lack_runs or config.init_from == "newest" else str(error)
        log.warning("the plan is for the base model, because there is no SFT run yet: %s", error)
    try:
        rows = _draw(config, resolve_mixture(config), None).rows
    except LwexpError as error:
        problem = problem or (None if may_lack_runs or _only_newest_is_missing(config) else str(error))
        log.warning("no token counts in this plan, because there is no data yet: %s", error)
    plan = describe_plan(config, rows, start.path / MODEL if start else None, stops=problem is not None)
    return plan, plan.refusal or problem


def _start_ranks(config: Config, start: Run | None) -> None:
    """Continue as one rank of the run. The process that starts ranks waits for them here and exits with their code."""
    hardware = config.hardware
    if not isinstance(hardware, Zero) or config.inspect_batch is not None:
        return
    if start is not None:
        os.environ[_RESOLVED_START] = str(start.path.resolve())
    if (code := start_ranks(hardware.devices, hardware.num_nodes)) is not None:
        sys.exit(code)


def _train(config: Config, start: Run | None, ranks: Ranks) -> RunDirectory:
    """Rank 0's part of the run."""
    from lwexp.mix.resolve import resolve_mixture
    from lwexp.train.loop.run import train_run

    kind = config.objective.kind
    sources = resolve_mixture(config)
    parents = [source.run for source in sources if source.run is not None]
    inputs = {source.name: source.found.fingerprint for source in sources}
    states = _states(sources)
    if start is None and config.model.init == "pretrained" and Path(config.model.path or "").is_dir():
        inputs["model"] = model_fingerprint(Path(config.model.path or ""), Path(config.root))
    if start is None and config.model.is_own_template:
        inputs["chat_template"] = _own_template(config)
    if start is not None:
        _warn_off_policy(parents, start, kind)
        parents.append(start)
        inputs["init_from"] = start.id
        log.info("%s starts from %s", kind.upper(), start.path)
    run = open_run(
        "train",
        config,
        default_name=f"{kind}-{config.model.name}",
        inputs=inputs,
        parents=parents,
        labels={"model": config.model.name, "objective": kind},
    )
    try:
        with run:
            if not run.is_finished:
                rows = _draw(config, sources, run).rows
                for source in sources:
                    if source.name in states:
                        states[source.name].require_same(Path(source.found.path), f"mixture.sources.{source.name}")
                start_from = start.path / MODEL if start else None
                results = train_run(config, run, rows, start_from=start_from, ranks=ranks, answer=length_probe(config))
                if results is None:  # inspect_batch prints packs and trains nothing
                    run.leave()
                else:
                    if start is not None:  # the longest answer of the earlier run bounds the model as well
                        before = start.number("max_train_words") or 0
                        results.max_train_words = max(results.max_train_words, int(before))
                    run.finish(results)
    except BaseException:  # also a stop or a non-finite loss, after which one looks at the curves
        _show_curves(run)
        raise
    _show_curves(run)
    return end(run, says_next=not config.evaluate_after) if run.is_finished else run


def _states(sources: Sequence[Resolved]) -> dict[str, FileState]:
    """The state of each source on this machine, from before it was hashed where the source has kept it."""
    on_disk = [(source, path) for source in sources if (path := Path(source.found.path)).exists()]
    return {source.name: source.found.state or FileState.of(path) for source, path in on_disk}


def _own_template(config: Config) -> str:
    """sha256 of the tokenizer's own chat template and how it is used: another one makes another run."""
    from lwexp.pack.chat import chat_of
    from lwexp.pack.tokenizer import load_tokenizer

    model = config.model
    tokenizer = load_tokenizer(str(model.path), model.revision, model.chat_settings)
    return hashlib.sha256(chat_of(tokenizer).identity.encode()).hexdigest()


def _show_curves(run: RunDirectory) -> None:
    """Write the page of the run's curves and say where it is. Whatever goes wrong is a warning: the run is safe."""
    try:
        from lwexp.report.training.page import write_training_page

        if (page := write_training_page(run)) is not None:
            log.info("curves: %s", page)
    except Exception as error:
        log.warning("the page with the run's curves was not written: %s: %s", type(error).__name__, first_line(error))


def _start(config: Config) -> Run | None:
    """The SFT run that the objective starts from, or None."""
    if not config.objective.starts_from_run:
        return None
    resolved = os.environ.get(_RESOLVED_START)
    return sft_run(config if resolved is None else config.model_copy(update={"init_from": resolved}))


def _draw(config: Config, sources: Sequence[Resolved], run: RunDirectory | None) -> Mixture[Any]:
    """Draw the mixture and print its table; keep both in the run's mixture.json."""
    from lwexp.mix.mixture import take

    kind = config.objective.rows
    mixture: Mixture[Any] = take(sources, config.seed, kind)
    show(mixture.render())
    if run is not None:
        words = sorted(kind.answer_words(row)[0] for row in mixture.rows)
        MixtureSummary(tally=str(mixture.tally), table=mixture.table, answer_words=words).write(run.path)
        write_rows(run.path / MIXTURE_FAILURES, mixture.failures)
    return mixture


def _only_newest_is_missing(config: Config) -> bool:
    """Whether sources are missing, and each is the newest run of a kind, which may not have been made yet."""
    is_newest_missing = False
    for name, source in getattr(config.mixture, config.objective.rows.section).items():
        if source.count == 0:
            continue
        try:
            source.find(f"mixture.{config.objective.rows.section}.{name}", Path(config.root))
        except LwexpError:
            if getattr(source, "run", None) != "newest":
                return False
            is_newest_missing = True
    return is_newest_missing


def _warn_off_policy(pair_runs: Sequence[Run], start: Run, kind: str) -> None:
    """Warn about pairs that were sampled from another model; the paper samples them from the model itself."""
    for run in pair_runs:
        sampled_from = run.manifest.inputs.get("sft")
        if sampled_from is not None and sampled_from != start.id:
            log.warning("%s was sampled from %s, but %s starts from %s", run.id, sampled_from, kind.upper(), start.id)
