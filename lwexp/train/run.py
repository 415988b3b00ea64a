"""One training run from rows to an exported model. Every part that is already on disk is used, not made again."""

from __future__ import annotations

import functools
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from lightning.pytorch import Callback, Trainer
from torch import nn

from lwexp.config.base import Tree
from lwexp.config.schema import Config
from lwexp.config.train import DPO, Zero
from lwexp.config.train import Optimizer as OptimizerConfig
from lwexp.pack import build_packs
from lwexp.pack.dataset import PackedDataset
from lwexp.pack.plan import BatchPlan
from lwexp.pack.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from lwexp.records import Conversation, LwexpError, PreferencePair
from lwexp.runs import RunDirectory, fingerprint
from lwexp.runs.ranks import is_rank_zero
from lwexp.train.callbacks import Bar, Checkpoints, Metrics, read_metrics
from lwexp.train.checkpoints import newest_checkpoint
from lwexp.train.data import Steps, StepsModule
from lwexp.train.export import export_model, gather_state, has_model, model_card
from lwexp.train.flops import Speedometer, peak_flops
from lwexp.train.hardware import hardware_of, settle_hardware
from lwexp.train.look import look_at_packs
from lwexp.train.memory import is_offloading, is_recomputing
from lwexp.train.model import build_model, training_device, training_dtype
from lwexp.train.module import Objective, PackedTraining
from lwexp.train.objective import DPOObjective, SFTObjective
from lwexp.train.optimizer import build_optimizer
from lwexp.train.reference import compute_reference, load_or_compute
from lwexp.train.shapes import model_sizes
from lwexp.train.stopping import StopRequest
from lwexp.train.together import Ranks
from lwexp.train.tracking import Tracker, open_tracker
from lwexp.train.trainer import build_trainer, quiet_lightning, set_up_process

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger(__name__)


def train(
    config: Config,
    run: RunDirectory,
    conversations: Sequence[Conversation] | None,
    pairs: Sequence[PreferencePair] | None,
    start_from: Path | None,
    ranks: Ranks,
) -> Tree | None:
    """See ``train.train_run``."""
    config = settle_hardware(config)
    set_up_process(hardware_of(config))
    torch.manual_seed(config.seed)
    tokenizer = prepare_tokenizer(config, run.path, conversations, start_from)
    build_packs(conversations, pairs, tokenizer, config.pack, run.path / "packs")
    dataset = PackedDataset(run.path / "packs")
    if config.inspect_batch is not None:
        if is_rank_zero():
            look_at_packs(config, dataset, tokenizer, config.inspect_batch)
        return None
    job = _Job(config, run, dataset, tokenizer, start_from, max_train_words(conversations, pairs))
    if not has_model(run.path / "model"):
        ranks.tell("run", json.dumps({"path": str(run.path), "start_from": start_from and str(start_from)}))
        ranks.tell("config", config.model_dump_json())
        trainer, module = _fit(job)
        _export(job, trainer, module)
    results = _results(job)
    # The model is safe now, and what a checkpoint holds besides (the optimiser) is of no use to a finished run.
    shutil.rmtree(run.path / "checkpoints", ignore_errors=True)
    return results


def train_beside(ranks: Ranks) -> None:
    """The same run on a rank other than 0: waits until everything is on disk, then trains along."""
    told = ranks.hear("run")
    settings = ranks.hear("config") if told else None
    if told is None or settings is None:
        return
    where = json.loads(told)
    config = Config.model_validate_json(settings)
    set_up_process(hardware_of(config))
    torch.manual_seed(config.seed)
    run = RunDirectory.load(Path(where["path"]))
    start_from = Path(where["start_from"]) if where["start_from"] else None
    tokenizer = prepare_tokenizer(config, run.path, None, start_from)
    job = _Job(config, run, PackedDataset(run.path / "packs"), tokenizer, start_from, 0)
    trainer, _ = _fit(job)
    gather_state(trainer)


class _Job(NamedTuple):
    """What the parts of a run share."""

    config: Config
    run: RunDirectory
    dataset: PackedDataset
    tokenizer: PreTrainedTokenizerFast
    start_from: Path | None
    words: int

    def build_sharded(self) -> nn.Module:
        """The same, inside the strategy's context: under ZeRO-3 no process ever holds it whole."""
        hardware = hardware_of(self.config)
        if not isinstance(hardware, Zero):
            return self.build()
        from lwexp.train.strategy import sharded_loading

        with sharded_loading(hardware):
            return self.build()

    def build(self) -> nn.Module:
        """The model as it is before the first step."""
        hardware = hardware_of(self.config)
        return build_model(
            self.config.model,
            self.tokenizer,
            seed=self.config.seed,
            dtype=training_dtype(hardware),
            weights=self.start_from,
            attend=hardware.attention,
            fuse=hardware.kernels,
        )


def prepare_tokenizer(
    config: Config, folder: Path, conversations: Sequence[Conversation] | None, start_from: Path | None
) -> PreTrainedTokenizerFast:
    """The start model's tokenizer, the base model's, or one fitted to the conversations and kept in the run."""
    if start_from is not None:
        return load_tokenizer(start_from, None, config.model.chat)
    if config.model.tokenizer == "from_path":
        assert config.model.path is not None
        return load_tokenizer(config.model.path, config.model.revision, config.model.chat)
    kept = folder / "tokenizer"
    if not kept.is_dir():
        texts = (message.content for row in conversations or () for message in row.messages)
        fitted = train_tokenizer(texts, model_sizes(config.model).vocab_size, config.model.chat)
        aside = folder / "tokenizer.tmp"
        shutil.rmtree(aside, ignore_errors=True)
        save_tokenizer(fitted, aside)
        aside.rename(kept)
    # Read back even when it was just fitted, so that every start of the run sees the same one.
    return load_tokenizer(kept, None, config.model.chat)


