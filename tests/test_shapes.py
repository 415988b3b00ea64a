"""Negative controls of the shape checks that conftest switches on: a wrong shape or number format is an error."""

from dataclasses import replace

import pytest
import torch
from jaxtyping import TypeCheckError

from lwexp.sample.choose import choose_tokens
from lwexp.train.model.attention_paths import Documents, per_document
from lwexp.train.objectives.losses import sft_loss
from tests.train.tiny_packs import make_documents, make_pack


def test_two_tensors_must_agree_on_a_dimension_that_both_name():
    three, four = torch.zeros(3), torch.zeros(4)

    assert sft_loss(three, three) == 0
    with pytest.raises(TypeCheckError, match="weights"):  # four targets, three weights: broadcasting would hide 1 of 3
        sft_loss(four, three)


def test_a_result_must_have_the_shape_that_is_promised():
    query = torch.zeros(1, 2, 5, 8)

    assert per_document(query, query, query, Documents((2, 3), None, 3), 1.0).shape == (1, 5, 2, 8)
    with pytest.raises(TypeCheckError):  # keys of another pack
        per_document(query, query[:, :, :4], query[:, :, :4], Documents((2, 3), None, 3), 1.0)


def test_a_batch_holds_its_number_formats():
    pack = make_pack(make_documents(0, [3, 4]))

    with pytest.raises(TypeCheckError):
        replace(pack, cu_seqlens=pack.cu_seqlens.long())


def test_an_int_is_a_float_as_for_mypy_and_a_string_is_not():
    logits, draws = torch.zeros(1, 4), torch.zeros(1)

    assert choose_tokens(logits, draws, temperature=0, top_p=1, top_k=0).tolist() == [0]
    with pytest.raises(TypeCheckError, match="temperature"):
        choose_tokens(logits, draws, temperature="0", top_p=1, top_k=0)  # type: ignore[arg-type]
