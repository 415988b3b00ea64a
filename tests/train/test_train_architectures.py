"""A pack under ``model=hf`` is its documents under transformers alone; other architectures are refused."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from lwexp.config.compose import compose
from lwexp.records import LwexpError
from lwexp.train.model import admission, attention
from lwexp.train.model.admission import admission_problem
from lwexp.train.model.attention import register_attention
from lwexp.train.model.attention_paths import in_blocks
from lwexp.train.model.build import restore_rotary, rotaries
from lwexp.train.model.dimensions import model_sizes
from lwexp.train.model.logprobs import install_head, pack_logprobs
from lwexp.train.planner.readiness import architecture_problem
from tests.train.tiny_packs import make_documents, make_pack

DOCUMENTS = make_documents(1, [9, 23, 4, 14])
SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 64, "pad_token_id": None,
    "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
MIXED = ["sliding_attention", "full_attention"]
WINDOWS = (5, 64)  # documents have 4 to 23 tokens, so one window cuts some and the other none

PLAIN: dict[str, dict[str, Any]] = {
    "llama": {}, "qwen2": {}, "qwen3": {"head_dim": 12}, "glm": {"head_dim": 8}, "glm4": {"head_dim": 8},
    "smollm3": {"no_rope_layers": [1, 0]}, "olmo2": {},
    "granite": {"logits_scaling": 4.0, "attention_multiplier": 0.2, "embedding_multiplier": 3.0},
}  # fmt: skip
WINDOWED: dict[str, dict[str, Any]] = {
    "mistral": {},
    "phi3": {},
    "qwen2": {"use_sliding_window": True, "layer_types": MIXED},
    "gemma2": {
        "head_dim": 8, "layer_types": MIXED, "attn_logit_softcapping": 0.5, "final_logit_softcapping": 2.0,
        "query_pre_attn_scalar": 8,
    },
    "gemma3_text": {"head_dim": 8, "layer_types": MIXED, "query_pre_attn_scalar": 8},
    "cohere2": {"head_dim": 8, "layer_types": MIXED, "logit_scale": 0.25},
    "olmo3": {"layer_types": MIXED},
}  # fmt: skip
CASES = list(PLAIN.items()) + [
    (name, {**options, "sliding_window": window}) for name, options in WINDOWED.items() for window in WINDOWS
]
IDS = [f"{name}-{options.get('sliding_window', 'all')}" for name, options in CASES]


def tiny_config(name: str, **options: Any) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(name, **{**SIZES, **options})


def both(config: Any) -> tuple[Any, Any]:
    """The same random weights under transformers' eager attention and under packed attention."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    options = {"dtype": torch.float32}
    theirs = AutoModelForCausalLM.from_config(config, attn_implementation="eager", **options)
    for weight in theirs.parameters():  # fresh norms, biases and heads say too little
        torch.nn.init.normal_(weight.data, mean=float(weight.dim() == 1), std=0.2)
    ours = AutoModelForCausalLM.from_config(
        copy.deepcopy(config), attn_implementation=register_attention("per_document"), **options
    )
    ours.load_state_dict(theirs.state_dict())
    install_head(ours)
    return theirs, ours


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_a_pack_gives_the_logits_losses_and_gradients_of_its_documents_alone(
    name: str, options: dict[str, Any]
) -> None:
    """In float32, to 1e-5 of the largest value. Losses are sums of -log p over the targets of all documents."""
    theirs, ours = both(tiny_config(name, **options))
    pack = make_pack(DOCUMENTS)
    logits, expected = [], []
    for document in DOCUMENTS:
        ids = torch.tensor([document.ids])
        logits.append(theirs(input_ids=ids, use_cache=False).logits[0])
        chosen = logits[-1].log_softmax(-1)[document.prompt - 1 : -1]
        expected.append(chosen.gather(1, ids[0, document.prompt :, None])[:, 0])
    hidden = ours.model(
        input_ids=pack.input_ids, position_ids=pack.position_ids, use_cache=False, lengths=pack.lengths
    ).last_hidden_state[0]
    close(ours.lm_head(hidden), torch.cat(logits))
    got = pack_logprobs(ours, pack)
    close(got, torch.cat(expected))
    got.sum().neg().backward()
    torch.cat(expected).sum().neg().backward()
    for (place, mine), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert mine.grad is not None, place
        close(mine.grad, other.grad, place)


def close(got: torch.Tensor, wanted: torch.Tensor | None, place: str = "") -> None:
    assert wanted is not None
    limit = 1e-5 * max(1.0, float(wanted.detach().abs().max()))
    assert float((got - wanted).detach().abs().max()) <= limit, place


