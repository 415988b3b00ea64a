"""One training run from rows to an exported model. Every part that is already on disk is used, not made again."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer

from lwexp.config.schema import Config
from lwexp.config.train import Zero
from lwexp.pack import build_packs
from lwexp.pack.dataset import PackedDataset
from lwexp.pack.plan import BatchPlan
from lwexp.records import Conversation, LwexpError, PreferencePair
from lwexp.runs import RunDirectory
from lwexp.runs.artifacts import METRICS, MODEL, NONFINITE, TrainResults
from lwexp.runs.ranks import is_rank_zero
from lwexp.runs.summaries import MetricsRow, read_metrics
from lwexp.train.data.holdout import hold_out
from lwexp.train.data.inputs import max_train_words, prepare_tokenizer
from lwexp.train.data.inspect_batch import look_at_packs
from lwexp.train.data.steps import Steps, StepsModule
from lwexp.train.export.card import model_card
from lwexp.train.export.model_folder import export_model, gather_state, has_model
from lwexp.train.loop.callbacks import Bar, Checkpoints, Metrics
from lwexp.train.loop.checkpoints import Checkpoint, newest_checkpoint
from lwexp.train.loop.module import PackedTraining
from lwexp.train.loop.nonfinite import NonFinite
from lwexp.train.loop.probe import Ask
from lwexp.train.loop.stopping import StopRequest
from lwexp.train.loop.tracking import Tracker, open_tracker
from lwexp.train.loop.training_setup import Job, With
from lwexp.train.loop.validation_callbacks import HELD_OUT, watchers
from lwexp.train.model.build import training_device, training_dtype
from lwexp.train.model.dimensions import model_sizes
from lwexp.train.parallel.rank_sync import Ranks, said_by_rank_zero
from lwexp.train.parallel.trainer import build_trainer, quiet_lightning, set_up_process
from lwexp.train.planner.flops import Speedometer, peak_flops
from lwexp.train.planner.hardware import hardware_of, settle_hardware
from lwexp.train.planner.memory import is_offloading, is_recomputing
from lwexp.train.planner.passes import tokens_at_once

log = logging.getLogger(__name__)


def train(
    config: Config,
    run: RunDirectory,
    conversations: Sequence[Conversation] | None,
    pairs: Sequence[PreferencePair] | None,
    start_from: Path | None,
    ranks: Ranks,
    ask: Ask | None,
) -> TrainResults | None:
    """See ``train.train_run``."""
    stop = StopRequest()
    with stop.listening():
        return _train(settle_hardware(config), run, conversations, pairs, start_from, With(ranks, ask, stop))


def _train(
    config: Config,
    run: RunDirectory,
    conversations: Sequence[Conversation] | None,
    pairs: Sequence[PreferencePair] | None,
    start_from: Path | None,
    beside: With,
) -> TrainResults | None:
    set_up_process(hardware_of(config))
    torch.manual_seed(config.seed)
    validation = config.training.validation
    held_out: Sequence[Conversation] = ()
    if validation.share and conversations is None:
        raise LwexpError(
            "training.validation: holds out conversations, and DPO has pairs; set training.validation.share=0"
        )
    if validation.share and conversations is not None:
        conversations, held_out = hold_out(conversations, validation)
    tokenizer = prepare_tokenizer(config, run.path, conversations, start_from)
    if held_out:
        build_packs(held_out, None, tokenizer, config.pack, run.path / HELD_OUT)
    build_packs(conversations, pairs, tokenizer, config.pack, run.path / "packs")
    dataset = PackedDataset(run.path / "packs")
    if config.inspect_batch is not None:
        if is_rank_zero():
            look_at_packs(config, dataset, tokenizer, config.inspect_batch)
        return None
    job = Job(config, run, dataset, tokenizer, start_from, max_train_words(conversations, pairs), beside)
    if not has_model(run.path / "model"):
        where = {"path": str(run.path), "start_from": start_from and str(start_from)}
        beside.ranks.tell("run", json.dumps(where))
        beside.ranks.tell("config", config.model_dump_json())
        trainer, module, tracker = _fit(job)
        try:
            _export(job, trainer, module)
            tracker.keep_model(run.path / "model")
        finally:
            tracker.finish()
    results = _results(job)
    # The model is safe now, and what a checkpoint holds besides (the optimiser) is of no use to a finished run.
    shutil.rmtree(run.path / "checkpoints", ignore_errors=True)
    return results


def train_beside(ranks: Ranks) -> None:
    """The same run on a rank other than 0: waits until everything is on disk, then trains along."""
    stop = StopRequest()
    with stop.listening():
        told = ranks.hear("run")
        settings = ranks.hear("config") if told else None
        if told is not None and settings is not None:
            _train_along(told, settings, With(ranks, None, stop))


def _train_along(told: str, settings: str, beside: With) -> None:
    where = json.loads(told)
    config = Config.model_validate_json(settings)
    set_up_process(hardware_of(config))
    torch.manual_seed(config.seed)
    run = RunDirectory.load(Path(where["path"]))
    start_from = Path(where["start_from"]) if where["start_from"] else None
    tokenizer = prepare_tokenizer(config, run.path, None, start_from)
    job = Job(config, run, PackedDataset(run.path / "packs"), tokenizer, start_from, 0, beside)
    trainer, _, _ = _fit(job)
    gather_state(trainer)


def _fit(job: Job) -> tuple[Trainer, PackedTraining, Tracker]:
    """Train from the newest checkpoint, or from the start. The tracker is left open, unless training failed."""
    config, settings = job.config, job.config.objective
    objective, chosen_tokens = job.objective()
    dataset = job.dataset
    plan = BatchPlan(
        dataset.num_packs, dataset.costs, config.seed, settings.epochs, settings.global_batch, order=config.pack.order
    )
    total = min(len(plan), settings.max_steps or len(plan))
    checkpoint = said_by_rank_zero(lambda: newest_checkpoint(job.run.path / "checkpoints"))
    done = checkpoint.step if checkpoint else 0
    log.info("training %s: %d of %d steps are done", config.model.name, done, total)
    module = PackedTraining(
        job.build_sharded,
        objective,
        settings.optimizer,
        total,
        recompute=is_recomputing(hardware_of(config)),
        offload=is_offloading(hardware_of(config)),
        nonfinite=NonFinite(job.run.path / NONFINITE, config.training.skip_nonfinite),
        make_optimizer=job.optimizer(),
        part_tokens=_part_tokens(job),
    )
    data = StepsModule(job.dataset, plan, total, chosen_tokens)
    with ExitStack() as closing:
        tracker = open_tracker(config, job.run)
        closing.callback(tracker.finish)
        trainer = _run_trainer(job, module, data, _callbacks(job, plan, total, done, tracker), checkpoint)
        closing.pop_all()
    return trainer, module, tracker


def _run_trainer(
    job: Job, module: PackedTraining, data: StepsModule, callbacks: list[Callback], checkpoint: Checkpoint | None
) -> Trainer:
    """Lightning's part, with errors that say what to do."""
    config, settings = job.config, job.config.objective
    try:
        with quiet_lightning():
            trainer = build_trainer(hardware_of(config), callbacks, settings.optimizer.grad_clip, job.run.path)
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint.state if checkpoint else None, weights_only=True)
    except SystemExit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from None
    except torch.OutOfMemoryError as error:
        raise LwexpError(
            "the device ran out of memory; lower pack.max_tokens, switch hardware.activation_checkpointing on, or "
            "choose larger hardware (dry_run=true shows what needs how much)"
        ) from error
    except RuntimeError as error:
        if "by peer" not in str(error) or not isinstance(hardware_of(config), Zero):
            raise
        raise LwexpError("another rank has ended and this one cannot go on; run the same command again") from None
    return trainer


