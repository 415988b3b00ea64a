"""FLOPs and MFU by hand, and against TRL where the conventions agree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lwexp.extend import Sizes, StepTotals
from lwexp.train.families import Llama
from lwexp.train.model.build import random_config
from lwexp.train.model.dimensions import model_sizes, published_models
from lwexp.train.planner.flops import Speedometer, flops_per_token, peak_flops, step_flops
from tests.train.tiny_packs import NoTokenizer, tiny_model_config

# h 4, I 6, 2 layers, 2 heads and 1 key head of 3, 10 words.
SMALL = Sizes(4, 6, 2, 2, 1, 3, 10, 64, family=Llama())
TOTALS = StepTotals(
    packs=2, documents=3, target_tokens=5, tokens=17, document_squares=36 + 16 + 49, pack_squares=100 + 49
)


def test_step_flops_by_hand() -> None:
    """Packs of 6 + 4 and of 7 tokens.

    A layer: q 4*6, k and v 4*3 each, o 6*4, MLP 3*4*6, two norms of 4 = 24+24+24+72+8 = 152; two layers 304, final
    norm 4, head 40: 348 parameters are multiplied (the norms are counted, as in the convention). 6*348*17 = 35,496.
    Attention width 2 layers * 2 heads * 3 = 12: packed 6*12*101 = 7,272; non-causal 12*12*149 = 21,456.
    """
    assert step_flops(SMALL, TOTALS) == (35_496 + 7_272, 35_496 + 21_456)


def test_frozen_weights_get_no_gradient_of_their_own() -> None:
    """An adapter of 20 beside the 348: 368 are multiplied forward and for the inputs' gradients, 20 get gradients.

    (4*368 + 2*20) * 17 = 25,704, where full training of as many would take 6*368*17 = 37,536.
    """
    adapted = replace(SMALL, adapter_parameters=20)
    assert step_flops(adapted, TOTALS) == (25_704 + 7_272, 25_704 + 21_456)
    assert flops_per_token(adapted, 10) == 1_512 + 6 * 12 * 10


def test_a_tied_head_is_multiplied_as_well() -> None:
    tied = Sizes(4, 6, 2, 2, 1, 3, 10, 64, family=Llama(), tied=True)
    assert step_flops(tied, TOTALS) == step_flops(SMALL, TOTALS)


@pytest.mark.parametrize("family", ["glm", "llama"])
def test_noncausal_is_trls_formula_but_for_norms_and_biases(family: str) -> None:
    """TRL counts matrices only; what has one dimension (norms, GLM's biases) is 6 FLOPs a parameter and token more."""
    from trl.trainer.utils import compute_flops_per_token

    config = tiny_model_config(family)
    sizes, tokens = model_sizes(config), 50
    totals = StepTotals(packs=1, documents=1, target_tokens=9, tokens=tokens, document_squares=2500, pack_squares=2500)
    vectors = 2 * (2 * 32) + 32 + (2 * (4 * 8 + 2 * 2 * 8) if family == "glm" else 0)
    theirs = compute_flops_per_token(random_config(config, NoTokenizer()), tokens) * tokens
    assert step_flops(sizes, totals).noncausal == pytest.approx(theirs + 6 * vectors * tokens)


@pytest.mark.parametrize(
    ("path", "products", "full", "causal"),
    [("meta-llama/Llama-3.1-8B", 45.0, 96.6, 70.8), ("zai-org/glm-4-9b-hf", 52.7, 117.1, 84.9)],
)
def test_gigaflops_a_token_at_32k(path: str, products: float, full: float, causal: float) -> None:
    """Worked out by hand beside the design: 6N, and both totals, for one document that fills a pack."""
    n = 32_768
    one = StepTotals(packs=1, documents=1, target_tokens=n, tokens=n, document_squares=n * n, pack_squares=n * n)
    flops = step_flops(published_models()[path].sizes, one)
    assert flops.noncausal / n / 1e9 == pytest.approx(full, abs=0.06)
    assert flops.packed / n / 1e9 == pytest.approx(causal, abs=0.06)
    none = one._replace(document_squares=0)
    assert step_flops(published_models()[path].sizes, none).packed / n / 1e9 == pytest.approx(products, abs=0.06)


def test_peaks_are_those_that_trl_lists() -> None:
    from trl.trainer.utils import get_peak_flops

    names = ("NVIDIA H200", "NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H200 NVL", "NVIDIA A100-SXM4-80GB",
             "NVIDIA L40S", "NVIDIA A10G", "NVIDIA L4", "NVIDIA B200")  # fmt: skip
    for name in names:
        assert peak_flops(name) == get_peak_flops(name, "bfloat16"), name
    assert peak_flops("Intel Xeon") is None
    assert peak_flops("NVIDIA L400") is None  # not an L40 or an L4


def test_speed_is_added_up_between_rows() -> None:
    """Two steps of 42,768 packed FLOPs in 2 s at a peak of 100,000: MFU 0.4277; none without a peak."""
    speed = Speedometer(SMALL, 100_000.0)
    speed.add(TOTALS)
    speed.add(TOTALS)
    row = speed.row(2.0)
    assert row["tokens_per_second"] == 17.0
    assert row["target_tokens_per_second"] == 5.0
    assert row["mfu_packed"] == 0.4277
    assert row["mfu_noncausal"] == 0.5695
    speed.clear()
    assert speed.row(1.0)["tokens_per_second"] == 0.0
    unknown = Speedometer(SMALL, None)
    unknown.add(TOTALS)
    assert unknown.row(1.0)["mfu_packed"] is None
