"""One training run from rows to an exported model. Every part that is already on disk is used, not made again."""

import json
import logging
import math
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from lwexp.config.schema import Config
from lwexp.config.train import Zero
from lwexp.pack.batch_schedule import BatchSchedule
from lwexp.pack.build import build_packs
from lwexp.pack.dataset import PackedDataset
from lwexp.records import LwexpError
from lwexp.runs import RunDirectory
from lwexp.runs.artifacts import METRICS, MODEL, NONFINITE, TrainResults
from lwexp.runs.ranks import is_rank_zero
from lwexp.runs.summaries import MetricsRow, read_metrics
from lwexp.train.data.holdout import hold_out
from lwexp.train.data.inspect_batch import print_packs
from lwexp.train.data.steps import Steps, StepsModule
from lwexp.train.export.card import model_card
from lwexp.train.export.model_folder import export_model, gather_state, has_model
from lwexp.train.loop.callbacks import HELD_OUT, Bar, Checkpoints, Metrics, watchers
from lwexp.train.loop.checkpoints import Checkpoint, newest_checkpoint
from lwexp.train.loop.module import PackedTraining
from lwexp.train.loop.nonfinite import NonFinite
from lwexp.train.loop.probe import Ask
from lwexp.train.loop.stopping import StopRequest
from lwexp.train.loop.training_setup import RunContext, TrainingSetup, prepare_tokenizer
from lwexp.train.metrics.tracking import Tracker, open_tracker
from lwexp.train.model.build import training_dtype
from lwexp.train.model.dimensions import model_sizes
from lwexp.train.parallel.rank_sync import Ranks, SingleProcess, broadcast_from_rank0
from lwexp.train.parallel.trainer import build_trainer, quiet_lightning, set_up_process
from lwexp.train.planner.flops import Speedometer, peak_flops
from lwexp.train.planner.hardware import hardware_of, settle_hardware
from lwexp.train.planner.memory_fit import max_forward_tokens

log = logging.getLogger(__name__)


def train_run(
    config: Config,
    run: RunDirectory,
    rows: Sequence[Any],
    *,
    start_from: Path | None = None,
    ranks: Ranks | None = None,
    ask: Ask | None = None,
) -> TrainResults | None:
    """Train inside an open run, from the newest checkpoint if there is one, and export the model.

    Call ``preflight`` first, before the mixture is read and a run directory made; it is not repeated here.

    Args:
        config: The whole config.
        run: Open run directory; everything is written below it.
        rows: The mixture, of the kind that ``config.objective`` takes.
        start_from: Model folder to start from instead of ``config.model``, with its tokenizer.
        ranks: The other processes of the run, which wait for this one; None where there are none.
        ask: Answers the length probe's prompts with a plain model and its tokenizer; None asks nothing.

    Returns:
        Results for the manifest; None if ``inspect_batch`` asked to look at packs and stop.

    Raises:
        LwexpError: For what the user can mend; a loss or gradient that is not finite, with the packs, included.
        Preempted: After SIGTERM, once the state is saved.
    """
    stop = StopRequest()
    with stop.listening():
        context = RunContext(ranks or SingleProcess(), ask, stop)
        setup = _prepare(settle_hardware(config), run, rows, start_from, context)
        return None if setup is None else _finish(setup)


def _prepare(
    config: Config, run: RunDirectory, rows: Sequence[Any], start_from: Path | None, context: RunContext
) -> TrainingSetup | None:
    """Tokenizer and packs on disk; None if ``inspect_batch`` asked to look at packs and stop."""
    _start_process(config)
    kind, validation = config.objective.rows, config.training.validation
    held_out: Sequence[Any] = ()
    if validation.share:
        if not kind.can_be_held_out:
            raise LwexpError(
                f"training.validation: holds out conversations, and {config.objective.kind.upper()} has {kind.plural}; "
                f"set training.validation.share=0"
            )
        rows, held_out = hold_out(rows, validation)
    tokenizer = prepare_tokenizer(config, run.path, rows, start_from)
    if held_out:
        build_packs(held_out, kind, tokenizer, config.pack, run.path / HELD_OUT)
    build_packs(rows, kind, tokenizer, config.pack, run.path / "packs")
    dataset = PackedDataset(run.path / "packs")
    if config.inspect_batch is not None:
        if is_rank_zero():
            print_packs(config, dataset, tokenizer, config.inspect_batch)
        return None
    words = max((kind.answer_words(row)[0] for row in rows), default=0)
    return TrainingSetup(config, run, dataset, tokenizer, start_from, words, context)


def _finish(setup: TrainingSetup) -> TrainResults:
    """Train unless the model is there, export it, and give the results."""
    folder = setup.run.path
    if not has_model(folder / MODEL):
        where = {"path": str(folder), "start_from": setup.start_from and str(setup.start_from)}
        setup.context.ranks.publish("run", json.dumps(where))
        setup.context.ranks.publish("config", setup.config.model_dump_json())
        trainer, module, tracker = _fit(setup)
        try:
            _export(setup, trainer, module)
            tracker.keep_model(folder / MODEL)
        finally:
            tracker.finish()
    results = _results(setup)
    # The model is safe now, and what a checkpoint holds besides (the optimiser) is of no use to a finished run.
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return results


