"""Losses: hand arithmetic, and gradients that do not depend on how a step is cut up."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from lwexp.config.train import Optimizer
from lwexp.extend import Known, PackLoss, StepTotals
from lwexp.train.data.steps import Steps, rank_share
from lwexp.train.model.logprobs import pack_logprobs
from lwexp.train.objectives.losses import sequence_logprobs, sft_loss, sft_weights
from lwexp.train.objectives.preference import find_pairs, is_in
from lwexp.train.objectives.reference import Reference
from lwexp.train.objectives.sft import SFT
from tests.train.tiny_packs import Document, Packs, dpo_config, make_documents, tiny_model

OPTIMIZER = Optimizer(lr=0.1, betas=(0.9, 0.95), weight_decay=0.0, grad_clip=1.0, schedule="constant", warmup_ratio=0.0)


def test_weights_of_the_docstrings_example() -> None:
    """Two packs, targets per document (2, 4) and (6), divisor 30."""
    totals = StepTotals(packs=2, documents=3, target_tokens=12)
    first, second = torch.tensor([0, 0, 1, 1, 1, 1]), torch.zeros(6, dtype=torch.int64)
    wanted = {
        "token": ([1 / 12] * 6, [1 / 12] * 6),
        "sequence": ([1 / 6] * 2 + [1 / 12] * 4, [1 / 18] * 6),
        "release": ([2 / 360] * 6, [1 / 360] * 6),
    }
    for normalize, (a, b) in wanted.items():
        assert sft_weights(first, 2, totals, normalize).tolist() == pytest.approx(a)  # type: ignore[arg-type]
        assert sft_weights(second, 1, totals, normalize).tolist() == pytest.approx(b)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("normalize", "weight", "long_weight"),
    [("token", 1.0, 1 / 2), ("sequence", 1.0, 1 / 3), ("release", 1 / 20, 1 / 60)],
)
def test_the_loss_weight_of_long_documents(normalize: str, weight: float, long_weight: float) -> None:
    """The same two packs, long from 6 targets: 6 of 12 targets, 1 of 3 documents; release 2/(30*2) + 1/(30*2), 1/60."""
    documents = [Document(tuple(range(10, 10 + 2 + n)), 2) for n in (2, 4, 6)]
    packs = Packs([documents[:2], documents[2:]])
    batch = Steps(packs, [[0, 1]])[0]  # type: ignore[arg-type]
    objective = sft(normalize)
    logprobs = [torch.zeros(len(pack.target_ids)) for pack in batch.packs]
    shares = [
        objective.pack_loss(values, pack, batch.totals, Known(long_from=6))
        for values, pack in zip(logprobs, batch.packs, strict=True)
    ]
    watched = summed(shares)
    assert watched == pytest.approx({"weight": weight, "long_weight": long_weight})


def summed(shares: list[PackLoss]) -> dict[str, float]:
    return {name: sum(float(share.watched[name]) for share in shares) for name in shares[0].watched}


def test_release_is_the_released_codes_formula() -> None:
    """Loss of a rank = CE mean over its pack * sequences / 30, then averaged over ranks (DeepSpeed).

    Pack A: 2 sequences, NLLs 1, 2, 3 -> 2.0 * 2/30; pack B: 1 sequence, NLLs 4, 6 -> 5.0 * 1/30; mean 9/60.
    """
    totals = StepTotals(packs=2, documents=3, target_tokens=5)
    a = sft_loss(-torch.tensor([1.0, 2.0, 3.0]), sft_weights(torch.tensor([0, 0, 1]), 2, totals, "release", 30.0))
    b = sft_loss(-torch.tensor([4.0, 6.0]), sft_weights(torch.tensor([0, 0]), 1, totals, "release", 30.0))
    assert float(a + b) == pytest.approx(9 / 60)


def sft(normalize: str) -> SFT:
    return SFT(
        kind="sft", epochs=1, max_steps=None, global_batch=4, normalize=normalize, release_divisor=30.0,  # type: ignore[arg-type]
        optimizer=OPTIMIZER,
    )  # fmt: skip


def step_gradients(model: Any, packs: list[list[Document]], normalize: str, ranks: int = 1) -> list[torch.Tensor]:
    """Gradients of one step over all packs, averaged over ranks as data-parallel strategies do."""
    objective, dataset = sft(normalize), Packs(packs)
    plan = [list(range(len(packs)))]
    model.zero_grad()
    for rank in range(ranks):
        batch = Steps(dataset, plan, rank=rank, world_size=ranks)[0]  # type: ignore[arg-type]
        for pack, weight in zip(batch.packs, batch.weights, strict=True):
            share = objective.pack_loss(pack_logprobs(model, pack), pack, batch.totals, Known())
            (share.loss * (weight * ranks) / ranks).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


DOCUMENTS = make_documents(2, [8, 30, 5, 12, 4, 21])
SPLITS = {
    "one pack": [DOCUMENTS],
    "two packs": [DOCUMENTS[:2], DOCUMENTS[2:]],
    "other two": [DOCUMENTS[3:], DOCUMENTS[:3]],
    "one each": [[document] for document in DOCUMENTS],
}


def distance(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    return max(float((x - y).abs().max()) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("normalize", ["token", "sequence"])
def test_gradients_do_not_depend_on_packs_and_accumulation(normalize: str) -> None:
    model = tiny_model("glm")
    wanted = step_gradients(model, SPLITS["one pack"], normalize)
    for name, packs in SPLITS.items():
        assert distance(step_gradients(model, packs, normalize), wanted) < 1e-8, name


def test_negative_control_release_depends_on_the_split() -> None:
    """Its denominator is the pack's own, which is why it is not the default."""
    model = tiny_model("glm")
    one, two = (step_gradients(model, SPLITS[name], "release") for name in ("one pack", "two packs"))
    assert distance(one, two) > 1e-4


