"""How many answers fit into memory side by side."""

import logging
from typing import Any

import psutil
import torch

# Of the free memory, for keys and values: the rest is for logits and attention's work space. A cache that grows is
# copied, so for a moment it is there twice.
_SHARE = 0.45

log = logging.getLogger(__name__)


def bytes_a_token(model: Any) -> int:
    """Bytes that keys and values of one position take in all layers.

    GLM-4-9B in bf16: 40 layers x 2 x 2 heads x 128 x 2 bytes = 40,960. Llama-3.1-8B: 32 x 2 x 8 x 128 x 2 = 131,072.
    """
    config = model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(config.num_hidden_layers * 2 * heads * head * next(model.parameters()).element_size())


def fitting_batch_size(model: Any, tokens: int, *, at_most: int) -> int:
    """Answers to decode at once, from the memory that is free now; at least 1.

    Args:
        model: On its device.
        tokens: Positions of the longest prompt with the longest answer that is expected.
        at_most: ``sample.batch_size``.
    """
    device = next(model.parameters()).device
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    each = bytes_a_token(model) * tokens
    slots = max(1, min(at_most, int(free * _SHARE / each)))
    if slots < at_most:
        log.info(
            "%d answers at a time instead of %d: %.1f GiB are free, and one of %d tokens takes %.2f GiB",
            slots, at_most, free / 2**30, tokens, each / 2**30,
        )  # fmt: skip
    return slots
