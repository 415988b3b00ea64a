"""Training in two passes, part by part, gives the same gradients as in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lwexp.extend import Known, StepTotals
from lwexp.train.model.logprobs import pack_logprobs
from lwexp.train.objectives.preference import weighted_reference
from lwexp.train.objectives.reference import Reference, join_sums, reference_sums
from lwexp.train.objectives.two_pass import split_pack, two_pass
from tests.train.tiny_packs import dpo_config, make_documents, make_pack, tiny_model

DOCUMENTS = make_documents(3, [40, 25, 9, 33, 18, 18])  # three pairs


def batch_and_totals() -> tuple[Any, StepTotals]:
    pack = make_pack(DOCUMENTS)
    chosen = sum(len(d.ids) - d.prompt for d in DOCUMENTS[::2])
    return pack, StepTotals(packs=1, documents=6, target_tokens=len(pack.target_ids), counted={"chosen_tokens": chosen})


def moved_reference(seed: int = 0) -> Reference:
    """Some other model's log-probs, so that no gradient is at its starting point."""
    rng = np.random.default_rng(seed)
    return Reference({"logprobs": rng.uniform(-160, -60, 6), "tails": rng.uniform(-9, 0, 6)})


def gradients(model: Any, changes: dict[str, Any], capacity: int | None, rounds: int | None = None) -> tuple[Any, Any]:
    """Gradients of every parameter, and the loss, by one pass (capacity None) or two."""
    objective, known = dpo_config(**changes), Known(moved_reference())
    pack, totals = batch_and_totals()
    model.zero_grad()
    if capacity is None:
        share = objective.pack_loss(pack_logprobs(model, pack), pack, totals, known)
        share.loss.backward()
    else:
        parts = split_pack(pack, capacity)
        share = two_pass(
            model, parts, rounds or len(parts), lambda logprobs: objective.pack_loss(logprobs, pack, totals, known),
            lambda loss, _: loss.backward(),
        )  # fmt: skip
    return [p.grad.clone() for p in model.parameters()], share


@pytest.mark.parametrize("family", ["glm", "llama"])
@pytest.mark.parametrize(
    "changes",
    [
        {"nll_weight": 0.3},
        {"loss": "ipo", "beta": 0.5},
        {"loss": "hinge"},
        {"length_normalize": True, "beta": 5.0, "label_smoothing": 0.1},
        {"ld_alpha": 0.3},
        {"loss": "none", "nll_weight": 1.0},
    ],
)
def test_two_passes_give_the_gradients_of_one(family: str, changes: dict[str, Any]) -> None:
    """Float64, every parameter, parts of one document and of several: within 1e-10 of the largest gradient."""
    model = tiny_model(family)
    expected, one = gradients(model, changes, None)
    largest = max(float(g.abs().max()) for g in expected)
    assert largest > 0

    for capacity in (1, 60):
        found, two = gradients(model, changes, capacity)

        assert max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) < 1e-10 * largest
        assert two.loss.item() == pytest.approx(one.loss.item(), abs=1e-12)
        torch.testing.assert_close(two.watched, one.watched)


def test_float32_is_within_a_millionth() -> None:
    model = tiny_model("glm", torch.float32)
    expected, _ = gradients(model, {"nll_weight": 0.3}, None)
    found, _ = gradients(model, {"nll_weight": 0.3}, 1)

    largest = max(float(g.abs().max()) for g in expected)
    assert max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) < 1e-6 * largest


def test_treating_each_answer_alone_would_differ() -> None:
    """Negative control: with the sums of another pack the slopes, and so the gradients, are others."""
    model = tiny_model("llama")
    expected, _ = gradients(model, {}, None)
    objective, known = dpo_config(), Known(moved_reference(seed=1))
    pack, totals = batch_and_totals()
    model.zero_grad()
    objective.pack_loss(pack_logprobs(model, pack), pack, totals, known).loss.backward()

    differences = [(p.grad - g).abs().max() for p, g in zip(model.parameters(), expected, strict=True)]
    assert max(float(d) for d in differences) > 1e-3 * max(float(g.abs().max()) for g in expected)


def test_extra_rounds_change_nothing() -> None:
    """What a rank with fewer parts runs to keep step with the others."""
    model = tiny_model("glm")
    expected, _ = gradients(model, {}, 60)
    found, _ = gradients(model, {}, 60, rounds=9)

    assert max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) < 1e-12


def test_parts_are_whole_documents_with_their_own_positions() -> None:
    """40, 25, 9, 33, 18, 18 tokens at capacity 60: (40), (25, 9), (33, 18), (18); each prompt has 3 tokens."""
    pack, _ = batch_and_totals()

    parts = split_pack(pack, 60)

    assert [part.batch.lengths for part in parts] == [(40,), (25, 9), (33, 18), (18,)]
    assert [part.batch.document_ids for part in parts] == [(0,), (1, 2), (3, 4), (5,)]
    assert [(part.targets.start, part.targets.stop) for part in parts] == [(0, 37), (37, 65), (65, 110), (110, 125)]
    for part in parts:
        own = make_pack([DOCUMENTS[i] for i in part.batch.document_ids])
        for name in ("input_ids", "position_ids", "cu_seqlens", "source_positions", "target_ids", "target_documents"):
            assert torch.equal(getattr(part.batch, name), getattr(own, name)), name


def test_reference_holds_the_tails_of_the_longer_answers() -> None:
    """Pairs of 37 and 22, 6 and 30, 15 and 15 targets: tails of 15, 0, 0, 24, 0, 0 log-probs."""
    model = tiny_model("llama")
    pack, _ = batch_and_totals()
    with torch.no_grad():
        sums = reference_sums([pack], lambda given: pack_logprobs(model, given), dpo_config(), len(DOCUMENTS))
    found = join_sums([sums])
    pieces = torch.split(pack_logprobs(model, pack).detach(), [37, 22, 6, 30, 15, 15])

    tails = [float(piece[len(piece) - tail :].sum()) for piece, tail in zip(pieces, (15, 0, 0, 24, 0, 0), strict=True)]
    assert found.sums["tails"].tolist() == pytest.approx(tails, abs=1e-9)
    assert found.sums["logprobs"].tolist() == pytest.approx([float(piece.sum()) for piece in pieces], abs=1e-9)
    whole = weighted_reference(found, (0, 3), 1.0)
    assert whole.tolist() == [found.sums["logprobs"][0], found.sums["logprobs"][3]]
    assert weighted_reference(found, (0,), 0.0)[0] == pytest.approx(float(pieces[0][:22].sum()), abs=1e-9)
