"""Broken model folders: each is refused in one line, by what is wrong with it, wherever a model is loaded."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from lwexp.pack.model_weights import load_weights
from lwexp.records import LwexpError
from lwexp.records.checksums import write_checksums
from lwexp.sample.decode import DecodeRequest, decode
from lwexp.sample.engine import TransformersEngine
from lwexp.train.export.model_folder import reshard_model
from tests.sample.conftest import SHAPE
from tests.sample.test_sample_decode import sampling


def config(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def weights(edit: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        path = folder / "model.safetensors"
        tensors = load_file(path)
        edit(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return rewrite


def content(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: _rewrite(folder / "model.safetensors", change)


def _rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def exported(change: Callable[[Path], object]) -> Callable[[Path], None]:
    """Change a folder that has checksums, as every export of lwexp."""

    def edit(folder: Path) -> None:
        write_checksums(folder, folder)
        change(folder)

    return edit


def bit_flipped(data: bytes) -> bytes:
    """One bit of the last number: still a whole model of finite weights."""
    return data[:-1] + bytes([data[-1] ^ 1])


def of_another_model(folder: Path) -> None:
    """Weights of the same shapes, with the earlier time of change."""
    path = folder / "model.safetensors"
    before = path.stat()
    weights(lambda tensors: [tensor.normal_() for tensor in tensors.values()])(folder)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


NORM = "model.norm.weight"
BROKEN = {
    "more layers": (config(num_hidden_layers=5), "it has no model.layers.2."),
    "fewer layers": (config(num_hidden_layers=1), "leaves no place for, model.layers.1."),
    "another width": (config(intermediate_size=48), "a wrong shape for model.layers.0.mlp"),
    "a larger vocabulary": (config(vocab_size=5000), "a wrong shape for lm_head.weight, model.embed_tokens.weight"),
    "another architecture": (config(model_type="gpt2", n_embd=32, n_head=2, n_layer=2), "it has no "),
    "an unknown architecture": (config(model_type="nosuch"), "cannot load weights"),
    "a weight is gone": (weights(lambda tensors: tensors.pop(NORM)), f"it has no {NORM}; copy"),
    "a foreign weight": (weights(lambda t: t.update(extra=torch.ones(2))), "leaves no place for, extra;"),
    "one NaN": (weights(lambda t: t[NORM][3:4].fill_(float("nan"))), f"NaN or infinite numbers in {NORM};"),
    "an infinity": (weights(lambda t: t[NORM][:1].fill_(float("inf"))), f"NaN or infinite numbers in {NORM};"),
    "minus infinity": (weights(lambda t: t[NORM][:1].fill_(-float("inf"))), f"NaN or infinite numbers in {NORM};"),
    "all NaN": (weights(lambda t: [w.fill_(float("nan")) for w in t.values()]), "and 18 more; copy"),
    "cut in half": (content(lambda data: data[: len(data) // 2]), "cannot load weights"),
    "cut in the header": (content(lambda data: data[:20]), "cannot load weights"),
    "an empty file": (content(lambda data: b""), "cannot load weights"),
    "a text file": (content(lambda data: b"<html>not found</html>"), "cannot load weights"),
    "a git pointer": (content(lambda data: b"version https://git-lfs.github.com/spec/v1"), "cannot load weights"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "cannot load weights"),
    "a broken config": (lambda folder: (folder / "config.json").write_text("{"), "cannot load weights"),
    "a config that is a list": (lambda folder: (folder / "config.json").write_text("[]"), "cannot load weights"),
    "a lost shard": (lambda folder: sharded(folder, "00002").unlink(), "cannot load weights"),
    "a shard cut short": (lambda folder: _rewrite(sharded(folder, "00002"), lambda d: d[:-9]), "cannot load weights"),
    "one bit since the export": (exported(content(bit_flipped)), "model.safetensors has changed since it was written"),
    "another model's weights": (exported(of_another_model), "has changed since it was written"),
    "weights replaced by a part": (exported(content(lambda data: data[:-4])), "bytes, "),
    "another config": (exported(config(rms_norm_eps=0.1)), "config.json has "),
    "another tokenizer": (exported(lambda f: _rewrite(f / "tokenizer.json", lambda d: d + b" ")), "tokenizer.json has"),
    "a file lost since the export": (exported(lambda f: (f / "generation_config.json").unlink()), "is missing; copy"),
}


def sharded(folder: Path, number: str) -> Path:
    """The folder's weights in several files; gives one of them."""
    model = LlamaForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    (shard,) = folder.glob(f"model-{number}-of-*.safetensors")
    return shard


def test_the_table_has_28_broken_models() -> None:
    assert len(BROKEN) == 28


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("door", ["load", "sample", "export"])
def test_a_broken_model_is_refused_in_one_line(llama_folder: Path, tmp_path: Path, kind: str, door: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(llama_folder, folder)
    breaks, words = BROKEN[kind]
    breaks(folder)
    doors: dict[str, Callable[[], object]] = {
        "load": lambda: load_weights(folder),
        "sample": lambda: TransformersEngine(folder),
        "export": lambda: reshard_model(folder, tmp_path / "out", "card", "1GB"),
    }
    with pytest.raises(LwexpError) as refusal:
        doors[door]()
    said = str(refusal.value)
    assert words in said
    assert str(folder) in said
    assert "\n" not in said
    assert not (tmp_path / "out").exists()


def test_a_whole_model_is_loaded_with_its_own_weights(llama_folder: Path, tmp_path: Path) -> None:
    """The negative control, with tied weights too: their copy is missing in the file by design."""
    model = load_weights(llama_folder)
    torch.testing.assert_close(model.model.norm.weight, load_file(llama_folder / "model.safetensors")[NORM])
    LlamaForCausalLM(LlamaConfig(vocab_size=64, tie_word_embeddings=True, **SHAPE)).save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    tied = load_weights(tmp_path)
    assert tied.lm_head.weight is tied.model.embed_tokens.weight


def test_logits_that_are_not_finite_end_sampling(llama_folder: Path) -> None:
    """Finite weights whose product overflows: only the logits show it."""
    model = load_weights(llama_folder)
    with torch.no_grad():
        model.lm_head.weight.fill_(1e30)
        model.model.norm.weight.fill_(1e30)
    with pytest.raises(LwexpError, match="logits that are not finite"):
        list(decode(model, [DecodeRequest("a", [1, 2, 3], seed="0")], sampling(), []))
