"""Exact training of a pack one part at a time. It needs memory for one part only, and one more forward pass.

The loss of a pack of preference pairs is a function of the log-probs of its tokens. The first pass computes these
log-probs without keeping activations, and then the gradient of the loss with respect to each of them. The second pass
runs each part again and backpropagates that gradient. This is the chain rule, split between model and loss, without
approximation.

Source: gradient caching, Gao et al. 2021 (arXiv 2101.06983), here over the documents of a pack. LongWriter's code has
no DPO. benchmarks/dpo_memory.py compares the memory with that of keeping both answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lwexp.extend import PackLoss
from lwexp.train.model.logprobs import pack_logprobs

if TYPE_CHECKING:
    from lwexp.pack.dataset import PackBatch


class Part(NamedTuple):
    """Some whole documents of a pack, as a smaller pack, and the place of their targets in the whole pack."""

    batch: PackBatch
    targets: slice


def split_pack(batch: PackBatch, capacity: int) -> list[Part]:
    """Split a pack into parts of consecutive documents, at most ``capacity`` tokens each.

    A longer document forms a part by itself.

    Example: documents of 5, 3, 9 and 2 tokens at capacity 8 give parts (5, 3), (9) and (2).
    """
    groups: list[list[int]] = []
    for number, length in enumerate(batch.lengths):
        if groups and sum(batch.lengths[i] for i in groups[-1]) + length <= capacity:
            groups[-1].append(number)
        else:
            groups.append([number])
    counts = torch.bincount(batch.target_documents, minlength=len(batch.lengths)).tolist()
    return list(_parts(batch, groups, counts))


def _parts(batch: PackBatch, groups: list[list[int]], counts: list[int]) -> Iterator[Part]:
    token = target = 0
    for group in groups:
        first, end = group[0], group[-1] + 1
        lengths = batch.lengths[first:end]
        tokens, targets = sum(lengths), sum(counts[first:end])
        place, held = slice(token, token + tokens), slice(target, target + targets)
        part = type(batch)(
            input_ids=batch.input_ids[:, place],
            position_ids=batch.position_ids[:, place],
            cu_seqlens=batch.cu_seqlens[first : end + 1] - batch.cu_seqlens[first],
            max_length=max(lengths),
            lengths=lengths,
            source_positions=batch.source_positions[held] - token,
            target_ids=batch.target_ids[held],
            target_documents=batch.target_documents[held] - first,
            document_ids=batch.document_ids[first:end],
            pack_id=batch.pack_id,
            labels=batch.labels[first:end],
        )
        yield Part(part, held)
        token, target = token + tokens, target + targets


def part_logprobs(model: nn.Module, parts: list[Part], rounds: int) -> Float[Tensor, " targets"]:
    """Log-probs of all targets of a pack, part by part, without gradients; ``rounds`` as in ``two_pass``."""
    filled = parts + [parts[-1]] * (rounds - len(parts))
    with torch.no_grad():
        found = [pack_logprobs(model, part.batch) for part in filled]
    return torch.cat(found[: len(parts)])


def two_pass(
    model: nn.Module,
    parts: list[Part],
    rounds: int,
    loss_of: Callable[[Float[Tensor, " targets"]], PackLoss],
    backward: Callable[[Float[Tensor, ""], bool], None],
) -> PackLoss:
    """Accumulate the gradients of a pack's loss in the model, part by part.

    Args:
        model: A model with packed attention and a ``TargetHead``.
        parts: The parts of one pack, in order.
        rounds: Number of parts that every rank runs. If this pack has fewer, its last part runs again with weight 0,
            because each forward and backward pass is a collective under ZeRO-3.
        loss_of: Computes the loss of the whole pack from the log-probs of all its targets.
        backward: Called once per part, with the scalar to backpropagate and whether this is the last part.

    Returns:
        The result of ``loss_of``, with its loss detached.
    """
    filled = [(part, 1.0) for part in parts] + [(parts[-1], 0.0)] * (rounds - len(parts))
    logprobs = part_logprobs(model, parts, rounds).requires_grad_()
    share = loss_of(logprobs)
    (slopes,) = torch.autograd.grad(share.loss, logprobs)
    for number, (part, weight) in enumerate(filled, start=1):
        surrogate = (pack_logprobs(model, part.batch) * slopes[part.targets]).sum()
        backward(surrogate * weight, number == len(filled))
    return share._replace(loss=share.loss.detach())
