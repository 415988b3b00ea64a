"""Presets of published models are planned and checked without their files; a folder of another model is noticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lwexp.config.compose import compose
from lwexp.config.folders import CONF
from lwexp.train.export.card import base_licence
from lwexp.train.model import hub_models
from lwexp.train.model.dimensions import model_sizes, size_surprise
from lwexp.train.model.hub_models import hub_model
from lwexp.train.planner.dry_run import describe_plan

PARAMETERS = {
    "qwen3_0.6b": 596_049_920, "qwen3_1.7b": 1_720_574_976, "qwen3_4b": 4_022_468_096, "qwen3_8b": 8_190_735_360,
    "qwen25_7b": 7_615_616_512, "mistral_7b": 7_248_023_552, "gemma3_270m": 268_098_176, "gemma3_1b": 999_885_952,
    "smollm2_135m": 134_515_008, "smollm2_360m": 361_821_120, "smollm2_1.7b": 1_711_376_384,
    "smollm3_3b": 3_075_098_624, "glm4_0414": 9_400_279_040, "llama3": 8_030_261_248, "llama32_1b": 1_235_814_400,
    "llama32_3b": 3_212_749_824,
}  # fmt: skip
"""As the hub's pages count the weights; not read from the hub."""


def test_every_preset_of_a_published_model_is_listed_above() -> None:
    named = {path.stem for path in (CONF / "model").glob("*.yaml")}
    assert named - {"glm4", "llama31", "tiny_glm", "tiny_llama", "hf"} == set(PARAMETERS)


def test_every_published_model_names_its_source_and_what_it_does_not_show() -> None:
    table = yaml.safe_load(hub_models._TABLE.read_text(encoding="utf-8"))
    assert len(table) == len(PARAMETERS)
    for path, entry in table.items():
        assert set(entry) == {"source", "unverified", "licence", "config"}, path
        assert entry["source"].strip(), path
        assert set(entry["unverified"]) <= set(entry["config"]), path


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_preset_plans_and_passes_the_self_check_without_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = compose(f"model={name}", "hardware=zero3_8x80g", "pack.max_tokens=8192")
    assert config.model.name == name
    plan = describe_plan(config)
    assert plan.refusal is None
    assert plan.memory.plan.parameters == PARAMETERS[name]
    assert base_licence(config.model.path) is not None
    assert "not on this machine" in plan.text  # the weights, of course


def test_positions_are_those_of_the_published_model() -> None:
    """A pack of 32,768 tokens does not fit Llama-3's 8,192 positions; Qwen3's 32,768 it fills."""
    refused = describe_plan(compose("model=llama3", "hardware=zero3_8x80g")).refusal
    assert refused is not None
    assert "llama3 has 8,192 positions" in refused
    assert describe_plan(compose("model=qwen3_8b", "hardware=zero3_8x80g")).refusal is None


def test_the_preset_of_smollm3_sets_the_date_that_its_template_writes() -> None:
    """Without one the template is refused, because it asks the clock (tests/pack/test_pack_own_options.py)."""
    chat = compose("model=smollm3_3b").model.chat
    assert chat is not None
    assert chat.model_dump(include={"kind", "date"}) == {"kind": "own", "date": "08 July 2025"}


def test_lora_adapts_the_matrices_of_each_architecture() -> None:
    """16 * (in + out). Qwen3-0.6B: 28 layers of 3072 + 2 * 2048 + 3072 + 3 * 4096. GLM-4-0414, gate and up in one
    matrix: 40 layers of 8192 + 2 * 4352 + 8192 + (4096 + 27392) + 17792."""
    lora = "model.adapter=lora"
    assert model_sizes(compose("model=qwen3_0.6b", lora).model).adapter_parameters == 16 * 28 * 22_528
    assert model_sizes(compose("model=glm4_0414", lora).model).adapter_parameters == 16 * 40 * 74_368


def folder_of(path: Path, **changes: Any) -> Path:
    """A folder with the config.json of Qwen3-0.6B-Base, changed."""
    known = hub_model("Qwen/Qwen3-0.6B-Base")
    assert known is not None
    (path / "config.json").write_text(json.dumps({**known.config, **changes}))
    return path


def test_a_folder_of_other_sizes_than_the_preset_is_noticed(tmp_path: Path) -> None:
    folder_of(tmp_path)
    assert size_surprise(compose("model=qwen3_0.6b", f"model.path={tmp_path}").model) is None
    other = compose("model=qwen3_8b", f"model.path={tmp_path}", "hardware=zero3_8x80g", "pack.max_tokens=8192")
    surprise = size_surprise(other.model)
    assert surprise is not None
    assert "is not Qwen/Qwen3-8B-Base: it has hidden_size 1,024 in place of 4,096" in surprise
    assert surprise in describe_plan(other).text
    named = compose("model=qwen3_8b", f"model.path={tmp_path}", "model.name=mine").model
    assert size_surprise(named) is None