@pytest.mark.parametrize("window", [1, 3, 7, 40])
def test_a_window_in_blocks_is_a_window_in_one_mask(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 5 over 23 tokens; the reference writes out the band, i - window < j <= i."""
    monkeypatch.setattr("lwexp.train.model.attention_paths.QUERY_BLOCK", 5)
    torch.manual_seed(1)
    q, k, v = (torch.randn(1, 2, 23, 8, dtype=torch.float64) for _ in range(3))
    band = torch.tensor([[i - window < j <= i for j in range(23)] for i in range(23)])
    for softcap in (None, 0.7):
        scores = q @ k.transpose(2, 3) * 0.3
        scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
        wanted = scores.masked_fill(~band, float("-inf")).softmax(-1) @ v
        got = in_blocks(q, k, v, 0.3, window=window, softcap=softcap)
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


def test_frequencies_of_each_type_of_layer_are_restored_after_a_cast() -> None:
    """Gemma 3 has two sets; rounding to bf16 is what DeepSpeed does to them."""
    _, model = both(tiny_config("gemma3_text", head_dim=8, layer_types=MIXED))
    (rotary,) = rotaries(model)
    names = ["full_attention_inv_freq", "sliding_attention_inv_freq"]
    exact = {name: getattr(rotary, name).clone() for name in names}
    model.to(torch.bfloat16)
    assert all(getattr(rotary, name).dtype == torch.bfloat16 for name in names)
    restore_rotary(model)
    for name in names:
        torch.testing.assert_close(getattr(rotary, name), exact[name], rtol=0, atol=0)


REFUSED = {
    "attention sinks in a mixture of experts": ("gpt_oss", {"head_dim": 8, "num_local_experts": 4}, "mixture of exp"),
    "a mixture of experts": ("qwen3_moe", {"num_experts": 4, "head_dim": 8}, "qwen3_moe is a mixture of experts"),
    "experts as Mixtral names them": ("mixtral", {"num_local_experts": 4}, "mixtral is a mixture of experts"),
    "experts as DeepSeek and GLM name them": (
        "glm4_moe",
        {"n_routed_experts": 4, "first_k_dense_replace": 1},
        "glm4_moe is a mixture of exp",
    ),
    "experts as Ernie names them": ("ernie4_5_moe", {"moe_num_experts": 4}, "ernie4_5_moe is a mixture of experts"),
    "experts of another kind of layer": ("granitemoe", {"num_local_experts": 4}, "granitemoe is a mixture of experts"),
    "images": ("gemma3", {}, "gemma3 also reads images or sound"),
    "a head with bias": ("phi", {}, "PhiForCausalLM has a language-model head with a bias"),
    "another layout": ("gpt2", {"n_embd": 32, "n_head": 4, "n_layer": 2}, "GPT2LMHeadModel is not a decoder"),
    "recurrence in place of attention": ("mamba", {"state_size": 4}, "mamba|Mamba"),
    "a factor on the logits": ("hyperclovax", {"logits_scaling": 0.5}, "log-probs differ by"),
}


@pytest.mark.parametrize(("name", "options", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_honoured_is_refused_in_one_line(name: str, options: dict[str, Any], said: str) -> None:
    problem = admission_problem(tiny_config(name, **options).to_dict())
    assert problem is not None
    assert re.search(said, problem), problem
    assert "\n" not in problem


def test_a_key_about_experts_alone_is_no_mixture_of_experts() -> None:
    """Negative control: the modules decide. Doge has the key in its dense models too."""
    config = tiny_config("llama", num_experts=8, moe_intermediate_size=16)
    assert config.num_experts == 8
    assert not admission.has_experts(config)
    assert admission.has_experts(tiny_config("qwen3_moe", num_experts=4, head_dim=8))


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_the_self_check_admits_what_packs_compute(name: str, options: dict[str, Any]) -> None:
    assert admission_problem(tiny_config(name, **options).to_dict()) is None


def test_the_self_check_finds_a_window_and_a_softcap_that_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: an attention that forgets them, on configs whose window is far above the check's documents."""
    honest = attention.packed_attention

    def forgetful(*arguments: Any, sliding_window: Any = None, softcap: Any = None, **more: Any) -> Any:
        return honest(*arguments, **more)

    monkeypatch.setattr(attention, "packed_attention", forgetful)
    admission._checked.cache_clear()
    for name, options in (("mistral", {"sliding_window": 64}), ("gemma2", WINDOWED["gemma2"])):
        problem = admission_problem(tiny_config(name, **options).to_dict())
        assert problem is not None
        assert "computes something that packs do not: log-probs differ by" in problem
    admission._checked.cache_clear()


@pytest.mark.parametrize("name", ["qwen3", "gemma3_text", "glm4", "phi3", "mistral"])
def test_sizes_of_a_folder_are_counted_from_its_architecture(name: str, tmp_path: Path) -> None:
    """Norms, biases and joined matrices included: the parameters that transformers builds."""
    from transformers import AutoModelForCausalLM

    config = tiny_config(name, head_dim=8, tie_word_embeddings=True)
    config.save_pretrained(tmp_path)
    model = compose("model=hf", f"model.path={tmp_path}", "hardware=cpu").model
    sizes = model_sizes(model)
    built = AutoModelForCausalLM.from_config(config)
    assert sizes.parameters == sum(weight.numel() for weight in built.parameters())
    assert (sizes.max_position_embeddings, sizes.tied) == (64, True)


def test_a_folder_is_read_and_refused_before_a_run(tmp_path: Path) -> None:
    for name in ("qwen3", "qwen3_moe"):
        tiny_config(name, head_dim=8, **({"num_experts": 4} if "moe" in name else {})).save_pretrained(tmp_path / name)
    good = compose("model=hf", f"model.path={tmp_path}/qwen3", "hardware=cpu").model
    assert architecture_problem(good, None) is None
    assert json.loads((tmp_path / "qwen3" / "config.json").read_text())["model_type"] == "qwen3"
    bad = compose("model=hf", f"model.path={tmp_path}/qwen3_moe", "hardware=cpu").model
    assert "qwen3_moe is a mixture of experts" in str(architecture_problem(bad, None))
    lora = ("model.adapter=lora", "model.lora.targets=[qkv_proj]")
    with pytest.raises(LwexpError, match="has no qkv_proj; choose from q_proj"):
        model_sizes(compose("model=hf", f"model.path={tmp_path}/qwen3", "hardware=cpu", *lora).model)


LONG = {"rope_type": "longrope", "long_factor": [4.0] * 4, "short_factor": [1.0] * 4, "factor": 4.0}
LONG |= {"rope_theta": 1e4, "original_max_position_embeddings": 16}
ROTARY: dict[str, tuple[str, dict[str, Any]]] = {
    "longrope": ("phi3", {"rope_parameters": LONG, "sliding_window": None, "original_max_position_embeddings": 16}),
    "dynamic": (
        "llama",
        {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}, "max_position_embeddings": 16},
    ),
}


