"""Plans and refusals: in seconds, without weights, with everything that is missing in one line."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from lwexp.config import compose
from lwexp.config.presets import hardware_preset
from lwexp.records import LwexpError
from lwexp.train.model.build import build_model
from lwexp.train.model.dimensions import model_sizes, published_models
from lwexp.train.planner.hardware import settle_hardware
from lwexp.train.planner.readiness import preflight
from tests.train.tiny_packs import NoTokenizer, tiny_config, tiny_model, tiny_model_config


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache and no questions to the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def check(config: Any, start_from: Path | None = None) -> None:
    preflight(settle_hardware(config), start_from)


def refusal(config: Any, start_from: Path | None = None) -> str:
    with pytest.raises(LwexpError) as caught:
        check(config, start_from)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_parameters_of_the_papers_models() -> None:
    """9.40B and 8.03B, as their model cards say."""
    assert published_models()["zai-org/glm-4-9b-hf"].sizes.parameters == 9_399_951_360
    assert published_models()["meta-llama/Llama-3.1-8B"].sizes.parameters == 8_030_261_248


@pytest.mark.parametrize("family", ["glm", "llama"])
def test_parameters_are_counted_as_transformers_has_them(family: str) -> None:
    shipped = compose(f"model=tiny_{family}").model
    for config, model in (
        (tiny_model_config(family), tiny_model(family)),
        (shipped, build_model(shipped, NoTokenizer(), seed=0, dtype=torch.float32)),
    ):
        assert model_sizes(config).parameters == sum(parameter.numel() for parameter in model.parameters())


def test_glm4_on_the_default_cpu_is_refused_for_weights_and_memory_within_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lwexp.train.planner.memory_fit.host_gib", lambda: 23.0)
    start = time.monotonic()
    message = refusal(compose("model=glm4"))
    assert time.monotonic() - start < 5
    assert message.startswith(
        "model=glm4 cannot be trained here: (1) weights and tokenizer: zai-org/glm-4-9b-hf is not"
    )
    assert "(2) memory: 9.4B parameters and packs of 32,768 tokens need" in message
    assert "there are 23 with hardware=cpu; it fits with hardware=gpu1_141g, hardware=multinode" in message
    assert "experiment=miniature" not in message  # advice for another run would hide what this one lacks


def test_llama31_on_eight_gpus_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    message = refusal(compose("model=llama31", "hardware=zero3_8x80g"))
    assert "weights and tokenizer: meta-llama/Llama-3.1-8B" in message
    assert "hardware=zero3_8x80g wants 8 CUDA devices, this machine has none" in message
    assert "memory" not in message  # 47 of 79 GiB


def test_memory_too_small_for_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    message = refusal(compose("model=glm4", "hardware=zero3_8x80g", "hardware.device_gib=40.0"))
    assert "need 45 GiB a device, there are 40 with hardware=this config; it fits with hardware=gpu1_141g" in message


@pytest.mark.parametrize(
    ("gib", "advice"),
    [
        # GLM-4-9B in bf16 needs 18.8 GB for its weights alone; an adapter saves 14 bytes of 16 a parameter.
        ("60", "or set model.adapter=lora ("),
        ("19", "here neither shorter packs nor smaller weights are enough"),
    ],
)
def test_memory_advice_names_only_what_is_enough(gib: str, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece of advice, followed, must fit: the refusal is gone."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    asked = ("model=glm4", "hardware=gpu1_141g", f"hardware.device_gib={gib}.0")
    message = refusal(compose(*asked))
    assert advice in message
    for change in re.findall(r"set ([^,(]+)", message.rpartition("; ")[2]):
        assert "memory: " not in refusal(compose(*asked, *change.split()))


def test_a_folder_that_holds_no_model(tmp_path: Path) -> None:
    message = refusal(compose("model=tiny_glm", f"model.path={tmp_path}", "model.init=pretrained"))
    assert f"weights: {tmp_path} has no config.json" in message
    message = refusal(compose("model=tiny_glm", "model.path=./nowhere/at/all", "model.init=pretrained"))
    assert "there is no folder ./nowhere/at/all" in message
    assert f"weights: {tmp_path} holds no model" in refusal(compose(), start_from=tmp_path)


def test_the_hub_out_of_reach_is_said_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx
    import huggingface_hub

    def unreachable(*_: Any, **__: Any) -> None:
        raise httpx.ConnectError("no route")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", unreachable)
    assert "the hub cannot be reached from here; download it elsewhere" in refusal(compose("model=glm4"))


def test_online_tracking_without_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert "there is no W&B key" in refusal(compose("tracking=wandb"))
    monkeypatch.setenv("WANDB_API_KEY", "x")
    check(compose("tracking=wandb"))


def test_the_miniature_passes() -> None:
    check(compose())


def test_sizes_that_nobody_knows_are_asked_for() -> None:
    config = compose("model=tiny_glm", "model.shape.hidden_size=null")
    with pytest.raises(LwexpError, match=r"set model.shape.hidden_size=<int>"):
        model_sizes(config.model)


def test_sizes_come_from_a_config_json_and_random_shapes_replace_them(tmp_path: Path) -> None:
    tiny_model("llama").config.save_pretrained(tmp_path)
    loaded = compose("model=tiny_llama", f"model.path={tmp_path}", "model.init=pretrained")
    assert model_sizes(loaded.model).hidden_size == 32
    changed = tiny_config(tmp_path, "model=tiny_llama", f"model.path={tmp_path}", "model.shape.num_hidden_layers=7")
    assert model_sizes(changed.model).num_hidden_layers == 7


def test_a_pack_longer_than_a_trained_models_context(tmp_path: Path) -> None:
    """The tiny Llama's config.json says 256 positions."""
    tiny_model("llama").config.save_pretrained(tmp_path)
    with_path = ("model=tiny_llama", f"model.path={tmp_path}", "model.init=pretrained")
    said = refusal(compose(*with_path, "pack.max_tokens=257"))
    assert "context: tiny_llama has 256 positions, and a pack may hold a document of 257 tokens" in said
    assert "set model.context_length=257 (docs/training.md, Context) or pack.max_tokens=256" in said
    check(compose(*with_path, "pack.max_tokens=256"))


