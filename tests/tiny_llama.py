"""A random Llama for tests that compare greedy answers with those of transformers."""

from typing import Any

import torch


def tiny_llama(vocabulary: int, *, head_dim: int, positions: int) -> Any:
    """Two layers of two heads, whose weights have a wide spread, so that no greedy choice is a near tie."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=2 * head_dim, intermediate_size=4 * head_dim, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=head_dim, max_position_embeddings=positions,
        initializer_range=0.3, pad_token_id=0, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(config)
