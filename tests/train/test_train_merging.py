"""An adapter is merged while the weights are written: the same files as before, and one file's weights in memory."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lwexp.config.train import Lora
from lwexp.train.export.model_folder import checkpoint_state, export_model, free_weights
from lwexp.train.model import merging
from lwexp.train.model.build import build_model
from lwexp.train.model.merging import Unmerged, merged_state
from tests.train.tiny_packs import NoTokenizer, tiny_conversations, tiny_model_config

SHARD = "20KB"
LORA = Lora(r=4, alpha=8.0, dropout=0.0, targets=None)


def config_of(family: str, tied: bool, adapter: str = "lora") -> Any:
    return tiny_model_config(family, adapter=adapter, lora=LORA, tie_word_embeddings=tied)


def tokenizer_of(family: str) -> Any:
    from lwexp.pack.tokenizer import train_tokenizer

    texts = [message.content for row in tiny_conversations() for message in row.messages]
    return train_tokenizer(texts, 300, tiny_model_config(family).chat_format)


def adapted(family: str, dtype: torch.dtype, tied: bool = False) -> Any:
    """A model whose adapter is not zero."""
    model = build_model(config_of(family, tied), NoTokenizer(), seed=3, dtype=dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def added(model: Any) -> dict[str, Tensor]:
    """W + (alpha / r) B A in float32, rounded once; all of them at the same time, under the plain model's names."""
    state = model.state_dict()
    found = {name.replace(".base_layer.", "."): weight for name, weight in state.items() if ".lora_" not in name}
    for name, down in state.items():
        if ".lora_A." in name:
            target = name.replace(".lora_A.default.", ".")
            up = state[name.replace(".lora_A.", ".lora_B.")]
            found[target] = (found[target].float() + 2.0 * (up.float() @ down.float())).to(found[target].dtype)
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("family", ["glm", "llama"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tied", [False, True])
def test_the_files_are_those_of_weights_that_were_merged_before(
    family: str, dtype: torch.dtype, tied: bool, tmp_path: Path
) -> None:
    """The witness adds them by hand, all at the same time, and has transformers write them as plain weights."""
    model, tokenizer = adapted(family, dtype, tied), tokenizer_of(family)
    options: Any = {"card": "card", "shard_size": SHARD}
    plain = config_of(family, tied, "none")
    export_model(model, tokenizer, tmp_path / "wanted", state=added(model), config=plain, **options)
    export_model(model, tokenizer, tmp_path / "found", state=None, config=config_of(family, tied), **options)
    wanted, found = files(tmp_path / "wanted"), files(tmp_path / "found")
    assert len([name for name in wanted if name.endswith(".safetensors")]) >= 3
    assert found == wanted


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_is_only_written_is_freed_and_its_files_are_the_same(dtype: torch.dtype, tmp_path: Path) -> None:
    """As after a training in 4 bits, where the model is loaded once more for its export."""
    model, tokenizer, config = adapted("llama", dtype, tied=True), tokenizer_of("llama"), config_of("llama", True)
    options: Any = {"card": "card", "config": config, "shard_size": SHARD}
    export_model(model, tokenizer, tmp_path / "wanted", state=None, **options)
    state = model.state_dict()
    free_weights(model)
    export_model(model, tokenizer, tmp_path / "found", state=state, **options)
    assert files(tmp_path / "found") == files(tmp_path / "wanted")
    assert state == {}


def test_weights_are_merged_for_one_file_at_a_time_and_their_originals_are_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer, config = adapted("llama", torch.float32), tokenizer_of("llama"), config_of("llama", False)
    merged: list[weakref.ref[Tensor]] = []
    sizes: list[tuple[int, int]] = []
    state = model.state_dict()
    free_weights(model)
    originals = [weakref.ref(weight.untyped_storage()) for name, weight in state.items() if ".base_layer." in name]
    merge = merging._merge

    def watched(*given: Any) -> Tensor:
        made = merge(*given)
        merged.append(weakref.ref(made))
        alive = [one.nbytes for each in merged if (one := each()) is not None]
        sizes.append((sum(alive), sum(each() is not None for each in originals)))
        return made

    monkeypatch.setattr(merging, "_merge", watched)
    gc.disable()
    try:
        export_model(model, tokenizer, tmp_path / "model", "card", state, config=config, shard_size=SHARD)
    finally:
        gc.enable()
    assert len(merged) == len(originals) == 14
    assert max(size for size, _ in sizes) <= 20_000
    assert [alive for _, alive in sizes] == list(range(14, 0, -1))
    assert [each for each in merged if each() is not None] == []


def test_the_numbers_are_merged_whatever_is_done_with_them() -> None:
    """A later transformers may do something else with a weight before it writes it."""
    weight, down, up = torch.randn(6, 4), torch.randn(2, 4), torch.randn(6, 2)
    state = {
        "q.base_layer.weight": weight, "q.lora_A.default.weight": down, "q.lora_B.default.weight": up,
        "norm.weight": torch.ones(4),
    }  # fmt: skip
    found = merged_state(state, config_of("llama", False))
    lazy, wanted = found["q.weight"], weight + 2.0 * (up @ down)
    assert isinstance(lazy, Unmerged)
    assert (lazy.shape, lazy.dtype, lazy.device, lazy.numel()) == (weight.shape, weight.dtype, weight.device, 24)
    assert found.unused == {"q.weight"}
    for done, same in (
        (lazy.contiguous(), wanted), (lazy.clone(), wanted), (lazy + 0, wanted), (lazy.data, wanted),
        (torch.cat([lazy, lazy]), torch.cat([wanted, wanted])), (lazy[1:3], wanted[1:3]), (lazy.to("cpu"), wanted),
        (lazy.T, wanted.T), (lazy.detach(), wanted), (lazy.float(), wanted), (lazy.view(4, 6), wanted.view(4, 6)),
    ):  # fmt: skip
        assert type(done) is Tensor
        assert torch.equal(done, same)
    assert lazy.tolist() == wanted.tolist()
    assert lazy.numpy().tolist() == wanted.tolist()
    assert found.unused == set()


def test_an_export_without_the_adapter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if transformers wrote the storage of each weight as it is."""
    model, tokenizer = adapted("llama", torch.float32), tokenizer_of("llama")
    monkeypatch.setattr(type(model), "save_pretrained", lambda self, folder, **_: Path(folder).mkdir(parents=True))
    with pytest.raises(RuntimeError, match=r"without their adapter, such as model\.layers\.0"):
        export_model(model, tokenizer, tmp_path / "model", "card", None, config=config_of("llama", False))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("lacks_base", [False, True])
def test_a_checkpoints_weights_replace_the_models_own(tmp_path: Path, lacks_base: bool) -> None:
    """In the model's format, and those that the checkpoint lacks from the model."""
    model = adapted("llama", torch.bfloat16)
    own = {name: weight.clone() for name, weight in model.state_dict().items()}
    stored = {name: weight.float() + 1 for name, weight in own.items() if not lacks_base or ".lora_" in name}
    torch.save({"state_dict": {f"model.{name}": weight for name, weight in stored.items()}}, tmp_path / "state.ckpt")
    found = checkpoint_state(model, tmp_path / "state.ckpt", lacks_base=lacks_base)
    assert found.keys() == own.keys()
    for name, weight in found.items():
        assert torch.equal(weight, stored[name].to(torch.bfloat16) if name in stored else own[name]), name
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
