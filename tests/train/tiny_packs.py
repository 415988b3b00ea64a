"""Packs made by hand, with the interface of lwexp.pack.dataset, and models small enough for float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from lwexp.config.train import Lora, ModelConfig, Optimizer, Shape
from lwexp.pack.dataset import PackBatch as Pack
from lwexp.records import Conversation, Message, PreferencePair
from lwexp.train.objectives.dpo import DPO

WORDS = 300


class Document(NamedTuple):
    """Token ids, of which those from ``prompt`` on are targets."""

    ids: tuple[int, ...]
    prompt: int


def dpo_config(**changes: Any) -> DPO:
    """DPO with beta 0.1, every option off."""
    optimizer = Optimizer(
        lr=0.1, betas=(0.9, 0.95), weight_decay=0.0, grad_clip=1.0, schedule="constant", warmup_ratio=0.0
    )
    values: dict[str, Any] = {
        "kind": "dpo", "epochs": 1, "max_steps": None, "global_batch": 4, "loss": "sigmoid", "beta": 0.1,
        "label_smoothing": 0.0, "length_normalize": False, "ld_alpha": 1.0, "nll_weight": 0.0, "backward_passes": "one",
    }  # fmt: skip
    return DPO(**values | changes, optimizer=optimizer)


def make_pack(documents: Sequence[Document], pack_id: int = 0, first: int = 0) -> Pack:
    """Documents laid end to end; document ``first + i`` is the i-th."""
    lengths = tuple(len(d.ids) for d in documents)
    starts = np.cumsum((0, *lengths))
    sources, targets, owners = [], [], []
    for number, document in enumerate(documents):
        for t in range(document.prompt, len(document.ids)):
            sources.append(int(starts[number]) + t - 1)
            targets.append(document.ids[t])
            owners.append(number)
    return Pack(
        input_ids=torch.tensor([[i for d in documents for i in d.ids]]),
        position_ids=torch.cat([torch.arange(n) for n in lengths])[None],
        cu_seqlens=torch.tensor(starts, dtype=torch.int32),
        max_length=max(lengths),
        lengths=lengths,
        source_positions=torch.tensor(sources, dtype=torch.int64),
        target_ids=torch.tensor(targets, dtype=torch.int64),
        target_documents=torch.tensor(owners, dtype=torch.int64),
        document_ids=tuple(range(first, first + len(documents))),
        pack_id=pack_id,
        labels=torch.zeros(len(documents), 0),
    )


def make_documents(seed: int, lengths: Sequence[int], prompt: int = 3, words: int = WORDS) -> list[Document]:
    """Random documents of the given lengths."""
    rng = np.random.default_rng(seed)
    return [Document(tuple(int(i) for i in rng.integers(0, words, n)), prompt) for n in lengths]


class Packs:
    """A PackedDataset in memory."""

    def __init__(self, packs: Sequence[Sequence[Document]]) -> None:
        self._packs, first = [], 0
        for number, documents in enumerate(packs):
            self._packs.append(make_pack(documents, number, first))
            first += len(documents)
        self.num_packs = len(packs)
        self.num_documents = first
        self.costs = np.array([float(sum(n * n for n in p.lengths)) for p in self._packs])
        self.token_counts = np.array([sum(p.lengths) for p in self._packs])
        self.target_counts = np.array([len(p.target_ids) for p in self._packs], dtype=np.int64)
        self.document_counts = np.array([len(p.lengths) for p in self._packs], dtype=np.int64)

    def __getitem__(self, pack_id: int) -> Pack:
        return self._packs[pack_id]


def tiny_model_config(family: str, **changes: Any) -> ModelConfig:
    """Two layers of width 32; grouped queries; vocabulary of 300."""
    shape = Shape(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, vocab_size=WORDS, max_position_embeddings=256,
    )  # fmt: skip
    values: dict[str, Any] = {
        "name": f"tiny_{family}", "family": family, "path": None, "revision": None, "init": "random",
        "chat": "glm4" if family == "glm" else "llama31", "tokenizer": "train", "shape": shape,
        "initializer_range": None, "tie_word_embeddings": None, "adapter": "none",
        "lora": Lora(r=4, alpha=8.0, dropout=0.0, targets=None),
    }  # fmt: skip
    return ModelConfig(**{**values, **changes})


def save_start_model(folder: Any, family: str, **sizes: int) -> None:
    """Random weights in several safetensors files with a tokenizer, as a hub would hold them.

    ``sizes`` replace those of ``tiny_model_config``.
    """
    from lwexp.pack.tokenizer import save_tokenizer, train_tokenizer
    from lwexp.train.model.build import build_model

    config = tiny_model_config(family, tie_word_embeddings=False)
    texts = [message.content for row in tiny_conversations() for message in row.messages]
    tokenizer = train_tokenizer(texts, 400, config.chat_format)
    shape = config.shape.model_copy(update={"vocab_size": 400, "max_position_embeddings": 512, **sizes})
    model: Any = build_model(config.model_copy(update={"shape": shape}), tokenizer, seed=3, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # transformers draws zeros, which hide where a bias is added
                parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(len(name)))
    model.save_pretrained(folder, max_shard_size="20KB")
    save_tokenizer(tokenizer, folder)


class NoTokenizer:
    """What build_model reads of a tokenizer."""

    pad_token_id = 0
    bos_token_id = None
    eos_token_id = 1

    def __len__(self) -> int:
        return WORDS


def tiny_model(family: str, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    """A model whose weights are large enough for wrong attention to show."""
    from lwexp.train.model.build import build_model

    model = build_model(tiny_model_config(family), NoTokenizer(), seed=seed, dtype=dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5.0) if parameter.ndim > 1 else None
    return model


TINY = (
    "model.shape.hidden_size=32", "model.shape.intermediate_size=48", "model.shape.num_hidden_layers=2",
    "model.shape.head_dim=8", "model.shape.vocab_size=400", "model.shape.max_position_embeddings=512",
    "pack.max_tokens=256", "objective.global_batch=2", "objective.epochs=20", "hardware.threads=1",
    "training.log_every_steps=1",
)  # fmt: skip


def tiny_config(root: Any, *overrides: str) -> Any:
    """The miniature's config, smaller still, on the hardware of this machine."""
    from lwexp.config import compose
    from lwexp.train.planner.hardware import settle_hardware

    return settle_hardware(compose(f"root={root}", *TINY, *overrides))


