"""The context override: a folder with fewer positions than the packs trains, exports and reloads with more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lwexp.config import compose
from lwexp.records import Conversation, LwexpError, Message
from lwexp.runs.identity import run_id
from lwexp.runs.summaries import read_metrics
from lwexp.train.planner.dry_run import describe_plan
from lwexp.train.planner.hardware import settle_hardware
from lwexp.train.planner.readiness import preflight
from tests.train.tiny_packs import tiny_config, tiny_conversations, tiny_model_config, train_in

POSITIONS, TOKENS = 8192, 16_384


def long_row(words: int = 4000) -> Conversation:
    """Counts to ``words``; with a BPE of 300 entries each number is two tokens or more."""
    messages = (
        Message(role="user", content=f"Count to {words}."),
        Message(role="assistant", content=" ".join(str(n) for n in range(1, words + 1))),
    )
    return Conversation(id="long", source="tiny", language="en", messages=messages, actual_words=words)


@pytest.fixture(scope="module")
def glm_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of zai-org/glm-4-9b-hf, but two narrow layers, random weights and a tokenizer of 300 entries."""
    from transformers import GlmConfig, GlmForCausalLM

    from lwexp.pack.tokenizer import save_tokenizer, train_tokenizer

    folder = tmp_path_factory.mktemp("glm-base")
    tokenizer = train_tokenizer([long_row(300).messages[1].content], 300, "glm4")
    config = GlmConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        head_dim=8, vocab_size=300, max_position_embeddings=POSITIONS, rms_norm_eps=1.5625e-07, attention_bias=True,
        tie_word_embeddings=False, pad_token_id=0, eos_token_id=[0],
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
    )  # fmt: skip
    torch.manual_seed(0)
    GlmForCausalLM(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder


def glm4(root: Path, folder: Path, *overrides: str) -> Any:
    """``model=glm4`` as it is, on a folder, at 16k packs."""
    config = compose(
        f"root={root}", "model=glm4", f"model.path={folder}", f"pack.max_tokens={TOKENS}", "hardware=cpu",
        "hardware.threads=1", "objective.max_steps=2", "objective.global_batch=1", "objective.epochs=2",
        "training.validation.share=0", *overrides,
    )  # fmt: skip
    return settle_hardware(config)


def test_the_glm4_preset_trains_the_bases_folder_past_its_positions_and_exports_the_new_context(
    glm_base: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    from lwexp.pack.dataset import PackedDataset

    config = glm4(tmp_path, glm_base)
    preflight(config)
    run = train_in(config, rows=[long_row()])
    assert int(PackedDataset(run.path / "packs")[0].position_ids.max()) > POSITIONS
    written = json.loads((run.path / "model" / "config.json").read_text())
    assert written["max_position_embeddings"] == 131_072
    assert written["rope_parameters"] == json.loads((glm_base / "config.json").read_text())["rope_parameters"]
    assert "| context | 131,072 positions |" in (run.path / "model" / "README.md").read_text()

    # The loss at step 2 is that of the weights after step 1; the witness is plain transformers on the exported weights.
    reloaded = AutoModelForCausalLM.from_pretrained(run.path / "model")
    assert reloaded.config.max_position_embeddings == 131_072
    pack = PackedDataset(run.path / "packs")[0]
    with torch.no_grad():
        logits = reloaded(pack.input_ids).logits[0]
    loss = torch.nn.functional.cross_entropy(logits[pack.source_positions], pack.target_ids)
    assert loss.item() == pytest.approx(read_metrics(run.path / "metrics.jsonl")[-1]["loss"], abs=1e-3)


def test_without_the_override_one_line_names_it(glm_base: Path, tmp_path: Path) -> None:
    with pytest.raises(LwexpError) as caught:
        preflight(glm4(tmp_path, glm_base, "model.context_length=null"))
    said = str(caught.value)
    assert "\n" not in said
    assert "context: glm4 has 8,192 positions, and a pack may hold a document of 16,384 tokens" in said
    assert "set model.context_length=16384" in said
    assert "pack.max_tokens=8192" in said
    preflight(glm4(tmp_path, glm_base, "model.context_length=16384"))


def test_the_dry_run_without_weights_knows_the_bases_positions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    preset = describe_plan(compose("model=glm4", "hardware=zero3_8x80g"))
    assert "context: the model's own is 8,192 positions; set to 131,072 positions" in preset.text
    assert preset.refusal is None
    own = describe_plan(compose("model=glm4", "hardware=zero3_8x80g", "model.context_length=null"))
    assert "context: glm4 has 8,192 positions" in str(own.refusal)


@pytest.mark.parametrize(
    ("overrides", "by_hand"),
    [
        (("model.context_length=1024",), {"max_position_embeddings": 1024}),
        (("model.rope_theta=500000.0",), {"rope_theta": 500_000.0}),
        (
            ("model.context_length=1024", "model.rope_scaling={kind: linear, factor: 2.0}"),
            {"max_position_embeddings": 1024, "rope_type": "linear", "factor": 2.0},
        ),
        (
            ("model.context_length=1024", "model.rope_scaling={kind: yarn, factor: 2.0}"),
            {
                "max_position_embeddings": 1024, "rope_type": "yarn", "factor": 2.0,
                "original_max_position_embeddings": 512,
            },
        ),
    ],
    ids=["length", "theta", "linear", "yarn"],
)  # fmt: skip
@pytest.mark.parametrize("family", ["glm", "llama"])
def test_an_override_trains_and_exports_what_a_config_edited_by_hand_does(
    family: str, overrides: tuple[str, ...], by_hand: dict[str, Any], tmp_path: Path
) -> None:
    """Editing config.json is how users of the paper's code raise the context (its train/README.md, FAQ 3)."""
    base = tiny_base(family, tmp_path / "base")
    edited = tmp_path / "edited"
    shutil.copytree(base, edited)
    content = json.loads((base / "config.json").read_text())
    for name, value in by_hand.items():
        (content if name == "max_position_embeddings" else content["rope_parameters"])[name] = value
    (edited / "config.json").write_text(json.dumps(content))

    def train(name: str, folder: Path, *more: str) -> Any:
        config = tiny_config(
            tmp_path / name, f"model=tiny_{family}", f"model.path={folder}", "model.init=pretrained",
            "model.tokenizer=from_path", "objective.max_steps=3", "objective.optimizer.lr=0.01", *more,
        )  # fmt: skip
        return train_in(config, rows=tiny_conversations())

    with_override, with_edit, plain = train("one", base, *overrides), train("two", edited), train("three", base)
    weights = [load_file(run.path / "model" / "model.safetensors") for run in (with_override, with_edit, plain)]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    configs = [json.loads((run.path / "model" / "config.json").read_text()) for run in (with_override, with_edit)]
    assert configs[0] == configs[1]
    changed = not all(torch.equal(tensor, weights[2][name]) for name, tensor in weights[0].items())
    assert changed == (by_hand.keys() != {"max_position_embeddings"})  # negative control: the rotary settings matter

    again = train("again", with_override.path / "model", *overrides)  # as DPO starts from SFT: nothing is applied twice
    assert json.loads((again.path / "model" / "config.json").read_text()) == configs[0]


def tiny_base(family: str, folder: Path) -> Path:
    """A tiny pretrained folder with 512 positions."""
    from lwexp.pack.tokenizer import save_tokenizer, train_tokenizer
    from lwexp.train.model.build import build_model

    config = tiny_model_config(family, tie_word_embeddings=False)
    texts = [message.content for row in tiny_conversations() for message in row.messages]
    tokenizer = train_tokenizer(texts, 400, config.chat_format)
    shape = config.shape.model_copy(update={"vocab_size": 400, "max_position_embeddings": 512})
    model: Any = build_model(config.model_copy(update={"shape": shape}), tokenizer, seed=3, dtype=torch.float32)
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder


def test_a_length_that_would_change_the_frequencies_is_refused(tmp_path: Path) -> None:
    from transformers import LlamaConfig

    from lwexp.train.model.context import set_context

    found = LlamaConfig(rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4})
    with pytest.raises(LwexpError, match=r"rope_type=dynamic.*set model.rope_scaling too"):
        set_context(found, tiny_model_config("llama", context_length=8192))
    set_context(found, tiny_model_config("llama"))


def test_scaling_without_a_length_is_refused() -> None:
    with pytest.raises(LwexpError, match=r"model.rope_scaling: .* set model.context_length"):
        compose("model=llama31", "model.rope_scaling={kind: yarn, factor: 4.0}")


def test_a_random_model_with_fewer_positions_than_a_document_has_tokens_is_refused(tmp_path: Path) -> None:
    """The longest of the tiny conversations, "1 2 ... 37", has more than 64 tokens and fewer than 256."""
    config = tiny_config(tmp_path, "model.shape.max_position_embeddings=64", "objective.max_steps=1")
    with pytest.raises(
        LwexpError, match=r"has 64 positions, and a pack may hold a document of (\d+) tokens; set"
    ) as said:
        train_in(config, rows=tiny_conversations())
    tokens = int(str(said.value).split("document of ")[1].split()[0])
    assert 64 < tokens < 256
    assert f"set model.shape.max_position_embeddings={tokens} " in str(said.value)
    enough = tiny_config(tmp_path, f"model.shape.max_position_embeddings={tokens}", "objective.max_steps=1")
    train_in(enough, rows=tiny_conversations())


def test_the_length_is_no_part_of_a_runs_id_but_the_frequencies_are() -> None:
    def id_of(*overrides: str) -> str:
        return run_id("train", compose("model=glm4", "hardware=cpu", *overrides), {})

    assert id_of() == id_of("model.context_length=null")
    assert id_of() != id_of("model.rope_theta=500000.0")