def run_worker_rank(ranks: Ranks) -> None:
    """The same run on a rank other than 0: waits until everything is on disk, then trains along."""
    stop = StopRequest()
    with stop.listening():
        told = ranks.wait_for("run")
        settings = ranks.wait_for("config") if told else None
        if told is None or settings is None:
            return
        where, config = json.loads(told), Config.model_validate_json(settings)
        _start_process(config)
        run = RunDirectory.load(Path(where["path"]))
        start_from = Path(where["start_from"]) if where["start_from"] else None
        tokenizer = prepare_tokenizer(config, run.path, (), start_from)
        dataset, context = PackedDataset(run.path / "packs"), RunContext(ranks, None, stop)
        trainer, _, _ = _fit(TrainingSetup(config, run, dataset, tokenizer, start_from, 0, context))
        gather_state(trainer)


def _start_process(config: Config) -> None:
    set_up_process(hardware_of(config))
    torch.manual_seed(config.seed)


def _fit(setup: TrainingSetup) -> tuple[Trainer, PackedTraining, Tracker]:
    """Train from the newest checkpoint, or from the start. The tracker is left open, unless training failed."""
    config, settings = setup.config, setup.config.objective
    known = setup.known()
    dataset = setup.dataset
    plan = BatchSchedule(
        dataset.num_packs, dataset.costs, config.seed, settings.epochs, settings.global_batch, order=config.pack.order
    )
    total = min(len(plan), settings.max_steps or len(plan))
    checkpoint = broadcast_from_rank0(lambda: newest_checkpoint(setup.run.path / "checkpoints"))
    done = checkpoint.step if checkpoint else 0
    log.info("training %s: %d of %d steps are done", config.model.name, done, total)
    module = PackedTraining(
        setup.build_sharded,
        settings,
        settings.optimizer,
        total,
        recompute=hardware_of(config).activation_checkpointing,
        offload=hardware_of(config).activation_offload,
        nonfinite=NonFinite(setup.run.path / NONFINITE, config.training.skip_nonfinite),
        make_optimizer=setup.optimizer(),
        part_tokens=_part_tokens(setup),
        known=known,
    )
    data = StepsModule(dataset, plan, total, settings.count(dataset))
    with ExitStack() as closing:
        tracker = open_tracker(config, setup.run)
        closing.callback(tracker.finish)
        trainer = _run_trainer(setup, module, data, _callbacks(setup, plan, total, done, tracker), checkpoint)
        closing.pop_all()
    return trainer, module, tracker


def _run_trainer(
    setup: TrainingSetup,
    module: PackedTraining,
    data: StepsModule,
    callbacks: list[Callback],
    checkpoint: Checkpoint | None,
) -> Trainer:
    """Lightning's part, with errors that say what to do."""
    config, settings = setup.config, setup.config.objective
    try:
        with quiet_lightning():
            trainer = build_trainer(hardware_of(config), callbacks, settings.optimizer.grad_clip, setup.run.path)
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


def _part_tokens(setup: TrainingSetup) -> int | None:
    """Tokens of a part in two passes; None for one pass."""
    config, hardware = setup.config, hardware_of(setup.config)
    tokens = max_forward_tokens(config, hardware, model_sizes(config.model, setup.start_from), here=True)
    if tokens == config.pack.max_tokens:
        return None
    log.info("%s in two passes, %s tokens at a time", config.objective.kind.upper(), f"{tokens:,}")
    return tokens


def _callbacks(setup: TrainingSetup, plan: BatchSchedule, total: int, done: int, tracker: Tracker) -> list[Callback]:
    training, folder = setup.config.training, setup.run.path
    steps = Steps(setup.dataset, plan)
    targets = sum(steps.totals(plan[step]).target_tokens for step in range(done))
    return [
        Metrics(
            folder / METRICS,
            training.log_every_steps,
            total,
            done=done,
            targets=targets,
            tracker=tracker,
            speed=_speedometer(setup),
        ),
        Bar(total, done),
        *watchers(setup.config, folder, setup.tokenizer, setup.context.ask, total, done=done, tracker=tracker),
        Checkpoints(
            folder / "checkpoints", training.checkpoint_every_steps, training.keep_checkpoints, setup.context.stop
        ),
    ]


def _speedometer(setup: TrainingSetup) -> Speedometer:
    """Peak of all devices where it is known: bf16 on CUDA."""
    hardware = hardware_of(setup.config)
    known = peak_flops(torch.cuda.get_device_name()) if hardware.device == "cuda" else None
    is_bf16 = training_dtype(hardware) == torch.bfloat16
    ranks = hardware.ranks
    sizes = model_sizes(setup.config.model, setup.start_from)
    return Speedometer(sizes, known * ranks if known and is_bf16 else None)


def _export(setup: TrainingSetup, trainer: Trainer, module: PackedTraining) -> None:
    state = gather_state(trainer)
    if not is_rank_zero():
        return
    assert module.model is not None
    results = _results(setup)
    log.info(
        "%s steps in %.0f s: loss %.4f on %s target tokens, %.0f of them a second",
        f"{results.steps:,}", results.seconds, results.final_loss, f"{results.target_tokens:,}",
        results.target_tokens / max(results.seconds, 1e-9),
    )  # fmt: skip
    card = model_card(setup.config, setup.run, results)
    export_model(module.model, setup.tokenizer, setup.run.path / MODEL, card, state, config=setup.config.model)


def _results(setup: TrainingSetup) -> TrainResults:
    """Results of a run, from its metrics, which hold the last step once training has finished."""
    rows = [MetricsRow(**row) for row in read_metrics(setup.run.path / METRICS)]
    last = rows[-1]
    return TrainResults(
        steps=last.step,
        final_loss=next((row.loss for row in reversed(rows) if row.loss is not None), math.nan),
        target_tokens=last.target_tokens,
        seconds=last.seconds,
        max_train_words=setup.words,
        model=str(setup.run.path / MODEL),
    )
