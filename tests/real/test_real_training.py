"""SmolLM2-135M's real weights through SFT, LoRA, DPO, kill -9, export, sampling and ZeRO-3, by the real commands.

    make test-real

Every run here has few steps on packs of 256 tokens: it learns little, and every number it starts from can be
calculated by transformers.
"""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests import ROOT
from tests.real.conftest import MODEL

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

ROWS = [
    ("Name two planets.", "Mars and Saturn are planets. Mars is the smaller one."),
    ("Describe rain in one sentence.", "Rain is water that falls from clouds in drops, and it smells of wet stone."),
    ("Who wrote Hamlet?", "William Shakespeare wrote Hamlet around the year 1600."),
    ("What is 12 times 12?", "It is 144."),
]
PROMPTS = ("Why is the sky blue?", "Write a sentence about a lighthouse.")
SMALL = (
    "experiment=smollm2", "mixture.sources.texts.path=rows.jsonl", "pack.max_tokens=256", "objective.max_steps=2",
    "hardware.threads=1", "objective.optimizer.warmup_ratio=0",
)  # fmt: skip


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


def lwexp(folder: Path, *words: str) -> None:
    command = [sys.executable, "-m", "lwexp", *words]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def write(path: Path, rows: list) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def run_of(folder: Path, name: str) -> Path:
    (found,) = (folder / "runs" / "smollm2").glob(f"{name}-*")
    return found


