"""Training steps of SmolLM2-135M on the CPU: ours against TRL's SFTTrainer with packing, on the same rows.

    make smollm2                               the weights
    python -m benchmarks.real_model.speed            5 packs of 640 tokens, with one thread and with two: 4 minutes
    python -m benchmarks.real_model.speed --quick    2 packs, one thread

Both train all weights in float32 with fused AdamW and without gradient checkpointing, from the same weights. Each fills
packs its own way, so steps hold other documents (benchmarks/train_step.py compares losses); the rate is that of all
rows, first step included. The systems run one after the other in one process; measure on idle cores.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

from benchmarks.output import Results, show
from benchmarks.train_step import Document, Run, run_ours, run_trl
from lwexp.config import compose
from lwexp.pack.packing import pack
from lwexp.pack.tokenizer import load_tokenizer

TOKENS = 640
ROWS = Path(__file__).parents[2] / "examples" / "smollm2" / "rows.jsonl"


def main() -> None:
    """One case for each number of threads."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    is_quick = "--quick" in sys.argv[1:]
    groups = packs(2 if is_quick else 5)
    results: Results = {}
    for threads in (1,) if is_quick else (1, 2):
        torch.set_num_threads(threads)
        config = compose("experiment=smollm2", f"hardware.threads={threads}")
        documents = [document for group in groups for document in group]
        runs = {
            "ours": run_ours(config, groups),
            "trl_packed": run_trl(config, documents, {"packing": True}, capacity=TOKENS),
        }
        tokens = sum(len(document.ids) for document in documents)
        results[f"threads_{threads}"] = {name: summary(run, runs["ours"], tokens) for name, run in runs.items()}
    show("real_model_speed", results, ("torch", "transformers", "trl", "lightning"))


def summary(run: Run, ours: Run, tokens: int) -> dict[str, float]:
    """Rates over all rows; equal ``target_tokens`` say that both systems trained on the same ones."""
    return {
        "tokens_per_second": tokens / sum(run.seconds),
        "ours_over_it": sum(run.seconds) / sum(ours.seconds),
        "steps": len(run.seconds),
        "seconds_per_step": statistics.median(run.seconds),
        "target_tokens": sum(run.targets),
    }


def packs(count: int) -> list[list[Document]]:
    """The first packs of the study's rows, tokenised by SmolLM2's own tokenizer."""
    tokenizer = load_tokenizer(compose("experiment=smollm2").model.path or "", chat="chatml")
    documents = []
    for line in ROWS.read_text(encoding="utf-8").splitlines():
        question, answer = (message["content"] for message in json.loads(line)["messages"])
        before = tokenizer(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
        documents.append(Document(before + tokenizer(f"{answer}<|im_end|>")["input_ids"], len(before)))
    chosen = pack(np.array([len(document.ids) for document in documents]), TOKENS)[:count]
    return [[documents[number] for number in group] for group in chosen]


if __name__ == "__main__":
    main()
