"""A LoRA adapter merged into ordinary weights, one matrix at a time, while they are written."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from lwexp.config.train import ModelConfig
from lwexp.train.model.adapter import ADAPTER

_WHAT_IT_IS = {"device", "dtype", "shape", "layout", "is_meta", "requires_grad", "names"}
"""Attributes of a tensor that do not depend on its numbers."""
_WITHOUT_ITS_NUMBERS = {
    Tensor.untyped_storage, Tensor.data_ptr, Tensor.size, Tensor.dim, Tensor.numel, Tensor.nelement,
    Tensor.element_size, Tensor.stride, Tensor.storage_offset, Tensor.is_contiguous,
}  # fmt: skip


class Unmerged(Tensor):
    """A weight with its adapter beside it: W + scale B A is computed when its numbers are used, and is not kept.

    It has W's shape, number format and storage, from which transformers decides what goes into which file. Whatever
    else is done with it, such as ``contiguous()`` before it is written, is done with the merged weight.
    """

    _merge: Callable[[], Tensor]
    _say_used: Callable[[], None]

    @classmethod
    def of(cls, weight: Tensor, merge: Callable[[], Tensor], say_used: Callable[[], None]) -> "Unmerged":
        """This weight, whose numbers ``merge`` computes. ``say_used`` is called before that."""
        made: Unmerged = Tensor._make_subclass(cls, weight.detach())
        made._merge, made._say_used = merge, say_used
        return made

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(getattr(func, "__self__", None), "__name__", "")  # of an attribute
        with torch._C.DisableTorchFunctionSubclass():
            if func in _WITHOUT_ITS_NUMBERS or (name in _WHAT_IT_IS and func.__name__ == "__get__"):
                return func(*args, **(kwargs or {}))
            args, kwargs = tree_map(_merged, (args, kwargs or {}))
            return func(*args, **kwargs)


def _merged(value: Any) -> Any:
    if not isinstance(value, Unmerged):
        return value
    value._say_used()
    return value._merge()


class MergedState(dict[str, Tensor]):
    """Ordinary weights by name, some of them ``Unmerged``."""

    def __init__(self) -> None:
        super().__init__()
        self.unused: set[str] = set()
        """Names of the adapted weights whose numbers have not been used: writing the state must leave none."""


def merged_state(state: dict[str, Tensor], config: ModelConfig) -> MergedState:
    """Ordinary weights: W + (alpha / r) B A for each adapted matrix, and the others as they are.

    The sum is computed in float32 (float64 for float64 weights) and rounded once, when the weight is used: until then
    it takes no memory. The function works on names and tensors, because under ZeRO-3 the whole weights exist only in a
    gathered state, not in a model that peft could merge. Tests compare the result with peft's ``merge_and_unload``.

    Args:
        state: Emptied, so that a weight is freed as soon as it has been written.
        config: Gives the scale.
    """
    scale = config.lora.alpha / config.lora.r
    adapter = {name: state.pop(name) for name in list(state) if ".lora_" in name}
    found = MergedState()
    for name in list(state):
        weight, plain = state.pop(name), name.replace(".base_layer.", ".")
        if plain != name and name.endswith(".weight"):
            start = name.removesuffix(".base_layer.weight")
            down, up = (adapter[f"{start}.lora_{part}.{ADAPTER}.weight"] for part in "AB")
            found.unused.add(plain)
            merge = partial(_merge, weight, down, up, scale)
            weight = Unmerged.of(weight, merge, partial(found.unused.discard, plain))
        found[plain] = weight
    return found


def _merge(weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
    total = up.to(wide) @ down.to(wide)
    total *= scale
    total += weight
    return total.to(weight.dtype).to("cpu")