def _part_tokens(job: Job) -> int | None:
    """Tokens of a part in two passes; None for one pass."""
    config, hardware = job.config, hardware_of(job.config)
    tokens = tokens_at_once(config, hardware, model_sizes(config.model, job.start_from), here=True)
    if tokens == config.pack.max_tokens:
        return None
    log.info("DPO in two passes, %s tokens at a time", f"{tokens:,}")
    return tokens


def _callbacks(job: Job, plan: BatchPlan, total: int, done: int, tracker: Tracker) -> list[Callback]:
    training, folder = job.config.training, job.run.path
    steps = Steps(job.dataset, plan)
    targets = sum(steps.totals(plan[step]).target_tokens for step in range(done))
    return [
        Metrics(
            folder / METRICS,
            training.log_every_steps,
            total,
            done=done,
            targets=targets,
            tracker=tracker,
            speed=_speedometer(job),
        ),
        Bar(total, done),
        *watchers(job.config, folder, job.tokenizer, job.beside.ask, total, done=done, tracker=tracker),
        Checkpoints(
            folder / "checkpoints", training.checkpoint_every_steps, training.keep_checkpoints, job.beside.stop
        ),
    ]


def _speedometer(job: Job) -> Speedometer:
    """Peak of all devices where it is known: bf16 on CUDA."""
    hardware = hardware_of(job.config)
    known = peak_flops(torch.cuda.get_device_name()) if training_device(hardware).type == "cuda" else None
    is_bf16 = training_dtype(hardware) == torch.bfloat16
    ranks = hardware.ranks if isinstance(hardware, Zero) else 1
    sizes = model_sizes(job.config.model, job.start_from)
    return Speedometer(sizes, known * ranks if known and is_bf16 else None)


def _export(job: Job, trainer: Trainer, module: PackedTraining) -> None:
    state = gather_state(trainer)
    if not is_rank_zero():
        return
    assert module.model is not None
    results = _results(job)
    log.info(
        "%s steps in %.0f s: loss %.4f on %s target tokens, %.0f of them a second",
        f"{results.steps:,}", results.seconds, results.final_loss, f"{results.target_tokens:,}",
        results.target_tokens / max(results.seconds, 1e-9),
    )  # fmt: skip
    card = model_card(job.config, job.run, results)
    export_model(module.model, job.tokenizer, job.run.path / MODEL, card, state, config=job.config.model)


def _results(job: Job) -> TrainResults:
    """Results of a run, from its metrics, which hold the last step once training has finished."""
    rows = [MetricsRow(**row) for row in read_metrics(job.run.path / METRICS)]
    last = rows[-1]
    return TrainResults(
        steps=last.step,
        final_loss=next((row.loss for row in reversed(rows) if row.loss is not None), math.nan),
        target_tokens=last.target_tokens,
        seconds=last.seconds,
        max_train_words=job.words,
        model=str(job.run.path / MODEL),
    )
