"""Packed attention: a pack of documents gives the same results as the documents one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from lwexp.extend import StepTotals
from lwexp.pack.dataset import PackBatch
from lwexp.records import LwexpError
from lwexp.train.model import attention
from lwexp.train.model.attention import packed_attention
from lwexp.train.model.logprobs import pack_logprobs
from lwexp.train.objectives.losses import sft_loss, sft_weights
from tests.train.tiny_packs import Document, make_documents, make_pack, tiny_model

DOCUMENTS = make_documents(1, [9, 23, 4, 14])


TOLERANCES = [(torch.float64, 1e-10), (torch.float32, 1e-5)]


def loss_and_gradients(model: Any, packs: list[PackBatch], targets: int) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    totals = StepTotals(packs=len(packs), documents=4, target_tokens=targets)
    total = torch.zeros((), dtype=torch.float64)
    for pack in packs:
        weights = sft_weights(pack.target_documents, len(pack.lengths), totals, "token")
        loss = sft_loss(pack_logprobs(model, pack), weights)
        loss.backward()
        total += loss.detach()
    return float(total), {name: p.grad.clone() for name, p in model.named_parameters()}


def hidden_states(model: Any, pack: PackBatch) -> torch.Tensor:
    hidden: torch.Tensor = model.model(
        input_ids=pack.input_ids, position_ids=pack.position_ids, use_cache=False, lengths=pack.lengths
    ).last_hidden_state[0]
    return hidden


def separate(documents: list[Document]) -> list[PackBatch]:
    return [make_pack([document]) for document in documents]


def padded_logits(model: Any) -> torch.Tensor:
    """All documents as one padded batch under transformers' SDPA and mask; padding taken out again.

    Not its eager attention, whose softmax is in float32 even in a float64 model.
    """
    theirs = transformers_model(model, "sdpa")
    longest = max(len(d.ids) for d in DOCUMENTS)
    ids = torch.tensor([[*d.ids, *[0] * (longest - len(d.ids))] for d in DOCUMENTS])
    mask = torch.tensor([[1] * len(d.ids) + [0] * (longest - len(d.ids)) for d in DOCUMENTS])
    logits = theirs(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return torch.cat([row[: len(d.ids)] for row, d in zip(logits, DOCUMENTS, strict=True)])


def transformers_model(model: Any, attention_name: str) -> Any:
    """The same weights under transformers alone."""
    from transformers import AutoModelForCausalLM

    dtype = model.lm_head.weight.dtype
    theirs = AutoModelForCausalLM.from_config(model.config, dtype=dtype, attn_implementation=attention_name)
    theirs.load_state_dict(model.state_dict())
    return theirs


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@pytest.mark.parametrize("family", ["glm", "llama"])
def test_packed_logits_equal_those_of_separate_and_of_padded_runs(
    family: str, dtype: torch.dtype, tolerance: float
) -> None:
    model = tiny_model(family, dtype)
    packed = model.lm_head(hidden_states(model, make_pack(DOCUMENTS)))
    alone = torch.cat([model.lm_head(hidden_states(model, pack)) for pack in separate(DOCUMENTS)])
    torch.testing.assert_close(packed, alone, rtol=0, atol=tolerance)
    torch.testing.assert_close(packed, padded_logits(model), rtol=0, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@pytest.mark.parametrize("family", ["glm", "llama"])
def test_packed_loss_and_every_gradient_equal_those_of_separate_runs(
    family: str, dtype: torch.dtype, tolerance: float
) -> None:
    model = tiny_model(family, dtype)
    targets = sum(len(d.ids) - d.prompt for d in DOCUMENTS)
    packed_loss, packed = loss_and_gradients(model, [make_pack(DOCUMENTS)], targets)
    loss, alone = loss_and_gradients(model, separate(DOCUMENTS), targets)
    assert packed_loss == pytest.approx(loss, abs=tolerance)
    for name, gradient in alone.items():
        torch.testing.assert_close(packed[name], gradient, rtol=0, atol=tolerance, msg=name)


@pytest.mark.parametrize("family", ["glm", "llama"])
def test_loss_and_gradients_of_one_document_equal_transformers_own(family: str) -> None:
    """transformers with its own eager attention and its own cross-entropy, on the weights of ours."""
    model = tiny_model(family, torch.float32)
    document = DOCUMENTS[1]
    other = transformers_model(model, "eager")
    labels = torch.tensor([[-100] * document.prompt + list(document.ids[document.prompt :])])
    theirs = other(input_ids=torch.tensor([document.ids]), labels=labels, use_cache=False).loss
    theirs.backward()
    ours, gradients = loss_and_gradients(model, [make_pack([document])], len(document.ids) - document.prompt)
    assert ours == pytest.approx(theirs.item(), abs=1e-5)
    for name, parameter in other.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("family", ["glm", "llama"])
def test_transformers_own_packing_agrees_and_its_two_silent_failures_show(family: str) -> None:
    """A second witness, which finds the boundaries in position_ids and masks them. Negative controls: an all-ones mask,
    and positions that run on, turn its packing off without a word; both must be far from right."""
    model = tiny_model(family)
    pack = make_pack(DOCUMENTS)
    ours = hidden_states(model, pack)
    body = transformers_model(model, "sdpa").model
    options: dict[str, Any] = {"input_ids": pack.input_ids, "use_cache": False}
    right = body(**options, position_ids=pack.position_ids).last_hidden_state[0]
    torch.testing.assert_close(ours, right, rtol=0, atol=1e-10)
    ones = body(**options, position_ids=pack.position_ids, attention_mask=torch.ones_like(pack.input_ids))
    assert (ones.last_hidden_state[0] - ours).abs().max() > 1e-2
    running = body(**options, position_ids=torch.arange(pack.input_ids.shape[1])[None])
    assert (running.last_hidden_state[0] - ours).abs().max() > 1e-2


@pytest.mark.parametrize("family", ["glm", "llama"])
def test_negative_control_a_wrong_boundary_changes_logits_and_gradients(family: str) -> None:
    """Rotary embeddings see differences of positions only, so running on shifts nothing inside a document: what
    must show is a restart where there is no boundary, and attention across one."""
    model = tiny_model(family)
    pack = make_pack(DOCUMENTS)
    targets = len(pack.target_ids)
    right, (_, gradients) = hidden_states(model, pack), loss_and_gradients(model, [pack], targets)
    tokens = sum(pack.lengths)
    spanning = replace(
        pack, lengths=(tokens,), max_length=tokens, cu_seqlens=torch.tensor([0, tokens], dtype=torch.int32)
    )
    shifted = replace(pack, lengths=(10, 22, 4, 14))
    restarted = replace(pack, position_ids=torch.cat([pack.position_ids[:, :4], pack.position_ids[:, :-4]], dim=1))
    for wrong in (spanning, shifted, restarted):
        assert (hidden_states(model, wrong) - right).abs().max() > 1e-2
        _, changed = loss_and_gradients(model, [wrong], targets)
        assert max(float((changed[name] - gradients[name]).abs().max()) for name in gradients) > 1e-3


def test_no_mask_is_built_for_packed_attention() -> None:
    """transformers builds masks for the names in its mask interface; ours must not be one of them."""
    from transformers import AttentionMaskInterface

    assert attention.register_attention("varlen") not in AttentionMaskInterface._global_mapping


def test_a_mask_or_wrong_lengths_or_dropout_are_refused() -> None:
    q = k = v = torch.randn(1, 2, 6, 4)
    module = torch.nn.Module()
    with pytest.raises(AssertionError, match="not from a mask"):
        attention.packed_attention(module, q, k, v, torch.ones(6, 6), lengths=(6,))
    with pytest.raises(AssertionError):
        attention.packed_attention(module, q, k, v, None, lengths=(6, 1))
    with pytest.raises(AssertionError, match="lengths"):
        attention.packed_attention(module, q, k, v, None)
    with pytest.raises(AssertionError, match="no dropout"):
        attention.packed_attention(module, q, k, v, None, dropout=0.1, lengths=(6,))


@pytest.mark.parametrize("more", [{"s_aux": 8}, {"position_bias": 30.0}, {"made_up": 1}, {"is_causal": False}])
def test_an_architecture_that_attends_otherwise_is_refused(more: dict[str, Any]) -> None:
    """They come as further arguments, which would be dropped in silence. The control has them and they are None."""
    x = torch.randn(1, 2, 6, 8)
    arguments: tuple[Any, ...] = (torch.nn.Identity(), x, x, x, None)
    packed_attention(*arguments, lengths=(6,), **dict[str, Any](dict.fromkeys(more)))
    with pytest.raises(LwexpError, match=f"packed attention has no {next(iter(more))}, which Identity asks for"):
        packed_attention(*arguments, lengths=(6,), **more)
