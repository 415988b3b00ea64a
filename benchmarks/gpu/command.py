"""``lwexp train`` itself: Lightning, prefetching, pinned copies, checkpoint and export; full fine-tuning and LoRA.

On hardware=gpu1 with GLM-4's widths, two layers and a small vocabulary; with --quick, the miniature on hardware=cpu.
"""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu.cases import Case, Numbers
from benchmarks.gpu.place import Place, scratch_folder

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = 3
FULL = [
    "model=glm4", "model.init=random", "model.tokenizer=train", "model.shape.num_hidden_layers=2",
    "model.shape.vocab_size=16384", "hardware=gpu1", "pack.max_tokens=32768",
]  # fmt: skip
QUICK = ["model=tiny_glm", "model.shape.num_hidden_layers=2", "hardware=cpu", "pack.max_tokens=1024"]
COMMON = [
    f"objective.max_steps={STEPS}",
    "objective.global_batch=1",
    "training.log_every_steps=1",
    "~mixture.sources.drafts",
]
REPORTED = ("loss", "grad_norm", "tokens_per_second", "mfu", "peak_memory_gib")


def cases(place: Place, earlier: Mapping[str, Numbers]) -> list[Case]:
    """Full fine-tuning, then LoRA."""
    adapters: dict[str, list[str]] = {"whole": [], "lora": ["model.adapter=lora"]}
    return [Case("command", f"command/{name}", partial(train, place, words)) for name, words in adapters.items()]


def train(place: Place, overrides: list[str]) -> Numbers:
    """Metrics of the last step, and whether transformers finds every weight in the exported folder."""
    with scratch_folder(20e9) as folder:  # checkpoint 7 GB, export 1 GB
        rows = Path(folder) / "rows.jsonl"
        write_rows(rows, words=250 if place.quick else 8000)
        source = f"+mixture.sources.written={{kind: file, path: {rows}}}"
        size = QUICK if place.quick else FULL
        command = [sys.executable, "-m", "lwexp", "train", *size, *COMMON, source, *overrides, f"root={folder}/runs"]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            raise RuntimeError(f"lwexp train ended with exit code {done.returncode}: {said}")
        [run] = (Path(folder) / "runs").glob("*/metrics.jsonl")
        metrics = [json.loads(line) for line in run.read_text(encoding="utf-8").splitlines()]
        steps = [row for row in metrics if row.get("loss") is not None]
        is_finite = all(math.isfinite(row["loss"]) for row in steps)
        export = check_export(run.parent / "model")
        last = {key: steps[-1][key] for key in REPORTED if steps[-1].get(key) is not None}
        ok = len(steps) == STEPS and is_finite and export["missing"] == export["unexpected"] == 0
        return {**last, **export, "steps": len(steps), "parity_ok": float(ok)}


def check_export(folder: Path) -> dict[str, Any]:
    """The numbers of missing and of unexpected weights in the folder; raises if a weight is not finite."""
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True)
    if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
        raise RuntimeError("the exported model has weights that are not finite")
    return {"missing": len(info["missing_keys"]), "unexpected": len(info["unexpected_keys"])}


def write_rows(path: Path, words: int) -> None:
    """Conversations of made-up words, enough for at least three packs."""
    rng = random.Random(0)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    known = ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(2000)]
    with path.open("w", encoding="utf-8") as out:
        for number in range(16):
            text = " ".join(rng.choices(known, k=words))
            messages = [
                {"role": "user", "content": f"Write text {number} in {words} words."},
                {"role": "assistant", "content": text},
            ]
            out.write(json.dumps({"messages": messages}) + "\n")
