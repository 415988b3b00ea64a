"""AdamW for whole models: which weights decay, the learning rate of each step, and float32 masters for bf16."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from lwexp.config.train import Optimizer as OptimizerConfig
from lwexp.train.model.adapter import trained_parameters


def learning_rate_factor(step: int, total: int, warmup_ratio: float, schedule: Literal["cosine", "constant"]) -> float:
    """Fraction of the peak learning rate at optimiser step ``step`` (0-based) of ``total``.

    The rate rises linearly over ``ceil(warmup_ratio * total)`` steps, then stays constant or follows half a cosine.
    Unlike in transformers' schedules, the rate of the first step is not 0, so no step is wasted, and the cosine ends
    just above 0.

    Example: total 10, ratio 0.2, cosine: 1/2, 1, 1.0, 0.96, 0.85, 0.69, 0.5, 0.31, 0.15, 0.04.
    """
    warmup = math.ceil(warmup_ratio * total)
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def decay_groups(parameters: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups of the optimiser: matrices decay, biases and norm weights do not. Empty groups are left out.

    The groups are chosen by name and not by number of dimensions, because ZeRO-3 flattens every parameter to one.

    Source: the paper's code gives only the rate (train/scripts: 0.1). The rule is that of the transformers Trainer, on
    which that code runs.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in parameters:
        (plain if name.endswith("bias") or "norm" in name else decayed).append(parameter)
    groups = ((decayed, weight_decay), (plain, 0.0))
    return [{"params": params, "weight_decay": decay} for params, decay in groups if params]


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """AdamW for a model in float32 or float64, ``MasterAdamW`` for one in bf16."""
    groups = decay_groups(trained_parameters(model), config.weight_decay)
    if any(parameter.dtype == torch.bfloat16 for parameter in model.parameters()):
        return MasterAdamW(groups, lr=config.lr, betas=config.betas)
    # fused makes one pass over memory: 0.75 ms instead of 4 ms per step for a million parameters on two cores.
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
    """Norm of all gradients together; 0 if there are none.

    For bf16 gradients it is computed in float32, because a norm in bf16 is off by up to 0.4%.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    dtype = torch.float32 if gradients[0].dtype == torch.bfloat16 else None
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, 2, dtype)))
    return norm


def scale_gradients(parameters: Iterable[nn.Parameter], factor: float) -> None:
    """Multiply all gradients by ``factor``, a Python number: a tensor would be rounded to the gradients' format."""
    torch._foreach_mul_([parameter.grad for parameter in parameters if parameter.grad is not None], factor)


class MasterAdamW(Optimizer):
    """AdamW on float32 copies of bf16 weights.

    At lr 1e-5 an update is far below the last bit of a bf16 weight (2**-8 of its size), so AdamW on the bf16 weights
    themselves would leave most of them unchanged.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float],
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the masters and round them into the weights, one weight at a time to keep the memory peak low."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["master"] = parameter.detach().float().clone()
            state["mean"] = torch.zeros_like(state["master"])
            state["square"] = torch.zeros_like(state["master"])
        state["step"] += 1
        first, second = group["betas"]
        assert parameter.grad is not None
        gradient = parameter.grad.float()
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        size = state["square"].sqrt().div_(math.sqrt(1 - second ** state["step"])).add_(group["eps"])
        state["master"].mul_(1 - group["lr"] * group["weight_decay"])
        state["master"].addcdiv_(state["mean"], size, value=-group["lr"] / (1 - first ** state["step"]))
        parameter.copy_(state["master"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state in float32. torch's own method would round masters and moments to the weights' bf16."""
        exact = {key: dict(values) for key, values in state_dict["state"].items()}
        super().load_state_dict(state_dict)
        saved = [index for group in state_dict["param_groups"] for index in group["params"]]
        mine = [parameter for group in self.param_groups for parameter in group["params"]]
        for index, parameter in zip(saved, mine, strict=True):
            for key, value in exact.get(index, {}).items():
                self.state[parameter][key] = value.to(parameter.device) if isinstance(value, Tensor) else value
