"""The length probe answers ruler prompts with the model in training. transformers' ``generate`` is the witness."""

import copy
from typing import Any

import pytest
import torch

from lwexp.benches.ruler import RulerBench
from lwexp.benches.select import load_bench
from lwexp.config import compose
from lwexp.extend.word_range import WordRange
from lwexp.pack.chat import chat_of
from lwexp.pack.tokenizer import train_tokenizer
from lwexp.recipe.probe import length_probe
from lwexp.text.words import count_words
from tests.tiny_llama import tiny_llama

TEXTS = ["Write 50 words about tea.", "Tea is warm and green.", "The harbour is cold. Boats leave early."]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(TEXTS, 300, "llama31")


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Any:
    return tiny_llama(len(tokenizer), head_dim=16, positions=512).double().eval()


def probe(**changes: Any) -> Any:
    keys = {"every_steps": 1, "required_words": "[100,50]", "topics": 2, "max_new_tokens": 24} | changes
    return length_probe(
        compose("experiment=smoke", "sample.temperature=0", *(f"training.probe.{k}={v}" for k, v in keys.items()))
    )


def test_without_a_step_there_is_no_probe() -> None:
    assert length_probe(compose("experiment=smoke")) is None


def test_its_rows_are_what_generate_writes(model: Any, tokenizer: Any) -> None:
    bench = RulerBench(
        name="probe", version="1", required_words=(100, 50), topics=2, languages=("en",), counter="longwriter",
        ranges=(WordRange(low=0, high=10**9, closed=True),),
    )  # fmt: skip
    wanted = []
    for prompt in load_bench(bench):
        message = [{"role": "user", "content": prompt.text}]
        text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        tokens = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        written = model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=24, do_sample=False)[
            0, tokens.shape[1] :
        ]
        answer = tokenizer.decode(written, skip_special_tokens=True)
        wanted.append(
            {"prompt": prompt.id, "requested": prompt.required_words, "produced": count_words(answer), "ended": False}
        )
    rows = probe()(model, tokenizer)
    assert rows == sorted(wanted, key=lambda row: (row["requested"], row["prompt"]))
    assert [row["requested"] for row in rows] == [50, 50, 100, 100]
    assert len({row["produced"] for row in rows}) > 1


def test_an_answer_keeps_to_the_limit_of_tokens_and_the_model_s_positions(model: Any, tokenizer: Any) -> None:
    """600 tokens do not fit into 512 positions beside the prompt, and are cut to what does."""
    short, longest = probe(max_new_tokens=1)(model, tokenizer), probe(max_new_tokens=600)(model, tokenizer)
    assert all(row["produced"] <= 1 for row in short)
    assert sum(row["produced"] for row in longest) > sum(row["produced"] for row in probe()(model, tokenizer))


def test_an_answer_that_ends_by_itself_says_so(model: Any, tokenizer: Any) -> None:
    stops = copy.deepcopy(model)
    stops.lm_head = torch.nn.Linear(32, len(tokenizer), dtype=torch.float64)
    with torch.no_grad():
        stops.lm_head.weight.zero_()
        stops.lm_head.bias.zero_()[chat_of(tokenizer).stop_ids(tokenizer)[0]] = 1
    assert {(row["produced"], row["ended"]) for row in probe()(stops, tokenizer)} == {(0, True)}
