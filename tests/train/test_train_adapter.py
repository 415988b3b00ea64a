"""LoRA: peft's own arithmetic, only the adapter trained, the merged export, and DPO from it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from lwexp.config.train import Lora
from lwexp.runs.summaries import read_metrics
from lwexp.train.model.adapter import add_adapter, trained_parameters
from lwexp.train.model.logprobs import pack_logprobs
from lwexp.train.model.merging import merged_state
from lwexp.train.parallel.optimizer import build_optimizer
from tests.train.tiny_packs import (
    make_documents,
    make_pack,
    tiny_config,
    tiny_conversations,
    tiny_model,
    tiny_pairs,
    train_in,
)


def config_of(family: str) -> Any:
    from tests.train.tiny_packs import tiny_model_config

    return tiny_model_config(family, adapter="lora", lora=Lora(r=4, alpha=8.0, dropout=0.0, targets=None))


def adapted(family: str) -> Any:
    """A tiny model whose adapter is no longer zero."""
    model = tiny_model(family, torch.float64)
    add_adapter(model, config_of(family), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


@pytest.mark.parametrize("family", ["glm", "llama"])
def test_a_new_adapter_changes_nothing_and_is_all_that_trains(family: str) -> None:
    """r * (in + out): h 32, I 48, q 32, k 16, two layers. GLM: 4*(64+48+48+64 + 32+96 + 80)*2 = 3,456."""
    pack = make_pack(make_documents(0, [9, 14]))
    model = tiny_model(family, torch.float64)
    before = pack_logprobs(model, pack).detach()
    add_adapter(model, config_of(family), seed=0)
    assert torch.equal(pack_logprobs(model, pack).detach(), before)
    names = {name for name, _ in trained_parameters(model)}
    assert names
    assert all("lora_" in name for name in names)
    by_hand = {"glm": 4 * (64 + 48 + 48 + 64 + 128 + 80) * 2, "llama": 4 * (64 + 48 + 48 + 64 + 80 + 80 + 80) * 2}
    assert sum(parameter.numel() for _, parameter in trained_parameters(model)) == by_hand[family]
    assert (
        sum(p.numel() for group in build_optimizer(model, any_optimizer()).param_groups for p in group["params"])
        == by_hand[family]
    )


def any_optimizer() -> Any:
    from lwexp.config import compose

    return compose().objective.optimizer


@pytest.mark.parametrize("family", ["glm", "llama"])
def test_the_merged_weights_are_those_of_pefts_merge_and_unload(family: str) -> None:
    from peft import LoraConfig, get_peft_model

    model = adapted(family)
    lora = config_of(family)
    plain = tiny_model(family, torch.float64)
    theirs = get_peft_model(
        copy.deepcopy(plain), LoraConfig(r=4, lora_alpha=8.0, target_modules=list(lora.lora_targets), bias="none")
    )
    named = {f"base_model.model.{name}": tensor for name, tensor in model.state_dict().items()}
    theirs.load_state_dict(named)
    reference = theirs.merge_and_unload().state_dict()
    merged = merged_state(model.state_dict(), lora)
    assert merged.keys() == reference.keys() == plain.state_dict().keys()
    for name, weight in merged.items():
        torch.testing.assert_close(weight, reference[name], rtol=0, atol=1e-12)
    changed = [name for name in merged if not torch.equal(merged[name], plain.state_dict()[name])]
    assert len(changed) == 2 * len(lora.lora_targets)  # negative control: the adapter did something


@pytest.fixture(scope="module")
def lora_run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("lora")
    config = tiny_config(root, "model.adapter=lora", "objective.optimizer.lr=0.02", "objective.epochs=10")
    return train_in(config, rows=tiny_conversations())


def test_an_adapter_trains_and_its_export_has_the_logits_of_the_merged_model(lora_run: Any) -> None:
    from transformers import AutoModelForCausalLM

    rows = read_metrics(lora_run.path / "metrics.jsonl")
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.1
    loaded = AutoModelForCausalLM.from_pretrained(lora_run.path / "model")
    assert type(loaded).__name__ == "GlmForCausalLM"
    assert not any("lora" in name for name in loaded.state_dict())
    assert "a LoRA adapter, r 16, alpha 32, merged into the weights" in (lora_run.path / "model/README.md").read_text()


def test_dpo_with_an_adapter_starts_at_ln_2_from_the_merged_sft_model(lora_run: Any, tmp_path: Any) -> None:
    """Its adapter starts at zero, so policy and reference agree: the first preference loss is ln 2."""
    config = tiny_config(
        tmp_path, "objective=dpo", "objective.nll_weight=0", "model.adapter=lora", "objective.epochs=2",
        "objective.optimizer.lr=0.001",
    )  # fmt: skip
    run = train_in(config, rows=tiny_pairs(), start_from=lora_run.path / "model")
    rows = read_metrics(run.path / "metrics.jsonl")
    assert rows[0]["preference_loss"] == pytest.approx(0.693147, abs=1e-5)
