"""Real ZeRO: two gloo processes through the strategy class and the config path of zero3_8x80g and zero2_8x80g."""

from __future__ import annotations

import json
import math
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lwexp.records import LwexpError
from lwexp.runs.summaries import read_metrics
from lwexp.train.loop import module as module_file
from tests.train.tiny_packs import poisoned_logprobs, save_start_model, tiny_config, tiny_conversations, train_in
from tests.train.zero_ranks import Ranks

pytestmark = pytest.mark.slow

FAMILIES = ("glm", "llama")
STAGES = (3, 2)
STEPS = 8

both_stages = pytest.mark.parametrize("stage", STAGES)
families_and_stages = pytest.mark.parametrize("case", [(family, stage) for family in FAMILIES for stage in STAGES])
Case = tuple[str, int]
"""Family and ZeRO stage."""


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    server = Ranks()
    yield server
    server.close()


@pytest.fixture(scope="module")
def start_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for family in FAMILIES:
        folders[family] = folder = tmp_path_factory.mktemp(f"base-{family}")
        save_start_model(folder, family)
        assert len(list(folder.glob("model-*.safetensors"))) > 3
    return folders


def overrides(family: str, base: Path, *more: str) -> tuple[str, ...]:
    return (
        f"model=tiny_{family}", f"model.path={base}", "model.init=pretrained", "model.tokenizer=from_path",
        f"objective.max_steps={STEPS}", "objective.optimizer.lr=0.01", "objective.global_batch=3",
        "training.validation.share=0.3", "training.validation.max_documents=4", "training.validation.every_steps=4",
        *more,
    )  # fmt: skip


def zero(stage: int) -> tuple[str, ...]:
    return ("hardware=cpu_zero3", f"hardware.stage={stage}")


def run_in(root: Path) -> Path:
    (run,) = root.iterdir()
    return run


def curve(root: Path) -> list[tuple[float, ...]]:
    rows = read_metrics(run_in(root) / "metrics.jsonl")
    return [(r["step"], r["loss"], r["lr"], r["grad_norm"], r["target_tokens"]) for r in rows]


