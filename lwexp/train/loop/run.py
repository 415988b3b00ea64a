"""One training run, from rows to an exported model. Results that are already on disk are reused."""

import json
import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from lwexp.config.schema import Config
from lwexp.config.train import Hardware, Zero
from lwexp.pack.batch_schedule import BatchSchedule
from lwexp.pack.build import build_packs
from lwexp.pack.dataset import PackedDataset
from lwexp.records import LwexpError
from lwexp.runs import RunDirectory
from lwexp.runs.artifacts import ADAPTER, CHECKPOINTS, METRICS, MODEL, NONFINITE, PACKS, TrainResults
from lwexp.runs.ranks import is_rank_zero
from lwexp.runs.summaries import MetricsRow, read_metrics
from lwexp.text.plain import plural
from lwexp.train.data.holdout import hold_out
from lwexp.train.data.inspect_batch import print_packs
from lwexp.train.data.steps import Steps, StepsModule
from lwexp.train.export.card import model_card
from lwexp.train.export.model_folder import export_adapter, export_model, free_weights, gather_state, has_model
from lwexp.train.loop.callbacks import HELD_OUT, Bar, Checkpoints, Metrics, validation_callbacks
from lwexp.train.loop.checkpoints import newest_checkpoint
from lwexp.train.loop.module import PackedTraining
from lwexp.train.loop.nonfinite import NonFinite
from lwexp.train.loop.probe import AnswerPrompts
from lwexp.train.loop.stopping import StopRequest
from lwexp.train.loop.training_setup import RunContext, TrainingSetup, prepare_tokenizer
from lwexp.train.metrics.tracking import Tracker, open_tracker
from lwexp.train.model.build import training_dtype
from lwexp.train.model.context import context_problem
from lwexp.train.model.dimensions import model_sizes
from lwexp.train.model.quantized import full_state
from lwexp.train.parallel.rank_sync import Ranks, SingleProcess
from lwexp.train.parallel.trainer import build_trainer, quiet_lightning, set_up_process
from lwexp.train.planner.dry_run import few_steps
from lwexp.train.planner.flops import Speedometer, peak_flops
from lwexp.train.planner.hardware import hardware_of
from lwexp.train.planner.memory_fit import max_forward_tokens

log = logging.getLogger(__name__)


def train_run(
    config: Config,
    run: RunDirectory,
    rows: Sequence[Any],
    *,
    start_from: Path | None = None,
    ranks: Ranks | None = None,
    answer: AnswerPrompts | None = None,
) -> TrainResults | None:
    """Train inside an open run, from the newest checkpoint if there is one, and export the model.

    Call ``preflight`` before this, before the mixture is read and the run directory is made; it is not repeated here.

    Args:
        config: The whole config, after ``settle_hardware``.
        run: The open run directory; everything is written below it.
        rows: The mixture, with rows of the kind that ``config.objective`` trains on.
        start_from: Model folder to start from instead of ``config.model``; its tokenizer is used too.
        ranks: The other processes of the run, which wait for this one; None if there are none.
        answer: Answers the length probe's prompts; None disables the probe.

    Returns:
        Results for the manifest; None if ``inspect_batch`` only printed packs.

    Raises:
        LwexpError: If something is wrong that the user can fix, or if a loss or gradient is not finite; the message
            then names the packs.
        Preempted: After a stop signal; during training, once the state is saved.
        KeyboardInterrupt: After Ctrl-C; during training, once the state is saved, or at once after a second Ctrl-C.
    """
    stop = StopRequest()
    with stop.listening():
        context = RunContext(ranks or SingleProcess(), answer, stop)
        setup = _prepare(config, run, rows, start_from, context)
        return None if setup is None else _finish(setup)


def _prepare(
    config: Config, run: RunDirectory, rows: Sequence[Any], start_from: Path | None, context: RunContext
) -> TrainingSetup | None:
    """Write tokenizer and packs; None if ``inspect_batch`` only printed packs."""
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
    build_packs(rows, kind, tokenizer, config.pack, run.path / PACKS)
    dataset = PackedDataset(run.path / PACKS)
    if problem := context_problem(config.model, model_sizes(config.model, start_from), dataset.longest_document):
        raise LwexpError(problem)
    if config.inspect_batch is not None:
        if is_rank_zero():
            print_packs(config, dataset, tokenizer, config.inspect_batch)
        return None
    words = max((kind.answer_words(row)[0] for row in rows), default=0)
    return TrainingSetup(config, run, dataset, tokenizer, start_from, words, context)


def _finish(setup: TrainingSetup) -> TrainResults:
    """Train and export, unless the model is on disk already, and return the results."""
    folder = setup.run.path
    if not has_model(folder / MODEL):
        where = {"path": str(folder), "start_from": setup.start_from and str(setup.start_from)}
        setup.context.ranks.publish("run", json.dumps(where))
        setup.context.ranks.publish("config", setup.config.model_dump_json())
        trainer, module, tracker = _fit(setup)
        with ExitStack() as stack:
            stack.push(lambda _, error, __: tracker.finish(error))
            _export(setup, trainer, module)
            tracker.keep_model(folder / MODEL)
    results = _results(setup)
    # The model is on disk now, and a finished run does not need the optimiser states of a checkpoint.
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return results


def run_worker_rank(ranks: Ranks) -> None:
    """Run a rank other than 0: wait until rank 0 has written everything to disk, then train with it."""
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
        dataset, context = PackedDataset(run.path / PACKS), RunContext(ranks, None, stop)
        trainer, _, _ = _fit(TrainingSetup(config, run, dataset, tokenizer, start_from, 0, context))
        gather_state(trainer)


