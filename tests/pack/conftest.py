"""Small tokenizers with the special tokens of the real ones."""

from __future__ import annotations

import pytest

from lwexp.pack.tokenizer import train_tokenizer
from tests.pack.pack_rows import TEXT


@pytest.fixture(scope="session")
def glm4():
    return train_tokenizer(TEXT, 400, "glm4")


@pytest.fixture(scope="session")
def llama31():
    return train_tokenizer(TEXT, 400, "llama31")


@pytest.fixture(scope="session")
def longwriter_llama():
    return train_tokenizer(TEXT, 400, "longwriter_llama")


@pytest.fixture(scope="session")
def chatml():
    return train_tokenizer(TEXT, 400, "chatml")


@pytest.fixture(params=["glm4", "llama31", "longwriter_llama", "chatml"])
def tokenizer(request):
    return request.getfixturevalue(request.param)
