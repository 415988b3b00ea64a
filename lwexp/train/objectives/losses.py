"""Losses as pure tensor functions of per-token log-probs. They need no model, config or ranks.

Every denominator counts the whole optimiser step over all ranks and is known before the step starts. So the gradient
does not depend on how documents are split into packs (except for ``release``), accumulation steps or ranks.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lwexp.extend import StepTotals

Normalize = Literal["token", "sequence", "release"]


def sft_weights(
    target_documents: Int64[Tensor, " targets"],
    num_documents: int,
    totals: StepTotals,
    normalize: Normalize,
    release_divisor: float = 30.0,
) -> Float[Tensor, " targets"]:
    """Weight of each target token of one pack in the step's loss.

    ``token``: 1/(target tokens of the step). This is the paper's "averaged over all target tokens of the batch".
    ``sequence``: 1/(documents of the step * target tokens of the document). Every answer has the same weight, so a
    token of a long answer has little weight (LongAlign's weighting).
    ``release``: n/(release_divisor * target tokens of the pack * packs of the step), where n is the number of documents
    in the pack. This is what the released code does.

    Example: a step of two packs, targets per document (2, 4) and (6), divisor 30:
        token     1/12 everywhere
        sequence  1/6 1/6 | 1/12 x4      and  1/18 x6
        release   2/(30*6*2) = 1/180 x6  and  1/(30*6*2) = 1/360 x6

    Args:
        target_documents: Document of each target token, 0..num_documents-1.
        num_documents: Documents in this pack.
        totals: Counts of the whole step.
        normalize: Which of the three weightings to use.
        release_divisor: The constant of ``release``.

    Source: arXiv 2408.07055, the paragraph on SFT (token); THUDM/LongWriter train/main.py:68 and
        train/patch/modeling_llama.py:1266-1269 at 3fcfdff (release; the 30 is not explained there).
    """
    num_targets = target_documents.shape[0]
    ones = torch.ones(num_targets, dtype=torch.float32, device=target_documents.device)
    if normalize == "token":
        return ones / totals.target_tokens
    if normalize == "sequence":
        counts = torch.zeros(num_documents, device=ones.device).index_add_(0, target_documents, ones)
        return 1.0 / (counts[target_documents] * totals.documents)
    return ones * (num_documents / (release_divisor * max(num_targets, 1) * totals.packs))


def sft_loss(logprobs: Float[Tensor, " targets"], weights: Float[Tensor, " targets"]) -> Float[Tensor, ""]:
    """This pack's share of the step's loss; the shares of all packs add up to it."""
    return -(logprobs * weights).sum()


def sequence_logprobs(
    logprobs: Float[Tensor, " targets"], target_documents: Int64[Tensor, " targets"], num_documents: int
) -> Float[Tensor, " documents"]:
    """log p of each document's targets, summed in float64 because DPO subtracts sums of 10,000 terms."""
    sums = torch.zeros(num_documents, dtype=torch.float64, device=logprobs.device)
    return sums.index_add(0, target_documents, logprobs.double())


def target_counts(target_documents: Int64[Tensor, " targets"], num_documents: int) -> Int64[Tensor, " documents"]:
    """Target tokens of each document."""
    # bincount is avoided because the host would wait for the device to find the largest number.
    counts = torch.zeros(num_documents, dtype=torch.int64, device=target_documents.device)
    return counts.index_add_(0, target_documents, torch.ones_like(target_documents))