def metrics(folder: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (run_of(folder, name) / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, pairs and prompts, the model, and a finished SFT run called sft."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "models").symlink_to(MODEL.parent)
    write(
        folder / "rows.jsonl",
        [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in ROWS],
    )
    write(folder / "pairs.jsonl", [{"prompt": q, "chosen": a, "rejected": "I do not know."} for q, a in ROWS])
    write(folder / "prompts.jsonl", [{"prompt": prompt, "length": 20, "language": "en"} for prompt in PROMPTS])
    lwexp(folder, "train", *SMALL, "name=sft")
    return folder


@pytest.fixture(scope="module")
def plain():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager").eval()
    return model, AutoTokenizer.from_pretrained(MODEL)


def asked(prompt: str) -> str:
    return f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"


def test_the_first_loss_is_that_of_transformers(folder, plain):
    """Mean over the tokens of every answer and its <|im_end|>, each document alone."""
    model, tokenizer = plain
    targets, everything, joined = [], [], []
    for question, answer in ROWS:
        before = tokenizer(asked(question))["input_ids"]
        ids = before + tokenizer(f"{answer}<|im_end|>")["input_ids"]
        joined.append((ids, len(before)))
        own = minus_log_probs(model, ids)
        everything.append(own)
        targets.append(own[len(before) - 1 :])

    first = metrics(folder, "sft")[0]
    assert first["target_tokens"] == sum(map(len, targets))
    assert first["loss"] == pytest.approx(mean(targets), abs=1e-5)

    # The controls: each mistake that a packed loss can make gives another number.
    one_text = minus_log_probs(model, [token for ids, _ in joined for token in ids])
    starts = [sum(len(ids) for ids, _ in joined[:number]) for number in range(len(joined))]
    places = [(start + before - 1, start + len(ids) - 1) for start, (ids, before) in zip(starts, joined, strict=True)]
    wrong = {
        "questions are targets": mean(everything),
        "documents see each other": mean([one_text[low:high] for low, high in places]),
        "answers without their end": mean([own[:-1] for own in targets]),
        "targets moved by one token": mean(
            [own[-len(part) - 1 : -1] for own, part in zip(everything, targets, strict=True)]
        ),
        "documents weigh the same": sum(float(part.mean()) for part in targets) / len(targets),
    }
    assert all(abs(first["loss"] - loss) > 1e-2 for loss in wrong.values()), (first["loss"], wrong)


def minus_log_probs(model, ids: list[int]) -> torch.Tensor:
    """-log p of every token but the first, for the tokens as one document."""
    row = torch.tensor([ids])
    with torch.no_grad():
        found: torch.Tensor = -model(row).logits[0, :-1].log_softmax(-1).gather(1, row[0, 1:, None])[:, 0]
    return found


def mean(parts: list[torch.Tensor]) -> float:
    return float(torch.cat(parts).mean())


def test_greedy_answers_of_the_export_are_those_of_transformers(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    lwexp(
        folder, "evaluate", "experiment=smollm2", "run=sft", "name=greedy", "bench.path=prompts.jsonl",
        "bench.ranges=[{low: 0, high: 100}]", "sample.temperature=0", "sample.max_new_tokens=24",
    )  # fmt: skip
    export = run_of(folder, "sft") / "model"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(export), AutoTokenizer.from_pretrained(export)
    answers = [json.loads(line) for line in (run_of(folder, "greedy") / "responses.jsonl").read_text().splitlines()]
    by_prompt = {answer["prompt"]: answer["text"] for answer in answers}
    for prompt in PROMPTS:
        ids = tokenizer(asked(prompt), return_tensors="pt").input_ids
        told = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)
        assert by_prompt[prompt] == tokenizer.decode(told[0, ids.shape[1] :], skip_special_tokens=True).strip()


def test_lora_starts_from_the_same_loss_and_exports_merged_weights(folder):
    from safetensors.torch import load_file

    lwexp(folder, "train", *SMALL, "name=lora", "model.adapter=lora", "model.lora.r=8")
    assert metrics(folder, "lora")[0]["loss"] == pytest.approx(metrics(folder, "sft")[0]["loss"], abs=1e-5)

    before, after = (load_file(path / "model.safetensors") for path in (MODEL, run_of(folder, "lora") / "model"))
    assert before.keys() == after.keys()
    changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert {name.rsplit(".", 2)[-2] for name in changed} >= {"q_proj", "down_proj"}
    assert not any("norm" in name or "embed" in name for name in changed)


def test_an_adapter_on_weights_in_4_bits_starts_near_the_loss_of_whole_weights(folder):
    """Near, not equal: the loss moves by the rounding of the matrices, and by far less than training changes it."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: make test-qlora")
    lwexp(folder, "train", *SMALL, "name=nf4", "model.adapter=lora", "model.lora.r=8", "model.quantize=nf4")
    coarse, whole = (metrics(folder, name) for name in ("nf4", "sft"))
    assert 1e-3 < abs(coarse[0]["loss"] - whole[0]["loss"]) < 0.3
    assert coarse[1]["loss"] < coarse[0]["loss"]


def test_dpo_starts_where_policy_and_reference_are_one_model(folder):
    """The first loss of the preference term is -log sigmoid(0) = log 2."""
    lwexp(
        folder, "train", "experiment=smollm2_dpo", "name=dpo", "init_from=sft", "mixture=file",
        "mixture.path=pairs.jsonl", "pack.max_tokens=512", "objective.epochs=2", "objective.nll_weight=0",
        "hardware.threads=1",
    )  # fmt: skip
    first, second = metrics(folder, "dpo")[:2]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert second["loss"] < first["loss"]


def test_a_killed_training_goes_on_with_the_same_numbers(folder):
    """SIGKILL after the first of two steps; the numbers of both are those of the undisturbed run."""
    command = [sys.executable, "-m", "lwexp", "train", *SMALL, "training.checkpoint_every_steps=1", "name=killed"]
    quiet = subprocess.DEVNULL
    training = subprocess.Popen(command, cwd=folder, env=environment(), stdout=quiet, stderr=quiet)
    while not list((folder / "runs" / "smollm2").glob("killed-*/checkpoints/step-????????")):
        assert training.poll() is None, "it ended before its first checkpoint"
        time.sleep(0.05)
    training.send_signal(signal.SIGKILL)
    assert training.wait() == -signal.SIGKILL
    assert len(metrics(folder, "killed")) == 1
    lwexp(folder, *command[3:])

    keys = ("step", "loss", "lr", "grad_norm", "target_tokens")
    killed, whole = ([[row[key] for key in keys] for row in metrics(folder, name)] for name in ("killed", "sft"))
    assert killed == whole
    assert len(whole) == 2


def test_two_ranks_under_zero3_start_from_the_loss_of_one(folder):
    """A step of two packs, one for each rank, holds the same four rows as a step of one pack."""
    words = [word for word in SMALL if not word.startswith(("pack.", "objective.max", "hardware."))]
    more = ("hardware=cpu_zero3", "pack.max_tokens=80", "objective.global_batch=2", "objective.max_steps=1")
    lwexp(folder, "train", *words, *more, "name=two")
    one, two = metrics(folder, "sft")[0], metrics(folder, "two")[0]
    assert two["target_tokens"] == one["target_tokens"]
    assert two["loss"] == pytest.approx(one["loss"], abs=1e-5)
    assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
