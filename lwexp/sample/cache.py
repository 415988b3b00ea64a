"""Keys and values of the answers being written, one slot for each answer.

Each slot starts at position 0, so no answer is padded on the left or depends on the length of the other prompts.
transformers' own cache concatenates tensors at every token, which copies all earlier ones: for 128 rows of 600 tokens
of a 1M-parameter model on one core, it takes 40 ms a token, this cache 17.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

_SPARE = 256  # positions reserved ahead, at least

KeysOrValues = Float[Tensor, "slots kv_heads positions head_dim"]
OneToken = Float[Tensor, "slots kv_heads 1 head_dim"]


class SlotCache(Cache):  # type: ignore[misc]
    """Slots 0 to ``len(lengths) - 1`` are in use; the model reads and writes these."""

    def __init__(self, slots: int) -> None:
        super().__init__(layer_class_to_replicate=_SlotLayer)
        self.slots = slots
        self.lengths: list[int] = []

    def admit(self, prefill: Cache, lengths: list[int]) -> None:
        """Copy prompts into free slots; row i of ``prefill`` is filled up to ``lengths[i]``."""
        first = len(self.lengths)
        self.lengths += lengths
        assert len(self.lengths) <= self.slots
        while len(self.layers) < len(prefill.layers):
            self.layers.append(_SlotLayer())
        for layer, filled in zip(self.layers, prefill.layers, strict=True):
            layer.reserve(self.slots, filled.keys, max(self.lengths) + 1)
            rows, width = slice(first, len(self.lengths)), filled.keys.shape[2]
            layer.all_keys[rows, :, :width] = filled.keys
            layer.all_values[rows, :, :width] = filled.values

    def free(self, slot: int) -> None:
        """Release a slot; the last slot moves into its place."""
        last = len(self.lengths) - 1
        if slot != last:
            for layer in self.layers:
                layer.all_keys[slot] = layer.all_keys[last]
                layer.all_values[slot] = layer.all_values[last]
            self.lengths[slot] = self.lengths[last]
        del self.lengths[last]

    def extend(self) -> tuple[Int64[Tensor, "slots 1"], Bool[Tensor, "slots 1 1 positions"]]:
        """Reserve the position of one more token in every slot.

        Returns:
            The position in each slot, and True where that token may attend.
        """
        device = self.layers[0].all_keys.device
        positions = torch.tensor(self.lengths, device=device)
        self.lengths = [length + 1 for length in self.lengths]
        width = max(self.lengths)
        for layer in self.layers:
            layer.reserve(self.slots, layer.all_keys, width)
            layer.positions, layer.width = positions, width
        visible = torch.arange(width, device=device) <= positions[:, None]
        return positions[:, None], visible[:, None, None, :]


class _SlotLayer(DynamicLayer):  # type: ignore[misc]
    """The keys and values of one layer: all that is reserved, and a view of the part in use."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.all_keys: KeysOrValues = torch.empty(0, 0, 0, 0)
        self.all_values: KeysOrValues = torch.empty(0, 0, 0, 0)
        self.positions: Int64[Tensor, " slots"] = torch.empty(0, dtype=torch.long)
        self.width = 0

    def reserve(self, slots: int, like: KeysOrValues, width: int) -> None:
        """Make room for at least ``width`` positions. Grows by a quarter, so that copying stays rare."""
        held = self.all_keys.shape[2]
        if width <= held:
            return
        shape = (slots, like.shape[1], width + max(_SPARE, width // 4), like.shape[3])
        for name in ("all_keys", "all_values"):
            # Zeros, because a hidden position takes part with weight 0, and 0 times garbage can be NaN.
            grown = like.new_zeros(shape)
            if held:
                grown[:, :, :held] = getattr(self, name)
            setattr(self, name, grown)

    def update(
        self, key_states: OneToken, value_states: OneToken, *_: Any, **__: Any
    ) -> tuple[KeysOrValues, KeysOrValues]:
        """Write one token per slot, and return all keys and values in use (transformers calls this in every layer)."""
        rows = torch.arange(len(self.positions), device=self.positions.device)
        self.all_keys[rows, :, self.positions] = key_states[:, :, 0]
        self.all_values[rows, :, self.positions] = value_states[:, :, 0]
        in_use = len(self.positions)
        return self.all_keys[:in_use, :, : self.width], self.all_values[:in_use, :, : self.width]

    def get_seq_length(self) -> int:
        """Positions in use in the longest slot."""
        return self.width