@pytest.fixture(scope="module")
def whole(ranks: Ranks, start_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[Case, Path]:
    """Undisturbed runs of two ranks."""
    roots = {}
    for family, stage in [(family, stage) for family in FAMILIES for stage in STAGES]:
        roots[family, stage] = root = tmp_path_factory.mktemp(f"whole-{family}-{stage}")
        options = overrides(family, start_models[family], *zero(stage))
        assert ranks.train(root, *options, world=2) == [0, 0]
    return roots


@pytest.fixture(scope="module")
def alone(start_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same runs in one process without DeepSpeed."""
    roots = {}
    for family in FAMILIES:
        roots[family] = tmp_path_factory.mktemp(f"alone-{family}")
        config = tiny_config(roots[family], *overrides(family, start_models[family]))
        train_in(config, rows=tiny_conversations())
    return roots


@families_and_stages
def test_every_tensor_is_loaded_and_no_rank_holds_more_than_its_share(case: Case, whole: dict[Case, Path]) -> None:
    """Gathered from both ranks before the first step, and compared with the safetensors files on each."""
    share = 0.51 if case[1] == 3 else 1.0  # half, and padding of odd sizes; ZeRO-2 does not shard the weights
    for rank in (0, 1):
        found = json.loads(whole[case].with_suffix(f".gathered-{rank}.json").read_text())
        assert found["unequal"] == found["missing"] == []
        assert len(found["equal"]) > 20
        assert 0.5 * found["whole"] <= found["held"] <= share * found["whole"]


@families_and_stages
def test_two_ranks_give_the_losses_of_one_process(case: Case, whole: dict[Case, Path], alone: dict[str, Path]) -> None:
    """Float32; a step holds 3 packs, so ranks accumulate and one of them runs a pack of weight 0."""
    one, two = curve(alone[case[0]]), curve(whole[case])
    assert [row[0] for row in two] == list(range(1, STEPS + 1))
    for mine, shared in zip(one, two, strict=True):
        assert shared == pytest.approx(mine, abs=1e-5, rel=1e-5)
    for rank in (
        0,
        1,
    ):  # 1 warm-up step of 8, then half a cosine; two groups each of DeepSpeed's optimiser and its AdamW
        rates = json.loads(whole[case].with_suffix(f".rates-{rank}.json").read_text())
        factors = [1.0, *(0.5 * (1 + math.cos(math.pi * i / 7)) for i in range(7))]
        assert rates == [pytest.approx([0.01 * factor] * 4) for factor in factors]
    one_held, two_held = (read_metrics(run_in(root) / "validation.jsonl") for root in (alone[case[0]], whole[case]))
    assert [row["step"] for row in two_held] == [4, 8]
    for mine_held, shared_held in zip(one_held, two_held, strict=True):
        assert shared_held == pytest.approx(mine_held, abs=1e-5, rel=1e-5)


@families_and_stages
def test_the_export_is_the_trained_model_in_plain_transformers(
    case: Case, whole: dict[Case, Path], alone: dict[str, Path], start_models: dict[str, Path]
) -> None:
    """Every weight and logit as gathered from the ranks after the last step; as one process' within 8 steps of 1e-7."""
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    ours = AutoModelForCausalLM.from_pretrained(run_in(whole[case]) / "model")
    trained = load_file(whole[case].with_suffix(".gathered-1.safetensors"))
    assert ours.state_dict().keys() == trained.keys()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in ours.state_dict().items())
    gathered = AutoModelForCausalLM.from_config(ours.config)
    gathered.load_state_dict(trained)
    one = AutoModelForCausalLM.from_pretrained(run_in(alone[case[0]]) / "model")
    base = AutoModelForCausalLM.from_pretrained(start_models[case[0]])
    ids = torch.arange(40)[None]
    with torch.no_grad():
        torch.testing.assert_close(ours(ids).logits, gathered.eval()(ids).logits, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours(ids).logits, one(ids).logits, rtol=1e-3, atol=1e-3)
        assert (ours(ids).logits - base(ids).logits).abs().max() > 0.5  # negative control: training moved them
    names = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    assert names == {name: tensor.shape for name, tensor in base.state_dict().items()}


@both_stages
def test_a_rank_killed_in_the_middle_resumes_to_the_same_curve_on_two_ranks_and_on_one(
    stage: int, ranks: Ranks, whole: dict[Case, Path], start_models: dict[str, Path], tmp_path: Path
) -> None:
    """kill -9 of rank 1. On two ranks bit for bit; on one rank sums are taken in another order."""
    options = overrides("glm", start_models["glm"], *zero(stage), "training.checkpoint_every_steps=3")
    killed = {"rank": 1, "step": 5, "signal": int(signal.SIGKILL)}
    codes = ranks.train(tmp_path / "two", *options, world=2, kill=killed)
    assert codes[1] == -signal.SIGKILL
    assert codes[0] != 0
    run = run_in(tmp_path / "two")
    assert [path.name for path in (run / "checkpoints").glob("step-*[0-9]")] == ["step-00000003"]
    shutil.copytree(tmp_path / "two", tmp_path / "one")

    assert ranks.train(tmp_path / "two", *options, world=2) == [0, 0]
    assert curve(tmp_path / "two") == curve(whole["glm", stage])
    assert "3 of 8 steps done" in (run / "log.txt").read_text()

    assert ranks.train(tmp_path / "one", *options, world=1) == [0]
    assert curve(tmp_path / "one")[:3] == curve(whole["glm", stage])[:3]
    for alone, together in zip(curve(tmp_path / "one"), curve(whole["glm", stage]), strict=True):
        assert alone == pytest.approx(together, abs=1e-5, rel=1e-5)


@pytest.mark.parametrize(("stage", "full"), [(3, [0, 1]), (2, [1])])
def test_a_full_disk_is_one_line_of_all_ranks_and_costs_the_steps_since_the_checkpoint_before(
    stage: int, full: list[int], ranks: Ranks, whole: dict[Case, Path], start_models: dict[str, Path], tmp_path: Path
) -> None:
    """The disk of both ranks, or that of rank 1 alone, whose node's disk it may be. Once it has room, the run goes on
    to the undisturbed curve."""
    root = tmp_path / "runs"
    options = overrides("glm", start_models["glm"], *zero(stage), "training.checkpoint_every_steps=3")
    assert ranks.train(root, *options, world=2, full={"ranks": full, "step": 6}) == [2, 2]
    (error,) = root.with_suffix(".errors").read_text().splitlines()
    assert "cannot write the checkpoint of step 6 to" in error
    assert "File too large; earlier ones are intact. Free some space and rerun the command" in error
    run = run_in(root)
    assert json.loads((run / "manifest.json").read_text())["status"] == "failed"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000003"]
    assert ranks.train(root, *options, world=2) == [0, 0]
    assert curve(root) == curve(whole["glm", stage])


@pytest.mark.parametrize(
    ("number", "codes", "status"),
    [(signal.SIGTERM, [143, 143], "preempted"), (signal.SIGINT, [143, 130], "preempted")],
)
def test_a_signal_to_one_rank_saves_on_all_and_resumes(
    number: signal.Signals, codes: list[int], status: str, ranks: Ranks, whole: dict[Case, Path],
    start_models: dict[str, Path], tmp_path: Path,
) -> None:  # fmt: skip
    """Rank 1 gets it; rank 0 is told by rank 1."""
    options = overrides("llama", start_models["llama"], "hardware=cpu_zero3")
    told = {"rank": 1, "step": 4, "signal": int(number)}
    assert ranks.train(tmp_path, *options, world=2, kill=told) == codes
    run = run_in(tmp_path)
    assert json.loads((run / "manifest.json").read_text())["status"] == status
    (saved,) = (run / "checkpoints").iterdir()
    assert int(saved.name.removeprefix("step-")) == len(curve(tmp_path)) < STEPS
    assert ranks.train(tmp_path, *options, world=2) == [0, 0]
    assert curve(tmp_path) == curve(whole["llama", 3])


@pytest.mark.parametrize("what", ["loss", "gradient norm"])
def test_one_rank_whose_numbers_are_not_finite_stops_all_before_the_update(
    what: str, ranks: Ranks, start_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rank 1 in steps 2, which may be skipped, and 4. One process, poisoned in the same steps, goes the same way.

    Two packs a step and rank: calls 3 and 7. One process runs three: calls 4 and 10.
    """
    options = overrides("glm", start_models["glm"], "training.skip_nonfinite=1", "training.validation.share=0")
    poison = {"rank": 1, "calls": [3, 7], "what": what}
    assert ranks.train(tmp_path / "two", *options, "hardware=cpu_zero3", world=2, poison=poison) == [2, 2]
    monkeypatch.setattr(module_file, "pack_logprobs", poisoned_logprobs({4, 10}, what))
    with pytest.raises(LwexpError, match=f"step 4: {what} is"):
        train_in(tiny_config(tmp_path / "one", *options), rows=tiny_conversations())

    rows, alone = (read_metrics(run_in(tmp_path / name) / "metrics.jsonl") for name in ("two", "one"))
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert rows[1]["grad_norm"] is None
    for name in ("loss", "grad_norm"):
        assert rows[2][name] == pytest.approx(alone[2][name], rel=1e-5)
    record = (run_in(tmp_path / "two") / "nonfinite.jsonl").read_text()
    assert [json.loads(line)["step"] for line in record.splitlines()] == [2, 4]
