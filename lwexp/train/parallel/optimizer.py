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


def build_optimizer(
    model: nn.Module, config: OptimizerConfig, moments: Literal["float32", "bf16"] = "float32"
) -> Optimizer:
    """AdamW for a model in float32 or float64, ``MasterAdamW`` with ``moments`` of that format for one in bf16."""
    groups = decay_groups(trained_parameters(model), config.weight_decay)
    if any(parameter.dtype == torch.bfloat16 for parameter in model.parameters()):
        return MasterAdamW(groups, lr=config.lr, betas=config.betas, moments=moments)
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


def round_to_bf16(values: Float[Tensor, "*n"], generator: torch.Generator) -> Tensor:
    """Round float32 values up or down to bf16 at random, so that the expected result is the value. Changes ``values``.

    Rounding to the nearest would freeze a moment: with beta2 = 0.999 a step changes it by at most 0.1%, less than half
    of the distance between two bf16 numbers.
    """
    # A bf16 number is the upper half of a float32. A random lower half carries into it as often as it should.
    noise = torch.randint(0, 2**16, values.shape, generator=generator, dtype=torch.int32, device=values.device)
    values.view(torch.int32).add_(noise).bitwise_and_(-(2**16))
    return values.bfloat16()


class MasterAdamW(Optimizer):
    """AdamW on float32 copies of bf16 weights.

    At lr 1e-5 an update is far below the last bit of a bf16 weight (2**-8 of its size), so AdamW on the bf16 weights
    themselves would leave most of them unchanged.

    Args:
        params: Parameter groups, as ``decay_groups`` makes them.
        lr: Learning rate of the first step.
        betas: Decay of the two moments in each step.
        eps: Added to the root of the second moment.
        weight_decay: For groups that do not set their own.
        moments: Format in which the two moments are kept between steps; the update is computed in float32.
            Source: DeepSeek-V3 (arXiv 2412.19437, section 3.3.2) trains with float32 masters and bf16 moments.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float],
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        moments: Literal["float32", "bf16"] = "float32",
    ) -> None:
        self._moments = torch.bfloat16 if moments == "bf16" else torch.float32
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the masters and round them into the weights, one weight at a time to keep the memory peak low."""
        loss = closure() if closure is not None else None
        number = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group, number)
                number += 1
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any], number: int) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["master"] = parameter.detach().float().clone()
            state["mean"] = torch.zeros_like(parameter, dtype=self._moments)
            state["square"] = torch.zeros_like(parameter, dtype=self._moments)
        state["step"] += 1
        first, second = group["betas"]
        assert parameter.grad is not None
        gradient = parameter.grad.float()
        mean = state["mean"].float().lerp_(gradient, 1 - first)  # float() copies only moments in bf16
        square = state["square"].float().mul_(second).addcmul_(gradient, gradient, value=1 - second)
        del gradient
        size = square.sqrt().div_(math.sqrt(1 - second ** state["step"])).add_(group["eps"])
        state["master"].mul_(1 - group["lr"] * group["weight_decay"])
        state["master"].addcdiv_(mean, size, value=-group["lr"] / (1 - first ** state["step"]))
        parameter.copy_(state["master"])
        if self._moments == torch.bfloat16:
            del size
            # Seeded by the step and the weight, so that a resumed run rounds the same way and no state has to be saved.
            generator = torch.Generator(parameter.device).manual_seed(state["step"] * 1_000_003 + number)
            state["mean"].copy_(round_to_bf16(mean, generator))
            state["square"].copy_(round_to_bf16(square, generator))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state in its own formats. torch's own method would round the masters to the weights' bf16."""
        exact = {key: dict(values) for key, values in state_dict["state"].items()}
        super().load_state_dict(state_dict)
        saved = [index for group in state_dict["param_groups"] for index in group["params"]]
        mine = [parameter for group in self.param_groups for parameter in group["params"]]
        for index, parameter in zip(saved, mine, strict=True):
            for key, value in exact.get(index, {}).items():
                self.state[parameter][key] = value.to(parameter.device) if isinstance(value, Tensor) else value
