"""Packed attention: a pack of documents is the documents, run one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_packs import Document, Pack, make_documents, make_pack, tiny_model

from lwexp.train import attention
from lwexp.train.logprobs import pack_logprobs
from lwexp.train.losses import StepTotals, sft_loss, sft_weights

DOCUMENTS = make_documents(1, [9, 23, 4, 14])


def loss_and_gradients(model: Any, packs: list[Pack], targets: int) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    totals = StepTotals(packs=len(packs), documents=4, target_tokens=targets)
    total = torch.zeros((), dtype=torch.float64)
    for pack in packs:
        weights = sft_weights(pack.target_documents, len(pack.lengths), totals, "token")
        loss = sft_loss(pack_logprobs(model, pack), weights)
        loss.backward()
        total += loss.detach()
    return float(total), {name: p.grad.clone() for name, p in model.named_parameters()}


def hidden_states(model: Any, pack: Pack) -> torch.Tensor:
    return model.model(
        input_ids=pack.input_ids, position_ids=pack.position_ids, use_cache=False, lengths=pack.lengths
    ).last_hidden_state[0]


def separate(documents: list[Document]) -> list[Pack]:
    return [make_pack([document]) for document in documents]


@pytest.mark.parametrize("family", ["glm", "llama"])
def test_packed_logits_equal_those_of_separate_runs(family: str) -> None:
    model = tiny_model(family)
    packed = model.lm_head(hidden_states(model, make_pack(DOCUMENTS)))
    alone = torch.cat([model.lm_head(hidden_states(model, pack)) for pack in separate(DOCUMENTS)])
    torch.testing.assert_close(packed, alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", ["glm", "llama"])
def test_packed_loss_and_every_gradient_equal_those_of_separate_runs(family: str) -> None:
    model = tiny_model(family)
    targets = sum(len(d.ids) - d.prompt for d in DOCUMENTS)
    packed_loss, packed = loss_and_gradients(model, [make_pack(DOCUMENTS)], targets)
    loss, alone = loss_and_gradients(model, separate(DOCUMENTS), targets)
    assert packed_loss == pytest.approx(loss, abs=1e-10)
    for name, gradient in alone.items():
        torch.testing.assert_close(packed[name], gradient, rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize("family", ["glm", "llama"])
def test_loss_of_one_document_equals_transformers_own(family: str) -> None:
    """transformers with its own eager attention and its own cross-entropy, on the weights of ours."""
    from transformers import AutoModelForCausalLM

    model = tiny_model(family)
    document = DOCUMENTS[1]
    other = AutoModelForCausalLM.from_config(model.config, dtype=torch.float64, attn_implementation="eager")
    other.load_state_dict(model.state_dict())
    labels = torch.tensor([[-100] * document.prompt + list(document.ids[document.prompt :])])
    theirs = other(input_ids=torch.tensor([document.ids]), labels=labels, use_cache=False).loss
    ours, _ = loss_and_gradients(model, [make_pack([document])], len(document.ids) - document.prompt)
    assert ours == pytest.approx(theirs.item(), abs=1e-6)  # theirs casts logits to float32


@pytest.mark.parametrize("family", ["glm", "llama"])
def test_negative_control_positions_that_run_on_or_one_spanning_document_change_the_logits(family: str) -> None:
    """Rotary embeddings see differences of positions only, so running on shifts nothing inside a document: what
    must show is a restart where there is no boundary, and attention across one."""
    model = tiny_model(family)
    pack = make_pack(DOCUMENTS)
    right = hidden_states(model, pack)
    tokens = sum(pack.lengths)
    spanning = replace(pack, lengths=(tokens,), max_length=tokens, cu_seqlens=torch.tensor([0, tokens]))
    assert (hidden_states(model, spanning) - right).abs().max() > 1e-2
    shifted = replace(pack, lengths=(10, 22, 4, 14))
    assert (hidden_states(model, shifted) - right).abs().max() > 1e-2
    restarted = replace(pack, position_ids=torch.cat([pack.position_ids[:, :4], pack.position_ids[:, :-4]], dim=1))
    assert (hidden_states(model, restarted) - right).abs().max() > 1e-2


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
