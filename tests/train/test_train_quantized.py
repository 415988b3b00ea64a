"""A base model in 4 bits: planned by hand arithmetic, refused where it cannot work, trained through bitsandbytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lwexp.config import compose
from lwexp.config.presets import hardware_preset
from lwexp.records import LwexpError
from lwexp.runs.summaries import read_metrics
from lwexp.train.model.adapter import trained_parameters
from lwexp.train.model.dimensions import published_models, with_adapter
from lwexp.train.planner.memory import GIB, plan_memory
from lwexp.train.planner.memory_fit import check_presets, what_helps
from lwexp.train.planner.readiness import adapter_problem
from lwexp.train.planner.storage import checkpoint_bytes
from tests.train.tiny_packs import (
    NoTokenizer,
    save_start_model,
    tiny_config,
    tiny_conversations,
    tiny_model_config,
    tiny_pairs,
    train_in,
)

LLAMA = published_models()["meta-llama/Llama-3.1-8B"].sizes
QLORA = ("model.adapter=lora", "model.quantize=nf4")


WIDE = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 32}
"""bitsandbytes needs multiples of 64."""


def qlora_config(family: str = "llama") -> Any:
    shape = tiny_model_config(family).shape.model_copy(update=WIDE)
    return tiny_model_config(family, adapter="lora", quantize="nf4", shape=shape)


def test_llama31_in_4_bits_on_one_gpu_by_hand() -> None:
    """The matrices of 32 layers: Q = 32 * (2*4096*4096 + 2*4096*1024 + 3*4096*14336) = 6,979,321,856. The adapter of r
    16: A = 41,943,040; N = 8,030,261,248 + A, so N-Q = 1,092,882,432.

    In GiB: 2(N-Q) 2.036 and Q at 4 + 8/64 + 32/16384 = 4.127 bits 3.353, together 5.389; the whole in bf16: 15.036.
    2A 0.078, 12A 0.469, runtime 3. Backward with packs of 8,192: layer inputs 2, a layer 2.094, the largest matrix
    written out 2*4096*14336 B = 0.109. Peak 13.139. Host: 3 and the export, 2N and a file of 5e9 bytes: 4.657.
    """
    sizes = with_adapter(LLAMA, qlora_config())
    # tiny_model_config adapts with r 4; the arithmetic is for the default.
    sizes = replace(sizes, adapter_parameters=4 * sizes.adapter_parameters)
    assert (sizes.quantized_parameters, sizes.adapter_parameters) == (6_979_321_856, 41_943_040)
    plan = plan_memory(sizes, hardware_preset("gpu1"), 8192)
    terms = {term.name: term.bytes / GIB for term in plan.device}
    assert terms["parameters"] == pytest.approx(5.389, abs=0.001)
    assert terms["one matrix"] == pytest.approx(0.109, abs=0.001)
    assert plan.device_gib == pytest.approx(13.139, abs=0.002)
    assert plan.host_gib == pytest.approx(3 + 15.036 + 4.657, abs=0.002)
    whole = plan_memory(replace(sizes, is_quantized=False), hardware_preset("gpu1"), 8192)
    assert whole.device_gib - plan.device_gib == pytest.approx(15.036 - 5.389 - 0.109, abs=0.002)
    # Checkpoints leave the 4 bits out: 2(N-Q) and 12A.
    assert checkpoint_bytes(sizes, hardware_preset("gpu1")) / GIB == pytest.approx(2.036 + 0.469, abs=0.001)


def test_a_plan_offers_4_bits_where_an_adapter_alone_is_not_enough() -> None:
    """Llama-3.1-8B on 24 GiB, packs of 16,384. Full 107 GiB. An adapter: 15.0 + 0.5 + 3 + 4 + 4.2 = 26.8; in 4 bits
    17.2."""
    small = hardware_preset("gpu1").model_copy(update={"device_gib": 24.0, "host_gib": 64.0})
    model = compose("model=llama31").model
    assert what_helps(model, LLAMA, small, 16_384, here=False) == ["model.adapter=lora model.quantize=nf4"]
    large = small.model_copy(update={"device_gib": 30.0})
    assert what_helps(model, LLAMA, large, 16_384, here=False) == ["model.adapter=lora"]


def test_zero_presets_are_not_offered_for_4_bits() -> None:
    names = {fit.name for fit in check_presets(with_adapter(LLAMA, qlora_config()), 8192)}
    assert "gpu1" in names
    assert not any(name.startswith("zero3") for name in names)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("model.quantize=nf4",), "set model.adapter=lora, or model.quantize=none"),
        ((*QLORA, "hardware=zero3_8x80g"), "set hardware=gpu1"),
        ((*QLORA, "hardware=cpu_zero3"), "works in one process"),
    ],
)
def test_4_bits_are_refused_without_an_adapter_and_under_zero(overrides: tuple[str, ...], words: str) -> None:
    with pytest.raises(LwexpError, match=r"model\.quantize: nf4") as refused:
        compose(*overrides)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_matrix_whose_rows_do_not_end_with_a_block_is_refused() -> None:
    """Inputs are 64 wide, except those of down_proj, which are 96."""
    from lwexp.train.model.dimensions import model_sizes

    config = qlora_config()
    odd = config.model_copy(update={"shape": config.shape.model_copy(update={"intermediate_size": 96})})
    assert model_sizes(config).is_quantized
    with pytest.raises(LwexpError, match="multiple of 64 wide, which those of down_proj are not"):
        model_sizes(odd)
    assert not model_sizes(odd.unquantized()).is_quantized


def test_a_missing_bitsandbytes_is_named_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import lwexp.train.planner.readiness as readiness

    monkeypatch.setattr(readiness, "find_spec", lambda name: None if name == "bitsandbytes" else object())
    said = "packages: model.quantize=nf4 needs bitsandbytes; pip install 'lwexp[qlora]'"
    assert adapter_problem(qlora_config()) == said
    assert adapter_problem(qlora_config().unquantized()) is None


# The rest needs bitsandbytes: make test-qlora.


@pytest.fixture(scope="module")
def bitsandbytes() -> Any:
    return pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: make test-qlora")


def built(config: Any, dtype: torch.dtype = torch.float32) -> Any:
    from lwexp.train.model.build import build_model

    return build_model(config, NoTokenizer(), seed=0, dtype=dtype)


# Source: QLoRA (arXiv 2305.14314), appendix E.
NF4 = torch.tensor([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
])  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_multiplies_with_its_weights_rounded_to_nf4(bitsandbytes: Any, dtype: torch.dtype) -> None:
    """Each block of 64 weights is divided by its largest, and each quotient becomes the nearest of the 16 values. The
    scales are rounded to 8 bits too, by at most 2%."""
    config = qlora_config()
    plain, coarse = (built(each, dtype) for each in (config.unquantized(), config))
    name = "model.layers.1.mlp.down_proj.base_layer"
    weight, layer = plain.get_submodule(name).weight, coarse.get_submodule(name)
    blocks = weight.detach().float().reshape(-1, 64)
    scale = blocks.abs().amax(1, keepdim=True)
    rounded = (NF4[(blocks[:, :, None] / scale[:, :, None] - NF4).abs().argmin(-1)] * scale).reshape(weight.shape)
    used = layer(torch.eye(weight.shape[1], dtype=dtype)).detach().float().T
    assert layer.weight.dtype == torch.uint8
    assert layer.weight.numel() == weight.numel() // 2
    assert (used - rounded).abs().max() < 0.02 * scale.max()
    assert (used - weight.float()).abs().max() > 0.05 * scale.max()  # negative control: something was rounded


def test_only_the_adapter_trains_and_head_embeddings_and_norms_stay_whole(bitsandbytes: Any) -> None:
    model = built(qlora_config("glm"), torch.bfloat16)
    trained = trained_parameters(model)
    assert {parameter.dtype for _, parameter in trained} == {torch.bfloat16}
    assert all("lora_" in name for name, _ in trained)
    coarse = {name.rsplit(".", 3)[1] for name, p in model.named_parameters() if p.dtype == torch.uint8}
    assert coarse == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj"}
    saved = model.state_dict()
    assert not any(".base_layer." in name for name in saved)
    assert {"lm_head.weight", "model.norm.weight"} <= saved.keys()


STEPS = 6


def settings(root: Path, *more: str) -> Any:
    start = ("model.init=pretrained", "model.tokenizer=from_path", f"model.path={root.parent / 'start'}")
    return tiny_config(
        root, *QLORA, *start, "objective.optimizer.lr=0.02", f"objective.max_steps={STEPS}",
        "training.checkpoint_every_steps=2", *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def qlora_run(bitsandbytes: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A GLM folder, and a run that trained an adapter on its weights in 4 bits."""
    folder = tmp_path_factory.mktemp("qlora")
    save_start_model(folder / "start", "glm", **WIDE)
    return train_in(settings(folder / "runs"), rows=tiny_conversations())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def added_to(start: Path, adapter: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """W + (alpha / r) B A with the default alpha 32 and r 16, from the files alone."""
    whole = weights(start)
    for name, down in adapter.items():
        if name.endswith(".lora_A.weight"):
            target = name.removeprefix("base_model.model.").replace(".lora_A.", ".")
            whole[target] = whole[target] + 2 * adapter[name.replace(".lora_A.", ".lora_B.")] @ down
    return whole


def assert_close(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6)


def test_the_export_is_the_folders_own_weights_with_the_adapter_added(qlora_run: Any) -> None:
    rows, start = read_metrics(qlora_run.path / "metrics.jsonl"), qlora_run.path.parents[1] / "start"
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.1
    exported, before = weights(qlora_run.path / "model"), weights(start)
    assert_close(exported, added_to(start, weights(qlora_run.path / "adapter")))
    assert sum(not torch.equal(exported[name], before[name]) for name in before) == 2 * 6  # the adapter did something
    assert "base in 4 bits (NF4), merged into the weights" in (qlora_run.path / "model/README.md").read_text()


def test_an_interrupted_run_exports_its_checkpoint_and_goes_on_with_the_same_numbers(
    qlora_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails in step 4; the checkpoint of step 2 has no weights in 4 bits."""
    from lwexp.recipe.export import Wanted, export_run
    from lwexp.train.loop.module import PackedTraining

    root = qlora_run.path.parents[1] / "again"
    train_a_step = PackedTraining.training_step

    def fail_in_step_4(self: Any, batch: Any, index: int) -> None:
        assert batch.step < 3, "the interruption"
        train_a_step(self, batch, index)

    monkeypatch.setattr(PackedTraining, "training_step", fail_in_step_4)
    with pytest.raises(AssertionError, match="the interruption"):
        train_in(settings(root), rows=tiny_conversations())
    monkeypatch.undo()

    (stopped,) = root.iterdir()
    state = torch.load(stopped / "checkpoints/step-00000002/state.ckpt", weights_only=True)["state_dict"]
    assert not any(".base_layer." in name or tensor.dtype == torch.uint8 for name, tensor in state.items())
    adapter = {
        name.replace("model.model.", "base_model.model.model.", 1).replace(".default.", "."): tensor
        for name, tensor in state.items()
        if ".lora_" in name
    }
    exported = export_run(Wanted(run=str(stopped), out=str(root.parent / "exported")))
    assert_close(weights(exported), added_to(root.parent / "start", adapter))

    again = train_in(settings(root), rows=tiny_conversations())
    keys = ("step", "loss", "grad_norm", "lr")
    curves = [
        [[row[key] for key in keys] for row in read_metrics(run.path / "metrics.jsonl")] for run in (qlora_run, again)
    ]
    assert curves[0] == curves[1]
    assert len(curves[0]) == STEPS


def test_dpo_in_4_bits_starts_at_ln_2(qlora_run: Any) -> None:
    """Policy and reference are the same model, rounded in the same way."""
    config = tiny_config(
        qlora_run.path.parents[1] / "dpo", *QLORA, "objective=dpo", "objective.nll_weight=0", "objective.max_steps=1"
    )
    run = train_in(config, rows=tiny_pairs(), start_from=qlora_run.path / "model")
    assert read_metrics(run.path / "metrics.jsonl")[0]["preference_loss"] == pytest.approx(0.693147, abs=1e-5)
