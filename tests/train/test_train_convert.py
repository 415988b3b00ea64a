"""GGUF files become Hugging Face folders: the same log-probs and tokens, or one line that says why not."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lwexp.config import compose
from lwexp.convert import main
from lwexp.pack.tokenizer import train_tokenizer
from lwexp.records import LwexpError
from lwexp.train.convert.from_gguf import convert_gguf
from lwexp.train.planner.hardware import settle_hardware
from lwexp.train.planner.readiness import preflight

HEADS, GROUPS, HEAD = 4, 2, 8
TEXT = "Write 2025 words about it's weather."


@pytest.fixture(scope="module")
def llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=HEADS * HEAD, intermediate_size=64, num_hidden_layers=2, num_attention_heads=HEADS,
        num_key_value_heads=GROUPS, vocab_size=320, max_position_embeddings=64, tie_word_embeddings=True,
        initializer_range=0.3,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def words() -> Any:
    return train_tokenizer([TEXT], vocab_size=320, chat="chatml")


def in_the_order_of_llama_cpp(weight: Any, heads: int) -> Any:
    """transformers keeps a head's first and second halves, llama.cpp the pairs that rotate together.

    Source: permute() in llama.cpp's convert_hf_to_gguf.py.
    """
    return weight.reshape(heads, 2, len(weight) // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(
    file: Path,
    model: Any,
    words: Any,
    *,
    rule: str = "smollm",
    is_permuted: bool = True,
    more: Callable[[Any], None] = lambda writer: None,
) -> Path:
    from gguf import GGUFWriter, TokenType

    names = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    writer, config = GGUFWriter(file, "llama"), model.config
    writer.add_name("tiny")
    writer.add_license("apache-2.0")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    backend = json.loads(words.backend_tokenizer.to_str())["model"]
    listed = sorted(backend["vocab"], key=backend["vocab"].__getitem__)
    listed += [f"<unused{n}>" for n in range(config.vocab_size - len(listed))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rule)
    writer.add_token_list(listed)
    writer.add_token_types([TokenType.CONTROL if token.startswith("<|") else TokenType.NORMAL for token in listed])
    writer.add_token_merges([" ".join(pair) for pair in backend["merges"]])
    writer.add_eos_token_id(listed.index("<|im_end|>"))
    writer.add_chat_template("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    for name, weight in model.state_dict().items():
        array = weight.float().numpy()
        if is_permuted and ("q_proj" in name or "k_proj" in name):
            array = in_the_order_of_llama_cpp(array, HEADS if "q_proj" in name else GROUPS)
        if name.startswith("model.layers."):
            _, _, layer, rest = name.split(".", 3)
            writer.add_tensor(f"blk.{layer}.{names[rest.removesuffix('.weight')]}.weight", np.ascontiguousarray(array))
        elif name != "lm_head.weight":
            writer.add_tensor({"model.embed_tokens.weight": "token_embd.weight"}.get(name, "output_norm.weight"), array)
    more(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def largest_difference(model: Any, folder: Path) -> float:
    from transformers import AutoModelForCausalLM

    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        return float((AutoModelForCausalLM.from_pretrained(folder)(ids).logits - model(ids).logits).abs().max())


def test_a_converted_file_gives_the_log_probs_and_tokens_of_the_model(llama: Any, words: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    write_gguf(tmp_path / "tiny.gguf", llama, words)
    assert main([f"gguf={tmp_path}", f"out={tmp_path / 'model'}"]) == 0
    assert largest_difference(llama, tmp_path / "model") < 1e-5

    found = AutoTokenizer.from_pretrained(tmp_path / "model")
    # SmolLM's rule cuts at every digit; the words are cut as GPT-2 does, with the space before them.
    pieces = [piece for piece, _ in found.backend_tokenizer.pre_tokenizer.pre_tokenize_str("Write 20 it's")]
    assert pieces == ["Write", "Ġ", "2", "0", "Ġit", "'s"]
    assert found.decode(found(TEXT)["input_ids"]) == TEXT
    assert found.eos_token == "<|im_end|>"
    assert found.chat_template.startswith("{% for")
    card = (tmp_path / "model" / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n---\n")
    assert "x F32; here: float32" in card


def test_rows_of_q_and_k_in_another_order_are_another_model(llama: Any, words: Any, tmp_path: Path) -> None:
    """The negative control of the test above: the same file without llama.cpp's order of rows."""
    convert_gguf(write_gguf(tmp_path / "tiny.gguf", llama, words, is_permuted=False), tmp_path / "model")
    assert largest_difference(llama, tmp_path / "model") > 0.1


