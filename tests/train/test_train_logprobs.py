"""The log-prob op against the naive one."""

from __future__ import annotations

import pytest
import torch

from lwexp.train.model.logprobs import TargetHead, pack_logprobs, target_logprobs
from tests.train.tiny_packs import make_documents, make_pack, tiny_model

TOKENS, HIDDEN, WORDS = 13, 6, 29
SOURCES = torch.tensor([0, 3, 4, 5, 11])
TARGETS = torch.tensor([28, 0, 7, 7, 13])


def naive(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    logprobs = torch.log_softmax((hidden @ weight.T).to(torch.promote_types(hidden.dtype, torch.float32)), dim=-1)
    return logprobs[SOURCES, TARGETS]


def inputs(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(TOKENS, HIDDEN, dtype=torch.float64, generator=generator).to(dtype)
    weight = torch.randn(WORDS, HIDDEN, dtype=torch.float64, generator=generator).to(dtype)
    return hidden.requires_grad_(), weight.requires_grad_()


@pytest.mark.parametrize("chunk", [1, 2, 5, 100])
def test_values_and_gradients_equal_log_softmax_for_every_chunk_size(chunk: int) -> None:
    slopes = torch.tensor([0.3, -1.0, 2.0, 0.0, 5.0], dtype=torch.float64)  # one weight a token, not all alike
    hidden, weight = inputs()
    logprobs = target_logprobs(hidden, weight, SOURCES, TARGETS, chunk)
    grads = torch.autograd.grad((logprobs * slopes).sum(), (hidden, weight))
    wanted = naive(hidden, weight)
    wanted_grads = torch.autograd.grad((wanted * slopes).sum(), (hidden, weight))
    torch.testing.assert_close(logprobs, wanted, rtol=0, atol=1e-12)
    for got, want in zip(grads, wanted_grads, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_gradcheck() -> None:
    hidden, weight = inputs()
    assert torch.autograd.gradcheck(lambda h, w: target_logprobs(h, w, SOURCES, TARGETS, 2), (hidden, weight))


def test_rows_that_predict_no_target_get_no_gradient() -> None:
    hidden, weight = inputs()
    (grad,) = torch.autograd.grad(target_logprobs(hidden, weight, SOURCES, TARGETS).sum(), hidden)
    touched = grad.abs().sum(dim=1).nonzero()[:, 0]
    assert touched.tolist() == SOURCES.tolist()


def test_bf16_gives_float32_logprobs_and_a_head_gradient_summed_in_float32() -> None:
    """512 equal tokens, each alone in its chunk: bf16 sums would stop growing at 256 times the summand."""
    hidden = torch.ones(512, 2, dtype=torch.bfloat16)
    weight = torch.zeros(4, 2, dtype=torch.bfloat16, requires_grad=True)
    positions, targets = torch.arange(512), torch.zeros(512, dtype=torch.int64)
    logprobs = target_logprobs(hidden, weight, positions, targets, token_chunk=1)
    assert logprobs.dtype == torch.float32
    logprobs.sum().backward()
    # d/dw of log softmax at zero logits: 3/4 for the target's row, -1/4 for the others, times 512.
    assert weight.grad is not None
    assert weight.grad[:, 0].tolist() == [384.0, -128.0, -128.0, -128.0]


def test_no_targets_give_an_empty_answer_and_zero_gradients() -> None:
    hidden, weight = inputs()
    none = torch.zeros(0, dtype=torch.int64)
    logprobs = target_logprobs(hidden, weight, none, none)
    assert logprobs.shape == (0,)
    logprobs.sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.abs().sum() == 0


def test_full_logits_never_exist() -> None:
    """The largest tensor that autograd keeps or the op makes is a chunk: 4 of 64 tokens, or as many logits."""
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes: list[int] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            sizes.extend(t.numel() for t in torch.utils._pytree.tree_leaves(result) if isinstance(t, torch.Tensor))
            return result

    hidden = torch.randn(64, 2, requires_grad=True)
    weight = torch.randn(1000, 2, requires_grad=True)
    with Watch():
        target_logprobs(hidden, weight, torch.arange(64), torch.arange(64), token_chunk=4).sum().backward()
    assert max(sizes) == 4 * 1000
    assert 64 * 1000 not in sizes


def test_the_head_answers_with_logits_or_with_logprobs() -> None:
    model = tiny_model("llama")
    assert isinstance(model.lm_head, TargetHead)
    assert "lm_head.weight" in model.state_dict()
    pack = make_pack(make_documents(0, [5, 7]))
    hidden = model.model(
        input_ids=pack.input_ids, position_ids=pack.position_ids, use_cache=False, lengths=pack.lengths
    ).last_hidden_state[0]
    wanted = torch.log_softmax(model.lm_head(hidden), dim=-1)[pack.source_positions, pack.target_ids]
    torch.testing.assert_close(pack_logprobs(model, pack), wanted)