def _start_process(config: Config) -> None:
    set_up_process(hardware_of(config))
    torch.manual_seed(config.seed)


def _fit(setup: TrainingSetup) -> tuple[Trainer, PackedTraining, Tracker]:
    """Train from the newest checkpoint, or from the start. The tracker is left open unless training fails."""
    config, objective, hardware, dataset = setup.config, setup.config.objective, setup.hardware, setup.dataset
    schedule = BatchSchedule(
        dataset.num_packs, dataset.costs, config.seed, objective.epochs, objective.global_batch, order=config.pack.order
    )
    total = min(len(schedule), objective.max_steps or len(schedule))
    checkpoint = newest_checkpoint(setup.run.path / CHECKPOINTS)
    done = checkpoint.step if checkpoint else 0
    known, reference_pass = setup.known(done)
    log.info("training %s: %d of %s done", config.model.name, done, plural(total, "step"))
    if is_rank_zero() and (warning := few_steps(len(schedule), dataset.num_packs, objective)):
        log.warning("%s", warning)
    module = PackedTraining(
        setup.build_sharded,
        objective,
        objective.optimizer,
        total,
        recompute=hardware.activation_checkpointing,
        offload=hardware.activation_offload,
        nonfinite=NonFinite(setup.run.path / NONFINITE, config.training.skip_nonfinite),
        make_optimizer=setup.optimizer,
        part_tokens=_part_tokens(setup),
        known=known,
    )
    data = StepsModule(dataset, schedule, total, objective.count(dataset))
    with ExitStack() as on_error:
        tracker = open_tracker(config, setup.run, done)
        on_error.push(lambda _, error, __: tracker.finish(error))
        callbacks = reference_pass + _callbacks(setup, schedule, total, done, tracker)
        with _plain_errors(hardware), quiet_lightning():
            trainer = build_trainer(hardware, callbacks, objective.optimizer.grad_clip, setup.run.path)
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint.state if checkpoint else None, weights_only=True)
        on_error.pop_all()
    return trainer, module, tracker


@contextmanager
def _plain_errors(hardware: Hardware) -> Iterator[None]:
    """Turn errors of CUDA and of the process group into messages that say what to do, and restore Ctrl-C."""
    try:
        yield
    except SystemExit as end:  # Lightning turns Ctrl-C into SystemExit
        if isinstance(end.__context__, KeyboardInterrupt):
            raise end.__context__ from None
        raise
    except torch.OutOfMemoryError as error:
        raise LwexpError(
            "the device ran out of memory; lower pack.max_tokens, switch hardware.activation_checkpointing on, or "
            "choose larger hardware (dry_run=true shows what needs how much)"
        ) from error
    except RuntimeError as error:
        if "by peer" not in str(error) or not isinstance(hardware, Zero):
            raise
        raise LwexpError("another rank has ended and this one cannot continue; rerun the command") from None


def _part_tokens(setup: TrainingSetup) -> int | None:
    """Largest part of a pack, in tokens, if training takes two passes; None if it takes one."""
    config = setup.config
    tokens = max_forward_tokens(config, setup.hardware, setup.sizes, here=True)
    if tokens == config.pack.max_tokens:
        return None
    log.info("%s in two passes, %s tokens at a time", config.objective.kind.upper(), f"{tokens:,}")
    return tokens


def _callbacks(
    setup: TrainingSetup, schedule: BatchSchedule, total: int, done: int, tracker: Tracker
) -> list[Callback]:
    training, folder, context = setup.config.training, setup.run.path, setup.context
    steps = Steps(setup.dataset, schedule)
    targets = sum(steps.totals(schedule[step]).target_tokens for step in range(done))
    peak = peak_flops(torch.cuda.get_device_name()) if setup.hardware.device == "cuda" else None
    if training_dtype(setup.hardware) != torch.bfloat16:
        peak = None  # the table has bf16 peaks only
    peak = peak * setup.hardware.ranks if peak else None
    every = training.log_every_steps
    return [
        Metrics(
            folder / METRICS,
            every,
            total,
            done=done,
            targets=targets,
            tracker=tracker,
            speed=Speedometer(setup.sizes, peak),
        ),
        Bar(total, done, Speedometer(setup.sizes, peak)),
        *validation_callbacks(setup.config, folder, setup.tokenizer, context.answer, total, done=done, tracker=tracker),
        Checkpoints(folder / CHECKPOINTS, training, total, done=done, stop=context.stop),
    ]


def _export(setup: TrainingSetup, trainer: Trainer, module: PackedTraining) -> None:
    state = gather_state(trainer)
    if not is_rank_zero():
        return
    assert module.model is not None
    results = _results(setup)
    log.info(
        "%s in %.0f s: loss %.4f on %s target tokens, %.0f of them a second",
        plural(results.steps, "step"), results.seconds, results.final_loss, f"{results.target_tokens:,}",
        results.target_tokens / max(results.seconds, 1e-9),
    )  # fmt: skip
    card, folder, model = model_card(setup.config, setup.run, results), setup.run.path, setup.config.model
    if model.adapter == "lora":
        random = setup.start_from is None and model.init == "random"
        base = None if random else str(setup.start_from or model.path)
        export_adapter(module.model, folder / ADAPTER, state, config=model, base=base)
    whole = module.model
    if model.quantize != "none":
        whole = setup.build(quantized=False)
        state = full_state(whole, module.model)
        free_weights(whole)
    export_model(whole, setup.tokenizer, folder / MODEL, card, state, config=model)


def _results(setup: TrainingSetup) -> TrainResults:
    """Results of a run that has finished training, from its metrics."""
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
