"""Training steps of a tiny model on the CPU: lwexp ("ours") and TRL's SFTTrainer, with the same weights and documents.

    python -m benchmarks.train_step            tiny_glm and tiny_llama, 40 steps
    python -m benchmarks.train_step --quick    8 steps

A step has DOCUMENTS documents of 40 to 700 tokens. Ours packs them into one sequence. TRL runs the same documents in
the same order, padded to the longest (trl_padded), or flattened with masks between documents (trl_flattened, TRL's
padding_free). All three take the same steps, and loss_gap is the largest difference of a step's loss from ours (TRL
logs four digits). trl_packed is TRL's own packing (bfd). It is correct here too, but its steps hold other documents, so
it has no loss_gap. Like ours, TRL runs without gradient checkpointing (its default is on), in float32, with fused
AdamW. Rates leave out the first quarter of the steps.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.output import Results, show
from lwexp.config import compose
from lwexp.pack.dataset import PackBatch
from lwexp.train.data.steps import StepsModule
from lwexp.train.loop.module import PackedTraining
from lwexp.train.model.build import build_model
from lwexp.train.parallel.trainer import build_trainer, quiet_lightning

DOCUMENTS = 6
PROMPT = 12
LEARNING_RATE = 1e-3
CAPACITY = 1536


def main() -> None:
    """Both models, all systems."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(2)
    steps = 8 if "--quick" in sys.argv[1:] else 40
    results: Results = {}
    for case in ("tiny_glm", "tiny_llama"):
        config = compose(f"model={case}", "hardware=cpu")
        documents = make_documents(steps * DOCUMENTS, config.model.shape.vocab_size or 0)
        groups = [documents[start : start + DOCUMENTS] for start in range(0, len(documents), DOCUMENTS)]
        runs = {"ours": run_ours(config, groups)}
        for name, options in (
            ("trl_padded", {}),
            ("trl_flattened", {"padding_free": True}),
            ("trl_packed", {"packing": True}),
        ):
            runs[name] = run_trl(config, documents, options)
        results[case] = {name: summary(run, runs["ours"], name) for name, run in runs.items()}
    show("train_step", results, ("torch", "transformers", "trl", "lightning"))


class Document(NamedTuple):
    """Tokens, of which the first ``prompt`` are no targets."""

    ids: list[int]
    prompt: int


class Run:
    """Measurements of one system: seconds, target tokens and loss of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.targets: list[int] = []
        self.losses: list[float] = []


def make_documents(count: int, words: int) -> list[Document]:
    """Documents that repeat a pattern of 8 words, so that the model can learn and loss curves are meaningful."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(5.0, 0.7, count).astype(int), 40, 700)
    return [Document(np.resize(rng.integers(10, words, 8), length).tolist(), PROMPT) for length in lengths]


def summary(run: Run, ours: Run, name: str) -> dict[str, float]:
    """Rates over the steps after the first quarter."""
    skip = len(run.seconds) // 4
    rate = sum(run.targets[skip:]) / sum(run.seconds[skip:])
    ours_rate = sum(ours.targets[skip:]) / sum(ours.seconds[skip:])
    numbers = {
        "target_tokens_per_second": rate,
        "ours_over_it": ours_rate / rate,
        "seconds_per_step": statistics.median(run.seconds[skip:]),
        "first_loss": run.losses[0],
        "last_loss": run.losses[-1],
    }
    if name != "trl_packed":
        numbers["loss_gap"] = max(abs(a - b) for a, b in zip(run.losses, ours.losses, strict=True))
    return numbers


class Tokenizer:
    """The attributes of a tokenizer that a model's config reads."""

    pad_token_id = 0
    bos_token_id = None
    eos_token_id = 1

    def __len__(self) -> int:
        return 300


def make_model(config: Any) -> Any:
    return build_model(config.model, Tokenizer(), seed=0, dtype=torch.float32)


class Packs:
    """Each step's documents as one pack, with the methods of a PackedDataset that StepsModule calls."""

    def __init__(self, groups: list[list[Document]]) -> None:
        first = np.cumsum([0, *(len(group) for group in groups)])
        self.packs = [make_pack(group, number, int(first[number])) for number, group in enumerate(groups)]
        self.num_packs = len(groups)
        self.token_counts = np.array([sum(pack.lengths) for pack in self.packs])
        self.target_counts = np.array([len(pack.target_ids) for pack in self.packs])
        self.document_counts = np.array([len(pack.lengths) for pack in self.packs])
        self.costs = np.array([sum(length**2 for length in pack.lengths) for pack in self.packs])

    def __getitem__(self, number: int) -> PackBatch:
        return self.packs[number]