@pytest.mark.parametrize("normalize", ["token", "sequence", "release"])
@pytest.mark.parametrize("ranks", [2, 4])
def test_gradients_do_not_depend_on_ranks(normalize: str, ranks: int) -> None:
    """3 packs on 2 or 4 ranks: ranks without a pack of their own run one with weight 0."""
    model = tiny_model("glm")
    packs = [DOCUMENTS[:1], DOCUMENTS[1:4], DOCUMENTS[4:]]
    assert distance(step_gradients(model, packs, normalize), step_gradients(model, packs, normalize, ranks)) < 1e-10


def test_rank_shares() -> None:
    assert rank_share([7, 8, 9], 0, 2) == ([7, 9], [1.0, 1.0])
    assert rank_share([7, 8, 9], 1, 2) == ([8, 7], [1.0, 0.0])
    assert rank_share([7], 3, 4) == ([7], [0.0])


def test_sequence_logprobs_are_segment_sums_in_float64() -> None:
    logprobs = torch.tensor([-1.0, -2.0, -3.0, -4.0])
    sums = sequence_logprobs(logprobs, torch.tensor([0, 2, 0, 2]), 3)
    assert sums.tolist() == [-4.0, 0.0, -6.0]
    assert sums.dtype == torch.float64


def test_pairs_are_found_by_their_global_numbers() -> None:
    pairs = find_pairs((8, 9, 3, 2))
    assert pairs.chosen == [0, 3]
    assert pairs.rejected == [1, 2]
    assert pairs.numbers == [4, 1]
    with pytest.raises(AssertionError, match="splits a pair"):
        find_pairs((8, 9, 3))


def test_membership_of_targets() -> None:
    assert is_in([0, 2], torch.tensor([0, 1, 1, 2]), 3).tolist() == [True, False, False, True]


def test_dpo_gradients_do_not_depend_on_packs_and_the_first_loss_is_ln_2_plus_nll() -> None:
    model = tiny_model("llama")
    config = dpo_config(beta=0.3, nll_weight=0.2)
    gradients, losses = [], []
    for split in ([DOCUMENTS], [DOCUMENTS[:2], DOCUMENTS[2:]]):
        dataset = Packs(split)
        with torch.no_grad():
            sums = torch.cat(
                [sequence_logprobs(pack_logprobs(model, p), p.target_documents, len(p.lengths)) for p in dataset._packs]
            )
        chosen = [sum(len(d.ids) - d.prompt for d in documents[::2]) for documents in split]
        known = Known(Reference({"logprobs": sums.numpy(), "tails": 0 * sums.numpy()}))
        batch = Steps(dataset, [list(range(len(split)))], counted={"chosen_tokens": chosen})[0]  # type: ignore[arg-type]
        model.zero_grad()
        shares = [config.pack_loss(pack_logprobs(model, p), p, batch.totals, known) for p in batch.packs]
        sum(share.loss for share in shares).backward()
        losses.append(sum(share.loss.item() for share in shares))
        gradients.append([p.grad.clone() for p in model.parameters()])
        watched = summed(shares)
        preference, margin, accuracy, nll = (watched[k] for k in ("preference_loss", "margin", "accuracy", "nll"))
        assert preference == pytest.approx(math.log(2), abs=1e-9)
        assert (margin, accuracy, watched["kl"]) == (0.0, 0.0, 0.0)
        assert losses[-1] == pytest.approx(math.log(2) + 0.2 * nll, abs=1e-12)
    assert distance(*gradients) < 1e-8


def test_the_kl_of_a_policy_that_has_moved() -> None:
    """Log-probs fell by 1 (chosen) and 3 (rejected) nats an answer in one pair, rose by 1 and 1 in the other: 0.5."""
    documents = make_documents(2, [8, 8, 8, 8])
    batch = Steps(Packs([documents]), [[0]], counted={"chosen_tokens": [10]})[0]  # type: ignore[arg-type]
    pack = batch.packs[0]
    logprobs = torch.full((len(pack.target_ids),), -1.0, dtype=torch.float64)
    policy = sequence_logprobs(logprobs, pack.target_documents, 4)
    reference = policy + torch.tensor([1.0, 3.0, -1.0, -1.0])
    known = Known(Reference({"logprobs": reference.numpy(), "tails": 0 * reference.numpy()}))
    watched = dpo_config().pack_loss(logprobs, pack, batch.totals, known).watched
    assert float(watched["kl"]) == pytest.approx(0.5)
