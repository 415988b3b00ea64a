"""Windows, softcaps and factors on logits while decoding, against transformers' own ``generate``."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lwexp.records import LwexpError
from lwexp.sample.decode import Decoder, DecodeRequest, decode
from tests.sample.test_sample_decode import sampling

SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 128, "initializer_range": 0.3,
    "tie_word_embeddings": False, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
MIXED = ["sliding_attention", "full_attention"]
MODELS: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": 5},
    "gemma2": {
        "head_dim": 8, "layer_types": MIXED, "sliding_window": 5, "attn_logit_softcapping": 0.5,
        "final_logit_softcapping": 2.0,
    },
    "gemma3_text": {"head_dim": 8, "layer_types": MIXED, "sliding_window": 5},
    "cohere2": {"head_dim": 8, "layer_types": MIXED, "sliding_window": 5, "logit_scale": 0.25},
    "granite": {"logits_scaling": 4.0, "attention_multiplier": 0.2},
}  # fmt: skip
PROMPTS = [[(7 * n + k) % 250 + 10 for k in range(length)] for n, length in enumerate((3, 19, 8))]


def model_of(name: str, attention: str = "eager", **options: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **{**SIZES, **MODELS.get(name, {}), **options})
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float64).eval()


def answers(model: Any) -> list[list[int]]:
    """Two at a time, so that prompts shorter and longer than the window share a batch; 12 tokens each."""
    questions = [DecodeRequest(f"q{n}", tokens, seed="") for n, tokens in enumerate(PROMPTS)]
    done = {made.id: made.tokens for made in decode(model, questions, sampling(max_new_tokens=12, batch_size=2), ())}
    return [done[question.id] for question in questions]


@pytest.mark.parametrize("name", MODELS)
def test_greedy_answers_past_the_window_equal_those_of_generate(name: str) -> None:
    model = model_of(name)
    theirs = [
        model.generate(
            torch.tensor([tokens]), attention_mask=torch.ones(1, len(tokens), dtype=torch.long), do_sample=False,
            max_new_tokens=12, pad_token_id=0,
        )[0, len(tokens) :].tolist()
        for tokens in PROMPTS
    ]  # fmt: skip
    ours = answers(model)
    assert ours == theirs
    assert model.config._attn_implementation == "eager"  # given back
    if "sliding_window" in MODELS[name]:  # negative control: the window matters for these prompts
        assert answers(model_of(name, sliding_window=128)) != ours


def test_a_decoder_used_on_its_own_honours_the_window_too() -> None:
    """As ``lwexp serve`` and ``lwexp chat`` use it."""
    made = {}
    for window in (5, 128):
        model = model_of("mistral", sliding_window=window)
        decoder = Decoder(model, 1, ())
        decoder.admit([DecodeRequest("q", PROMPTS[1], seed="")], sampling(max_new_tokens=12, batch_size=1))
        tokens = []
        while decoder.is_busy:
            tokens += [step.token for step in decoder.choose()]
            decoder.advance()
        made[window] = tokens
    assert made[5] == answers(model_of("mistral"))[1]
    assert made[5] != made[128]


def test_logits_keep_the_factor_and_the_softcap_of_the_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedy answers hide a factor. The reference is transformers' forward pass, whose softmax is in float32."""
    from lwexp.sample.choose import choose_tokens

    for name in ("granite", "cohere2", "gemma2"):
        seen: list[Any] = []

        def choose(logits: Any, *rest: Any, seen: list[Any] = seen, **options: Any) -> Any:
            seen.append(logits.clone())
            return choose_tokens(logits, *rest, **options)

        model = model_of(name)
        with monkeypatch.context() as patch:
            patch.setattr("lwexp.sample.decode.choose_tokens", choose)
            (made,) = decode(model, [DecodeRequest("q", PROMPTS[1], seed="")], sampling(max_new_tokens=3), ())
        with torch.no_grad():
            whole = model(input_ids=torch.tensor([PROMPTS[1] + made.tokens])).logits[0]
        for step, logits in enumerate(seen):
            torch.testing.assert_close(logits[0], whole[len(PROMPTS[1]) - 1 + step], rtol=0, atol=1e-6)


def test_attention_that_is_not_computed_here_is_refused() -> None:
    model = model_of("gpt_oss", head_dim=8, num_local_experts=2, num_experts_per_tok=1)
    with pytest.raises(LwexpError, match=r"GptOssAttention asks for s_aux, .* serve the model with vLLM"):
        answers(model)
    model = model_of("llama")
    model.config.layer_types = ["chunked_attention", "full_attention"]
    with pytest.raises(LwexpError, match="has layers of chunked_attention"):
        answers(model)


@pytest.mark.parametrize(("kind", "is_refused"), [("dynamic", True), ("linear", False)])
def test_rotary_frequencies_that_depend_on_the_batch_are_refused(kind: str, is_refused: bool) -> None:
    """dynamic stretches all slots when the longest passes the context; linear, the control, never does."""
    rotary = {"rope_type": kind, "factor": 4.0, "rope_theta": 1e4}
    model = model_of("llama", rope_parameters=rotary, max_position_embeddings=128)
    if not is_refused:
        assert len(answers(model)) == len(PROMPTS)
        return
    with pytest.raises(LwexpError, match=r"rotary frequencies \(dynamic\) .* serve it with vLLM"):
        answers(model)
