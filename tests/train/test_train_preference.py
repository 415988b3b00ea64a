"""Preference losses against TRL's own and against hand arithmetic."""

import math
from collections import defaultdict
from importlib.metadata import version
from types import SimpleNamespace

import pytest
import torch

from lwexp.extend import PreferenceForm
from lwexp.train.objectives.losses import target_counts
from lwexp.train.objectives.preference import (
    find_pairs,
    is_tail,
    preference_losses,
    token_weights,
)

LENGTHS = [7, 3, 2, 9, 5, 5]  # targets of chosen, rejected, chosen, rejected, ...
PAIRS = find_pairs((0, 1, 2, 3, 4, 5))


def form(**changes):
    values = {"loss": "sigmoid", "beta": 0.1, "label_smoothing": 0.0, "length_normalize": False, "ld_alpha": 1.0}
    return PreferenceForm.model_validate(values | changes)


def random_logprobs(seed):
    """Log-probs of the targets of six documents under a policy, flat and in document order."""
    return -torch.rand(sum(LENGTHS), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def documents():
    return torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))


def ours(policy, reference, settings):
    """Mean loss over the pairs, from flat token log-probs."""
    counts = target_counts(documents(), len(LENGTHS))
    weights = token_weights(is_tail(documents(), counts, PAIRS), settings.ld_alpha)
    chosen, known = (
        torch.zeros(len(LENGTHS), dtype=torch.float64).index_add(0, documents(), tokens * weights)
        for tokens in (policy, reference)
    )
    return preference_losses(chosen, known, counts, PAIRS, settings).losses.mean()


def trl(policy, reference, settings, loss_type, label_smoothing=0.0):
    """TRL's own loss: its trainer's method, with models that hand back given log-probs.

    TRL has no loss function outside its trainer. What the method reads of the trainer is private, so the release is
    pinned in pyproject.toml, and this follows it by hand.
    """
    assert version("trl").startswith("1.16."), "another TRL: see what _compute_loss reads now"
    from trl import DPOTrainer

    def padded(tokens):
        """TRL's layout: the chosen answers, then the rejected; one prompt token before each."""
        pieces = torch.split(tokens, LENGTHS)
        order = [*pieces[0::2], *pieces[1::2]]
        return torch.nn.utils.rnn.pad_sequence(order, batch_first=True)

    def model(log_probs):
        zeros = torch.zeros_like(log_probs)
        return lambda **_: SimpleNamespace(
            log_probs=log_probs, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool(), log_sum_sq_probs=zeros
        )

    trainer = DPOTrainer.__new__(DPOTrainer)
    gather = SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x)
    values = {
        "accelerator": gather, "aux_loss_enabled": False, "ld_alpha": settings.ld_alpha, "precompute_ref_logps": False,
        "f_divergence_type": "reverse_kl", "loss_types": [loss_type], "loss_weights": [1.0], "beta": settings.beta,
        "label_smoothing": label_smoothing, "use_weighting": False, "_metrics": {"train": defaultdict(list)},
        "_total_train_tokens": 0, "_tp_size": 1, "ref_model": model(padded(reference)),
        "model": SimpleNamespace(training=True),
    }  # fmt: skip
    trainer.__dict__.update(values)
    # Completion masks: the prompt token is 0, then 1 for each target.
    ones = padded(torch.ones(sum(LENGTHS), dtype=torch.long))
    mask = torch.cat([torch.zeros(len(LENGTHS), 1, dtype=torch.long), ones], dim=1)
    inputs = {"input_ids": mask, "attention_mask": mask, "completion_mask": mask}
    trainer.args = SimpleNamespace(gradient_checkpointing_kwargs=None, gradient_checkpointing=False)
    import trl.trainer.dpo_trainer as module

    original = module.is_peft_model, module.disable_gradient_checkpointing
    import contextlib

    module.is_peft_model = lambda _: False
    module.disable_gradient_checkpointing = lambda *_: contextlib.nullcontext()
    try:
        live = padded(policy)
        return trainer._compute_loss(model(live), inputs, return_outputs=False)
    finally:
        module.is_peft_model, module.disable_gradient_checkpointing = original


