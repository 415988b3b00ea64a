"""Two models small enough to decode hundreds of tokens a second, with a real tokenizer."""

from pathlib import Path

import pytest
import torch
from transformers import GlmConfig, GlmForCausalLM, LlamaConfig, LlamaForCausalLM

from lwexp.pack.tokenizer import save_tokenizer, train_tokenizer

SHAPE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512, "initializer_range": 0.3,
}  # fmt: skip
TEXTS = ["Write about tea and rivers in ten words.", "Hello there, old maps.", "请写一篇关于茶的文章。", "你好，河流。"]


def _export(folder: Path, chat: str, config: type, model: type) -> Path:
    """Random weights with a wide spread, so that every step has a clear winner and answers differ."""
    tokenizer = train_tokenizer(TEXTS, 300, chat)
    torch.manual_seed(0)
    special = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": None}
    made = model(config(vocab_size=len(tokenizer), **SHAPE, **special))
    made.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Matrices this small decode 30 times slower when two threads wait for each other on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def glm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _export(tmp_path_factory.mktemp("glm"), "glm4", GlmConfig, GlmForCausalLM)


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _export(tmp_path_factory.mktemp("llama"), "llama31", LlamaConfig, LlamaForCausalLM)
