"""The length probe: how many words the model is asked for and how many it writes, measured during training."""

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import nn

from lwexp.runs.ranks import is_rank_zero
from lwexp.train.metrics.rowfile import RowFile
from lwexp.train.metrics.tracking import Tracker
from lwexp.train.model.build import rotaries

log = logging.getLogger(__name__)

AnswerPrompts = Callable[[Any, Any], list[dict[str, Any]]]
"""Takes a plain model and its tokenizer, answers the prompts, and returns rows with ``requested`` and ``produced``
words."""


class LengthProbe(Callback):  # type: ignore[misc]
    """Probes every ``every`` steps and after the last, and writes probe.jsonl.

    Training is not affected, because the answers come from a ``plain_view`` of the model. Under ZeRO, or with an
    adapter, no process holds plain whole weights; the run then warns once and does not probe. Gathering 9B parameters
    on one GPU and writing 30,000 tokens while seven others wait would cost more than it is worth. Evaluate a checkpoint
    instead.
    """

    def __init__(
        self, answer: AnswerPrompts, tokenizer: Any, path: Path, every: int, total: int, *, done: int, tracker: Tracker
    ) -> None:
        self._answer = answer
        self._tokenizer = tokenizer
        self._every = every
        self._total = total
        self._tracker = tracker
        self._file = RowFile(path, done)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if not _is_whole(trainer, pl_module.model) and is_rank_zero():
            log.warning("training.probe: not asked, because no process holds the whole model (ZeRO, or an adapter)")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, index: int) -> None:
        step = pl_module.result.step
        if not _is_whole(trainer, pl_module.model) or (step % self._every and step != self._total):
            return
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            rows = self._answer(plain_view(pl_module.model), self._tokenizer)
        for row in rows:
            self._file.write({"step": step, **row})
        requested, produced = ([row[name] for row in rows] for name in ("requested", "produced"))
        mean = sum(map(float, produced)) / len(rows)
        self._tracker.log({"step": step, "probe/longest_words": max(produced), "probe/mean_words": mean})
        log.info("step %d: asked for %s words, got %s", step, _listed(requested), _listed(produced))


def _is_whole(trainer: Any, model: nn.Module) -> bool:
    is_sharded = trainer.world_size > 1 or hasattr(trainer.model, "set_gradient_accumulation_boundary")
    return not is_sharded and not hasattr(model, "peft_config")


def plain_view(model: nn.Module) -> nn.Module:
    """A transformers model that shares the same weights, without packed attention, in evaluation mode.

    No weight is copied.
    """
    from transformers import AutoModelForCausalLM

    trained: Any = model
    config = copy.deepcopy(trained.config)
    with torch.device("meta"):
        view: Any = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", trust_remote_code=False)
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    view.load_state_dict(weights, strict=True, assign=True)
    for place, module in view.named_modules():  # constants that no state dict holds: frequencies, embed factor
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_meta:
                module._buffers[name] = model.get_submodule(place)._buffers[name]
    for mine, theirs in zip(rotaries(view), rotaries(model), strict=True):
        scalings = {name: value for name, value in vars(theirs).items() if name.endswith("attention_scaling")}
        vars(mine).update(scalings)
    plain: nn.Module = view.eval()
    return plain


def _listed(words: list[int]) -> str:
    return ", ".join(f"{count:,}" for count in words)