@pytest.mark.parametrize("ld_alpha", [1.0, 0.4, 0.0])
@pytest.mark.parametrize(
    ("changes", "loss_type"),
    [
        ({}, "sigmoid"),
        ({"beta": 0.7}, "sigmoid"),
        ({"loss": "hinge"}, "hinge"),
        ({"loss": "ipo"}, "ipo"),
        ({"length_normalize": True, "beta": 2.0}, "sigmoid_norm"),
    ],
)
def test_loss_and_gradients_are_those_of_trl(changes, loss_type, ld_alpha):
    """TRL 1.16 counts the completion tokens in its normalised forms, as we count targets; both see the same tokens."""
    settings = form(ld_alpha=ld_alpha, **changes)
    mine, theirs = random_logprobs(0).requires_grad_(), random_logprobs(0).requires_grad_()

    loss = ours(mine, random_logprobs(1), settings)
    expected = trl(theirs, random_logprobs(1), settings, loss_type)
    loss.backward()
    expected.backward()

    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-10, atol=1e-14)
    assert mine.grad.abs().max() > 0


def test_trl_would_notice_another_loss():
    """Negative control: the same call with another form, beta or ld_alpha is not equal."""
    expected = trl(random_logprobs(0), random_logprobs(1), form(), "sigmoid")

    for other in (form(beta=0.2), form(ld_alpha=0.4), form(loss="hinge"), form(length_normalize=True)):
        assert abs(ours(random_logprobs(0), random_logprobs(1), other) - expected) > 1e-3


def test_label_smoothing_by_hand():
    """beta 0.1, d = ln 3 / 0.1: sigmoid(beta d) = 3/4, so -0.9 ln(3/4) - 0.1 ln(1/4) = 0.25891 + 0.13863 = 0.39754."""
    policy = torch.tensor([math.log(3) / 0.1, 0.0], dtype=torch.float64)
    counts = torch.tensor([1, 1])

    found = preference_losses(policy, torch.zeros(2).double(), counts, find_pairs((0, 1)), form(label_smoothing=0.1))

    assert found.losses.item() == pytest.approx(0.39754, abs=1e-5)
    assert found.margins.item() == pytest.approx(math.log(3))
    assert found.correct.item()


@pytest.mark.parametrize(
    ("changes", "value"),
    [({}, math.log(2)), ({"length_normalize": True}, math.log(2)), ({"label_smoothing": 0.3}, math.log(2)),
     ({"loss": "hinge"}, 1.0), ({"loss": "ipo", "beta": 0.1}, 25.0)],
)  # fmt: skip
def test_before_the_first_update(changes, value):
    """Policy = reference: d = 0. ln 2; 1 - 0; (0 - 1/(2*0.1))^2 = 25."""
    tokens = random_logprobs(0)

    assert ours(tokens, tokens.clone(), form(**changes)).item() == pytest.approx(value, abs=1e-12)


def test_the_tail_is_what_only_one_answer_has():
    """Pairs of 7 and 3, 2 and 9, 5 and 5 targets: tails of 4, 7 and 0."""
    counts = target_counts(documents(), len(LENGTHS))

    tail = is_tail(documents(), counts, PAIRS)

    assert [int(part.sum()) for part in torch.split(tail, LENGTHS)] == [4, 0, 0, 7, 0, 0]
    assert tail[:7].tolist() == [False] * 3 + [True] * 4
    assert token_weights(tail, 0.4).unique().tolist() == [0.4, 1.0]


@pytest.mark.parametrize(
    "changes", [{"loss": "ipo", "label_smoothing": 0.1}, {"loss": "hinge", "length_normalize": True}]
)
def test_an_option_that_would_be_ignored_is_refused(changes):
    with pytest.raises(ValueError, match=r"only objective\.loss=sigmoid has it"):
        form(**changes)