def _fit(job: _Job) -> tuple[Trainer, PackedTraining]:
    """Train from the newest checkpoint, or from the start."""
    config, settings = job.config, job.config.objective
    objective, chosen_tokens = _objective(job)
    dataset = job.dataset
    plan = BatchPlan(
        dataset.num_packs, dataset.costs, config.seed, settings.epochs, settings.global_batch, order=config.pack.order
    )
    total = min(len(plan), settings.max_steps or len(plan))
    checkpoint = newest_checkpoint(job.run.path / "checkpoints")
    done = checkpoint.step if checkpoint else 0
    log.info("training %s: %d of %d steps are done", config.model.name, done, total)
    module = PackedTraining(
        job.build_sharded,
        objective,
        settings.optimizer,
        total,
        recompute=is_recomputing(hardware_of(config)),
        offload=is_offloading(hardware_of(config)),
        make_optimizer=_optimizer(job),
    )
    data = StepsModule(job.dataset, plan, total, chosen_tokens)
    tracker = open_tracker(config, job.run)
    stop = StopRequest()
    callbacks = _callbacks(job, plan, total, done, tracker, stop)
    try:
        with quiet_lightning(), stop.listening():
            trainer = build_trainer(hardware_of(config), callbacks, settings.optimizer.grad_clip, job.run.path)
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint.state if checkpoint else None, weights_only=True)
    except torch.OutOfMemoryError as error:
        raise LwexpError(
            "the device ran out of memory; lower pack.max_tokens, switch hardware.activation_checkpointing on, or "
            "choose larger hardware (dry_run=true shows what needs how much)"
        ) from error
    except RuntimeError as error:
        if "by peer" not in str(error) or not isinstance(hardware_of(config), Zero):
            raise
        raise LwexpError("another rank has ended and this one cannot go on; run the same command again") from None
    finally:
        tracker.finish()
    return trainer, module


def _optimizer(job: _Job) -> Callable[[nn.Module, OptimizerConfig], torch.optim.Optimizer]:
    hardware = hardware_of(job.config)
    if not isinstance(hardware, Zero):
        return build_optimizer
    from lwexp.train.strategy import zero_optimizer

    return functools.partial(zero_optimizer, hardware=hardware)


def _callbacks(
    job: _Job, plan: BatchPlan, total: int, done: int, tracker: Tracker, stop: StopRequest
) -> list[Callback]:
    training, folder = job.config.training, job.run.path
    steps = Steps(job.dataset, plan)
    targets = sum(steps.totals(plan[step]).target_tokens for step in range(done))
    return [
        Metrics(
            folder / "metrics.jsonl",
            training.log_every_steps,
            total,
            done=done,
            targets=targets,
            tracker=tracker,
            speed=_speedometer(job),
        ),
        Bar(total, done),
        Checkpoints(folder / "checkpoints", training.checkpoint_every_steps, training.keep_checkpoints, stop),
    ]


def _speedometer(job: _Job) -> Speedometer:
    """Peak of all devices where it is known: bf16 on CUDA."""
    hardware = hardware_of(job.config)
    known = peak_flops(torch.cuda.get_device_name()) if training_device(hardware).type == "cuda" else None
    is_bf16 = training_dtype(hardware) == torch.bfloat16
    ranks = hardware.ranks if isinstance(hardware, Zero) else 1
    sizes = model_sizes(job.config.model, job.start_from)
    return Speedometer(sizes, known * ranks if known and is_bf16 else None)


def _export(job: _Job, trainer: Trainer, module: PackedTraining) -> None:
    state = gather_state(trainer)
    if not is_rank_zero():
        return
    assert module.model is not None
    results = _results(job)
    log.info(
        "%s steps in %.0f s: loss %.4f on %s target tokens, %.0f of them a second",
        f"{results['steps']:,}", results["seconds"], results["final_loss"], f"{results['target_tokens']:,}",
        results["target_tokens"] / max(results["seconds"], 1e-9),
    )  # fmt: skip
    card = model_card(job.config, job.run, results)
    export_model(module.model, job.tokenizer, job.run.path / "model", card, state)


def _objective(job: _Job) -> tuple[Objective, Sequence[int] | None]:
    """The objective, and for DPO the chosen tokens of each pack."""
    config = job.config
    if not isinstance(config.objective, DPO):
        return SFTObjective(config.objective), None
    if job.start_from is None:
        raise LwexpError("objective=dpo starts from an SFT run's model; set init_from=<run>")
    device = training_device(hardware_of(config))
    made_from = {
        "model": fingerprint(job.start_from),
        "packs": job.dataset.fingerprint,
        "format": str(training_dtype(hardware_of(config))).removeprefix("torch."),
    }
    reference = load_or_compute(
        job.run.path / "reference", made_from, lambda: compute_reference(job.build(), job.dataset, device)
    )
    return DPOObjective(config.objective, reference), reference.chosen_tokens.tolist()


def max_train_words(conversations: Sequence[Conversation] | None, pairs: Sequence[PreferencePair] | None) -> int:
    """Words of the longest answer that is trained towards: what bounds the model's outputs."""
    answers = [row.actual_words for row in conversations or ()] + [row.chosen_words for row in pairs or ()]
    return max(answers, default=0)


def _results(job: _Job) -> Tree:
    """Results of a run, from its metrics, which hold the last step once training has finished."""
    last = read_metrics(job.run.path / "metrics.jsonl")[-1]
    return {
        "steps": int(last["step"]),
        "final_loss": last["loss"],
        "target_tokens": int(last["target_tokens"]),
        "seconds": last["seconds"],
        "max_train_words": job.words,
        "model": str(job.run.path / "model"),
    }