@pytest.mark.parametrize("kind", ROTARY)
def test_rotary_frequencies_that_depend_on_the_batch_are_refused(kind: str, tmp_path: Path) -> None:
    name, options = ROTARY[kind]
    config = tiny_config(name, **options)
    config.save_pretrained(tmp_path)
    overrides = (f"model={'hf' if kind == 'longrope' else 'llama31'}", f"model.path={tmp_path}", "hardware=cpu")
    problem = str(architecture_problem(compose(*overrides).model, None))
    said = rf"its rotary frequencies \({kind}\) depend on the longest document of a pack beyond 16 tokens; set pack.max"
    assert re.search(said, problem)
    # Why: in transformers, a short sequence beside one of 24 tokens, beyond the original 16, is not what it is alone.
    theirs, _ = both(config)
    rows = torch.randint(1, 300, (2, 24))
    with torch.no_grad():
        beside, alone = theirs(rows).logits[0, :8], theirs(rows[:1, :8]).logits[0]
        assert float((beside - alone).abs().max()) > 1e-2

    # Where no document can pass the original length, nothing depends on the batch.
    assert "rotary frequencies" in str(architecture_problem(compose(*overrides).model, None, 17))
    assert "rotary frequencies" not in str(architecture_problem(compose(*overrides).model, None, 16))

    # Negative controls: the run's own scaling replaces the folder's, and a fixed scaling does not depend on the batch.
    stretched = ("model.context_length=64", "model.rope_scaling={kind: yarn, factor: 4.0}")
    assert "rotary frequencies" not in str(architecture_problem(compose(*overrides, *stretched).model, None))
    fixed = tiny_config("llama", rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4})
    assert admission.rotary_problem(fixed.to_dict()) is None


@pytest.mark.parametrize("kind", ROTARY)
def test_short_packs_of_such_models_are_exact(kind: str) -> None:
    """Documents of at most the original 16 tokens are what they are alone."""
    name, options = ROTARY[kind]
    theirs, ours = both(tiny_config(name, **options))
    documents = make_documents(4, [16, 9, 13])

    def difference(pack_documents: list[Any]) -> float:
        with torch.no_grad():
            packed = pack_logprobs(ours, make_pack(pack_documents))
            alone = []
            for document in pack_documents:
                ids = torch.tensor([document.ids])
                rows = theirs(ids, use_cache=False).logits[0, document.prompt - 1 : -1].log_softmax(-1)
                alone.append(rows.gather(1, ids[0, document.prompt :, None])[:, 0])
            return float((packed - torch.cat(alone)).abs().max())

    assert difference(documents) < 1e-5
    # The control: beside a document of 24 tokens, the short ones are off.
    assert difference([*documents, *make_documents(4, [24])]) > 1e-3


def test_a_hub_model_that_is_not_here_says_how_to_get_it() -> None:
    with pytest.raises(LwexpError, match="hf download nobody/has-this"):
        model_sizes(compose("model=hf", "model.path=nobody/has-this").model)