def test_a_rule_that_cannot_be_rebuilt_is_refused(llama: Any, words: Any, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", llama, words, rule="unheard-of")
    with pytest.raises(LwexpError, match=r"cuts text by the rule 'unheard-of', .* set tokenizer=<folder"):
        convert_gguf(file, tmp_path / "model")
    words.save_pretrained(tmp_path / "words")
    convert_gguf(file, tmp_path / "model", tokenizer=str(tmp_path / "words"), dtype="bfloat16")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == "bfloat16"


def yarn(writer: Any) -> None:
    from gguf import RopeScalingType

    writer.add_rope_scaling_type(RopeScalingType.YARN)


def factors(name: str) -> Callable[[Any], None]:
    return lambda writer: writer.add_tensor(name, np.ones(HEAD // 2, dtype=np.float32))


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (yarn, "llama.rope.scaling.type=yarn"),
        (factors("rope_freqs.weight"), "rope_freqs.weight"),  # llama.cpp's Llama 3.1
        (factors("rope_factors_long.weight"), "rope_factors_long.weight"),  # its Phi-3 of 128k tokens
    ],
)
def test_rotary_scaling_that_transformers_ignores_is_refused(
    more: Callable[[Any], None], named: str, llama: Any, words: Any, tmp_path: Path
) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", llama, words, more=more)
    with pytest.raises(LwexpError) as caught:
        convert_gguf(file, tmp_path / "model")
    assert f"its rotary scaling ({named}) is not read by transformers" in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_a_base_of_rotary_frequencies_that_is_not_read_is_refused(
    llama: Any, words: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.modeling_gguf_pytorch_utils import GGUF_TO_TRANSFORMERS_MAPPING

    model = copy.deepcopy(llama)
    model.config.rope_parameters["rope_theta"] = 500_000.0
    file = write_gguf(tmp_path / "tiny.gguf", model, words)
    convert_gguf(file, tmp_path / "model")  # negative control: read, it is kept
    rotary = json.loads((tmp_path / "model" / "config.json").read_text())["rope_parameters"]
    assert rotary == {"rope_theta": 500_000.0, "rope_type": "default"}
    # As transformers' table for StarCoder 2 and others, which has no such key.
    monkeypatch.delitem(GGUF_TO_TRANSFORMERS_MAPPING["config"]["llama"], "rope.freq_base")
    with pytest.raises(LwexpError, match=r"base of rotary frequencies is 500000, transformers reads 10000"):
        convert_gguf(file, tmp_path / "model")


@pytest.mark.parametrize(("rule", "is_composed"), [("qwen2", True), ("llama-bpe", False)])
def test_qwen_composes_characters_before_it_splits(
    rule: str, is_composed: bool, llama: Any, words: Any, tmp_path: Path
) -> None:
    """An e and its accent become one character, of two bytes instead of three. Llama, the control, keeps them."""
    from transformers import AutoTokenizer

    convert_gguf(write_gguf(tmp_path / "tiny.gguf", llama, words, rule=rule), tmp_path / "model")
    found = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert found.decode(found("e\u0301")["input_ids"]) == ("\u00e9" if is_composed else "e\u0301")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["gguf=no.gguf", "out=x"], "gguf=no.gguf: no such file"),
        (["gguf=text.gguf", "out=x"], "gguf=text.gguf: not a GGUF file that can be read"),
        (["gguf=.", "out=x", "dtype=int8"], "dtype=int8: wanted one of float32, bfloat16"),
        (["gguf=empty", "out=x"], "gguf=empty: wanted a folder with one .gguf file, found 0; name the file"),
        (
            ["gguf=text.gguf", "out=."],
            "out=.: there is something other than an earlier conversion; choose another folder",
        ),
        (["gguf=text.gguf"], "convert: out= is missing; set out=models/mine"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.gguf").write_text("no model")
    Path("empty").mkdir()
    assert main(options) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1


def test_only_an_earlier_conversion_is_replaced(
    llama: Any, words: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", llama, words)
    trained = tmp_path / "trained"
    trained.mkdir()
    (trained / "config.json").write_text("{}")
    (trained / "README.md").write_text("# The only copy of my model")
    assert main([f"gguf={file}", f"out={trained}"]) == 2
    assert "there is something other than an earlier conversion" in capsys.readouterr().err
    assert sorted(path.name for path in trained.iterdir()) == ["README.md", "config.json"]

    model = tmp_path / "model"
    assert main([f"gguf={file}", f"out={model}"]) == 0
    (model / "stale.txt").touch()
    assert main([f"gguf={file}", f"out={model}"]) == 0  # negative control: a conversion is replaced
    assert not (model / "stale.txt").exists()

    inside = file.rename(model / "tiny.gguf")
    size = inside.stat().st_size
    assert main([f"gguf={inside}", f"out={model}"]) == 2
    assert "tiny.gguf is in this folder, which is replaced; choose another folder" in capsys.readouterr().err
    assert inside.stat().st_size == size


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.gguf").touch()
    monkeypatch.setattr("lwexp.train.convert.from_gguf.find_spec", lambda name: None)
    with pytest.raises(LwexpError, match=r"reading GGUF needs gguf; pip install 'lwexp\[real\]'"):
        convert_gguf(tmp_path / "a.gguf", tmp_path / "model")


def refusal(*overrides: str) -> str:
    with pytest.raises(LwexpError) as caught:
        preflight(settle_hardware(compose(*overrides)), None)
    return str(caught.value)


def test_training_from_a_gguf_file_names_the_command_that_converts_it(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").touch()
    for path in (tmp_path, tmp_path / "a.gguf"):
        message = refusal("model=hf", f"model.path={path}")
        assert f"python -m lwexp.convert gguf={tmp_path / 'a.gguf'} out=models/a" in message
        assert "no config.json" not in message
    (tmp_path / "config.json").write_text("{}")  # a folder with both is a model folder
    assert "lwexp.convert" not in refusal("model=tiny_glm", "model.init=pretrained", f"model.path={tmp_path}")