def test_the_older_layout_of_glm4_is_recognised_and_the_right_id_named(tmp_path: Path) -> None:
    content = {"model_type": "chatglm", "auto_map": {}, "num_attention_heads": 32, "hidden_size": 4096}
    (tmp_path / "config.json").write_text(json.dumps(content))
    message = refusal(compose("model=glm4", f"model.path={tmp_path}"))
    assert "GLM-4 in its older layout with remote code" in message
    assert "set model.path=zai-org/glm-4-9b-hf" in message


def test_architecture_vocabulary_and_special_tokens_of_a_folder(sft_run: Any, tmp_path: Path) -> None:
    """The exported tiny GLM passes; another family, too few rows, and another chat format do not."""
    good = sft_run.path / "model"
    same = (f"model.path={good}", "model.init=pretrained", "model.tokenizer=from_path", "pack.max_tokens=256")
    check(compose("model=tiny_glm", "hardware=cpu", *same))
    assert "is of type 'glm', model.family=llama" in refusal(compose("model=tiny_llama", "hardware=cpu", *same))
    shutil.copytree(good, tmp_path / "few")
    content = json.loads((good / "config.json").read_text())
    (tmp_path / "few" / "config.json").write_text(json.dumps(content | {"vocab_size": 50}))
    few = [word.replace(str(good), str(tmp_path / "few")) for word in same]
    assert "an embedding of 50 rows" in refusal(compose("model=tiny_glm", "hardware=cpu", *few))
    assert "tokenizer: " in refusal(compose("model=tiny_glm", "hardware=cpu", "model.chat=llama31", *same))
    shutil.copytree(good, tmp_path / "without")
    del content["vocab_size"]
    (tmp_path / "without" / "config.json").write_text(json.dumps(content))
    without = [word.replace(str(good), str(tmp_path / "without")) for word in same]
    assert "config.json of type 'glm' lacks vocab_size" in refusal(compose("model=tiny_glm", "hardware=cpu", *without))
    check(
        compose("model=hf", "model.chat=glm4", "hardware=cpu", *without)
    )  # as transformers reads it: GLM's own 151,552


def test_the_room_imports_in_milliseconds_without_torch() -> None:
    import subprocess
    import sys

    code = "import sys, lwexp.train; sys.exit(any(m in sys.modules for m in ('torch', 'lightning', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_rank_without_a_device_of_its_own_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """One device for two ranks, and none at all."""
    from lwexp.train.parallel.rank_sync import join_process_group

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: pytest.fail(f"{device} was set"))
    monkeypatch.setenv("LOCAL_RANK", "1")
    hardware = hardware_preset("zero3_8x80g")
    with pytest.raises(LwexpError, match=r"device: rank 1 of this node finds 1 CUDA devices; start at most one rank"):
        join_process_group(hardware)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(LwexpError, match="rank 0 of this node finds no CUDA devices"):
        join_process_group(hardware)