def tiny_conversations(count: int = 24) -> list[Conversation]:
    """Answers that count to n: 5 to 40 words."""
    rows = []
    for i in range(count):
        words = 5 + (i * 7) % 36
        messages = (
            Message(role="user", content=f"Count to {words}."),
            Message(role="assistant", content=" ".join(str(n) for n in range(1, words + 1))),
        )
        rows.append(Conversation(id=f"c{i}", source="tiny", language="en", messages=messages, actual_words=words))
    return rows


def tiny_pairs(count: int = 8) -> list[PreferencePair]:
    """The chosen answer counts to the number asked for, the rejected one to half of it."""
    rows = []
    for i in range(count):
        words = 6 + 2 * i
        counted = [str(n) for n in range(1, words + 1)]
        rows.append(
            PreferencePair(
                id=f"p{i}", source="tiny", language="en",
                prompt=(Message(role="user", content=f"Count to {words}."),),
                chosen=" ".join(counted), rejected=" ".join(counted[: words // 2]),
                chosen_words=words, rejected_words=words // 2,
            )
        )  # fmt: skip
    return rows


def poisoned_logprobs(calls: set[int], what: str) -> Any:
    """``pack_logprobs`` whose chosen calls, counted from 1, are not finite: forwards ("loss") or only backwards."""
    from lwexp.train.model.logprobs import pack_logprobs

    count = [0]

    def poisoned(model: Any, pack: Any) -> Any:
        count[0] += 1
        values = pack_logprobs(model, pack)
        if count[0] not in calls:
            return values
        if what == "loss":
            return values * math.nan
        values.register_hook(lambda gradient: gradient * math.inf)
        return values

    return poisoned


def train_in(config: Any, rows: Any, **inputs: Any) -> Any:
    """Train under a run directory as the entry script does, and give the directory."""
    from lwexp.runs import open_run
    from lwexp.train.loop.run import train_run

    run = open_run("train", config, default_name="tiny", inputs={})
    with run:
        if not run.is_finished:
            results = train_run(config, run, rows, **inputs)
            if results is not None:
                run.finish(results)
    return run
