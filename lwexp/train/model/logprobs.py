"""Log-probabilities of target tokens without ever holding the full logits.

At 32,768 tokens the logits of GLM-4 take 18.5 GiB in float32, and a plain cross-entropy holds three such tensors. Here
only the hidden states that predict a target token are multiplied with the head. This is done in chunks, in the forward
pass and again in the backward pass. SFT and DPO use the same operation.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lwexp.pack.dataset import PackBatch
from lwexp.records import LwexpError

CHUNK_BYTES = 512 * 2**20
"""Upper limit on the float32 logits held at once. It is enough for 885 tokens with GLM-4's vocabulary of 151,552, and
for a whole pack of a miniature model."""

ELSE = "choose a model whose architecture is like Llama's"


def target_logprobs(
    hidden: Float[Tensor, "tokens hidden"],
    head_weight: Float[Tensor, "words hidden"],
    source_positions: Int64[Tensor, " targets"],
    target_ids: Int64[Tensor, " targets"],
    token_chunk: int | None = None,
    softcap: float | None = None,
) -> Float[Tensor, " targets"]:
    """log p(target | everything before it in its document), differentiable, in float32 (float64 for float64 inputs).

    Args:
        hidden: Last hidden states of a pack.
        head_weight: Weight of the language-model head.
        source_positions: For each target, the row of ``hidden`` that predicts it: the target's position minus one.
        target_ids: The target tokens.
        token_chunk: Number of targets whose logits exist at the same time; None means as many as fit in
            ``CHUNK_BYTES``.
        softcap: Logits z become c * tanh(z / c), as in Gemma 2.
    """
    chunk = token_chunk or max(1, CHUNK_BYTES // (4 * head_weight.shape[0]))
    apply = cast("Callable[..., Tensor]", _TargetLogprobs.apply)
    return apply(hidden, head_weight, source_positions, target_ids, chunk, softcap)


class TargetHead(nn.Linear):
    """A language-model head that can return target log-probs instead of logits.

    The head multiplies inside its own ``forward`` because ZeRO-3 gathers a weight only around the forward and
    backward of the module that owns it.
    """

    logit_scale: float = 1.0
    """Factor on the logits, as in Granite and Cohere."""
    softcap: float | None = None
    """Logits z become c * tanh(z / c), as in Gemma 2; None leaves them as they are."""

    def forward(
        self,
        hidden: Float[Tensor, "*tokens hidden"],
        source_positions: Int64[Tensor, " targets"] | None = None,
        target_ids: Int64[Tensor, " targets"] | None = None,
    ) -> Float[Tensor, "*tokens words"] | Float[Tensor, " targets"]:
        """Logits of ``hidden``, or log-probs of the targets if targets are given."""
        if self.logit_scale != 1.0:
            hidden = hidden * self.logit_scale
        if source_positions is None or target_ids is None:
            logits = super().forward(hidden)
            return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap
        return target_logprobs(hidden, self.weight, source_positions, target_ids, softcap=self.softcap)


def install_head(model: nn.Module) -> None:
    """Turn ``model.lm_head`` into a ``TargetHead``. Its weight, name and hooks stay as they are.

    Raises:
        LwexpError: If the head is not a plain matrix, or the model has no ``model`` and ``lm_head``.
    """
    head: Any = getattr(model, "lm_head", None)
    body, name = getattr(model, "model", None), type(model).__name__
    if type(head) not in (nn.Linear, TargetHead) or not isinstance(body, nn.Module):
        raise LwexpError(f"model.path: {name} is not a decoder called model under a matrix called lm_head; {ELSE}")
    if getattr(head, "bias", None) is not None:
        raise LwexpError(f"model.path: {name} has a language-model head with a bias, which is not computed; {ELSE}")
    scale, softcap = logit_changes(model.config)
    # A new module would lose tied weights and ZeRO-3's hooks. A bound ``forward`` would create a reference cycle that
    # keeps the model in memory until the next garbage collection.
    head.__class__ = TargetHead
    if scale != 1.0:
        head.logit_scale = scale
    if softcap is not None:
        head.softcap = softcap


def logit_changes(config: Any) -> tuple[float, float | None]:
    """The factor and the softcap that an architecture puts on its logits after the head, from its config.

    If another key of the config changes the logits, the self-check (``admission``) refuses the architecture.
    """
    scale = float(getattr(config, "logit_scale", None) or 1.0)
    if divisor := getattr(config, "logits_scaling", None):
        scale /= float(divisor)
    softcap = getattr(config, "final_logit_softcapping", None)
    return scale, None if softcap is None else float(softcap)


def pack_logprobs(model: nn.Module, batch: PackBatch) -> Float[Tensor, " targets"]:
    """Log-probs of all target tokens of a pack under a model with packed attention and a ``TargetHead``."""
    body = cast(nn.Module, model.model)
    # use_cache must be off: with a cache, transformers would carry keys and values across documents.
    hidden = body(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        use_cache=False,
        lengths=batch.lengths,
        cu_seqlens=batch.cu_seqlens,
        max_length=batch.max_length,
    ).last_hidden_state
    head = cast(nn.Module, model.lm_head)
    return cast(Tensor, head(hidden[0], batch.source_positions, batch.target_ids))


class _TargetLogprobs(torch.autograd.Function):
    """Target log-probs with a custom backward pass. Unlike with torch.utils.checkpoint, the softmax normaliser is
    computed once, not twice, and logits and sums are not rounded to bf16 on the way.

    The forward pass iterates over chunks of tokens, because it needs whole rows of logits. The backward pass iterates
    over tiles of the vocabulary: the head's gradient for a tile is then one product over all tokens, and only the
    gradient of the hidden states is summed across tiles (0.5 GiB in float32 at 32k tokens). A backward pass over chunks
    of tokens would instead sum the gradient of the head (2.3 GiB for GLM-4), reading and writing all of it once per
    chunk.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Float[Tensor, "tokens hidden"],
        weight: Float[Tensor, "words hidden"],
        source_positions: Int64[Tensor, " targets"],
        target_ids: Int64[Tensor, " targets"],
        chunk: int,
        softcap: float | None,
    ) -> Float[Tensor, " targets"]:
        rows = hidden.index_select(0, source_positions)
        normalisers = rows.new_empty(rows.shape[0], dtype=_wide(rows.dtype))
        chosen = torch.empty_like(normalisers)
        for start in range(0, rows.shape[0], chunk):
            part = slice(start, start + chunk)
            logits = _capped(_wide_matmul(rows[part], weight.T), softcap)
            chosen[part] = logits.gather(1, target_ids[part, None])[:, 0]
            # This is logsumexp in place; torch's own function holds a second copy of the chunk.
            highest = logits.amax(dim=1)
            normalisers[part] = logits.sub_(highest[:, None]).exp_().sum(dim=1).log_().add_(highest)
        ctx.save_for_backward(rows, weight, source_positions, target_ids, normalisers)
        ctx.chunk, ctx.tokens, ctx.softcap = chunk, hidden.shape[0], softcap
        return chosen - normalisers

    @staticmethod
    def backward(ctx: Any, *grads: Float[Tensor, " targets"]) -> tuple[Tensor | None, ...]:
        rows, weight, source_positions, target_ids, normalisers = ctx.saved_tensors
        (grad,) = grads
        grad_rows = torch.zeros(rows.shape, dtype=_wide(rows.dtype), device=rows.device)
        # A frozen head (under an adapter) needs no gradient, which saves bVh bytes and a third of the products.
        grad_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        # This width gives as many logits at a time as in the forward pass.
        width = max(1, ctx.chunk * weight.shape[0] // max(1, rows.shape[0]))
        for start in range(0, weight.shape[0], width):
            words = weight[start : start + width]
            # d log p / d logits = one_hot(target) - softmax
            logits = _capped(_wide_matmul(rows, words.T), ctx.softcap)
            # d cap(z) / dz = 1 - (cap(z) / c)^2
            through_cap = None if ctx.softcap is None else 1 - (logits / ctx.softcap).square_()
            slopes = logits.sub_(normalisers[:, None]).exp_().mul_(-grad[:, None])
            column = target_ids - start
            is_here = (column >= 0) & (column < words.shape[0])
            column = column.clamp_(0, words.shape[0] - 1)
            slopes.scatter_add_(1, column[:, None], (grad * is_here)[:, None])
            if through_cap is not None:
                slopes.mul_(through_cap)
            slopes = slopes.to(rows.dtype)
            if grad_weight is not None:
                grad_weight[start : start + width] = _wide_matmul(slopes.T, rows)
            _add_product(grad_rows, slopes, words)
        grad_hidden = rows.new_zeros(ctx.tokens, rows.shape[1]).index_add_(
            0, source_positions, grad_rows.to(rows.dtype)
        )
        return grad_hidden, grad_weight, None, None, None, None


def _capped(logits: Tensor, softcap: float | None) -> Tensor:
    """c * tanh(z / c), in place."""
    return logits if softcap is None else logits.div_(softcap).tanh_().mul_(softcap)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _wide_matmul(left: Float[Tensor, "m k"], right: Float[Tensor, "k n"]) -> Float[Tensor, "m n"]:
    """A matrix product with a float32 result (float64 for float64 operands), whatever the operands' format."""
    if left.dtype in (torch.float32, torch.float64):
        return left @ right
    if left.is_cuda:  # bf16 operands on tensor cores with a float32 result: logits are not rounded to 8 bits
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()


def _add_product(total: Float[Tensor, "m n"], left: Float[Tensor, "m k"], right: Float[Tensor, "k n"]) -> None:
    """``total += left @ right``, summed in the wide type of ``total`` without copying ``total``."""
    if left.is_cuda and left.dtype in (torch.float16, torch.bfloat16):
        torch.addmm(total, left, right, out_dtype=torch.float32, out=total)
    else:
        total.addmm_(left.to(total.dtype), right.to(total.dtype))