def make_pack(documents: list[Document], number: int, first: int) -> PackBatch:
    lengths = [len(document.ids) for document in documents]
    starts = np.cumsum([0, *lengths])
    places = [torch.arange(s + each.prompt, s + len(each.ids)) for s, each in zip(starts, documents, strict=False)]
    ids = torch.tensor([word for document in documents for word in document.ids])
    targets = torch.cat(places)
    return PackBatch(
        input_ids=ids[None],
        position_ids=torch.cat([torch.arange(n) for n in lengths])[None],
        cu_seqlens=torch.tensor(starts, dtype=torch.int32),
        max_length=max(lengths),
        lengths=tuple(lengths),
        source_positions=targets - 1,
        target_ids=ids[targets],
        target_documents=torch.cat([torch.full_like(place, i) for i, place in enumerate(places)]),
        document_ids=tuple(range(first, first + len(documents))),
        pack_id=number,
        labels=torch.zeros(len(documents), 0),
    )


def run_ours(config: Any, groups: list[list[Document]]) -> Run:
    """The training room's own loop, without run directory and export."""
    from lightning.pytorch import Callback

    packs, run = Packs(groups), Run()
    plan = [[number] for number in range(packs.num_packs)]

    class Watch(Callback):  # type: ignore[misc]
        def on_train_start(self, trainer: Any, module: Any) -> None:
            self.last = time.perf_counter()

        def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
            now = time.perf_counter()
            run.seconds.append(now - self.last)
            run.targets.append(module.result.totals.target_tokens)
            run.losses.append(module.result.loss)
            self.last = now

    changes = {"lr": LEARNING_RATE, "schedule": "constant", "warmup_ratio": 0.0}
    optimizer = config.objective.optimizer.model_copy(update=changes)
    module = PackedTraining(lambda: make_model(config), config.objective, optimizer, len(plan), recompute=False)
    with quiet_lightning(), tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(config.hardware, [Watch()], optimizer.grad_clip, Path(folder))
        trainer.fit(module, datamodule=StepsModule(packs, plan, len(plan)))  # type: ignore[arg-type]
    return run


def run_trl(config: Any, documents: list[Document], options: dict[str, Any], capacity: int = CAPACITY) -> Run:
    """SFTTrainer on the same weights: transformers' own model class with its own SDPA."""
    from datasets import Dataset, disable_progress_bars
    from tokenizers import Tokenizer as Fast
    from tokenizers.models import WordLevel
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    ours, run = make_model(config), Run()
    model = AutoModelForCausalLM.from_config(ours.config, dtype=torch.float32, attn_implementation="sdpa")
    model.load_state_dict(ours.state_dict())
    words = Fast(WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<pad>"))
    rows = [{"input_ids": each.ids, "labels": [-100] * each.prompt + each.ids[each.prompt :]} for each in documents]
    is_packing = options.get("packing", False)
    adam = config.objective.optimizer

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.last = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            now = time.perf_counter()
            run.seconds.append(now - self.last)
            self.last = now

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
            if "loss" in logs:
                run.losses.append(float(logs["loss"]))

    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder, per_device_train_batch_size=1 if is_packing else DOCUMENTS, num_train_epochs=1,
            learning_rate=LEARNING_RATE, lr_scheduler_type="constant", warmup_steps=0, weight_decay=adam.weight_decay,
            adam_beta1=adam.betas[0], adam_beta2=adam.betas[1], max_grad_norm=adam.grad_clip, optim="adamw_torch_fused",
            gradient_checkpointing=False, bf16=False, use_cpu=True, logging_steps=1, report_to="none",
            save_strategy="no",
            disable_tqdm=True, max_length=capacity if is_packing else None,
            train_sampling_strategy="sequential", **options,
        )  # fmt: skip
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")
        trainer = SFTTrainer(
            model=model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
            callbacks=[Watch()],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        batches = [trainer.train_dataset[i : i + arguments.per_device_train_batch_size]["labels"]
                   for i in range(0, len(trainer.train_dataset), arguments.per_device_train_batch_size)]  # fmt: skip
        run.targets = [sum(label != -100 for labels in batch for label in labels) for batch in batches]
        trainer.train()
    return run


if __name__ == "__main__":
    main()
