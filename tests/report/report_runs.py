"""Fabricated run directories for the report's tests: three models, three repeats, two languages.

``short`` is capped near 100 words, ``long`` follows the request with noise, ``dpo`` follows it closer.
Nothing here is a result. ``python -m tests.report.report_runs <folder>`` makes a set to look at.
"""

from __future__ import annotations

import copy
import json
import random
import sys
from functools import cache
from pathlib import Path

from tests.report.report_text import TOPICS, count, write_text

VERSIONS = {"torch": "2.13.0", "transformers": "5.23.1", "lightning": "2.6.6", "litellm": "1.106.2", "deepspeed": None}


def length_score(required: int, produced: int) -> float:
    """S_l as the paper defines it."""
    if produced == 0:
        return 0.0
    if produced > required:
        return 100 * max(0.0, 1 - (produced / required - 1) / 3)
    return 100 * max(0.0, 1 - (required / produced - 1) / 2)


def response(prompt_id="en-50-0", *, repeat=0, required=50, text="hello", words=None, language="en", **other):
    """One row of responses.jsonl."""
    row = {
        "id": f"{prompt_id}#{repeat}",
        "prompt_id": prompt_id,
        "repeat": repeat,
        "prompt": f"Write {required} words.",
        "language": language,
        "type": "article",
        "required_words": required,
        "text": text,
        "words": count(text) if words is None else words,
        "finish_reason": "stop",
        "model": "long-22222222",
        "sampling": {
            "temperature": 0.5,
            "top_p": 1.0,
            "top_k": 0,
            "repetition_penalty": 1.0,
            "max_new_tokens": 2048,
            "seed": 100 + repeat,
        },
    }
    return {**row, **other}


def verdicts(row, *, quality=None, reason=None, judge="offline/judge"):
    """The two verdicts of a response."""
    length = {
        "response_id": row["id"],
        "kind": "length",
        "scorer": "S_l",
        "score": length_score(row["required_words"], row["words"]),
        "dimensions": {},
        "unscored_reason": None,
    }
    if judge is None:
        return [length]
    return [
        length,
        {
            "response_id": row["id"],
            "kind": "quality",
            "scorer": judge,
            "score": quality,
            "dimensions": {},
            "unscored_reason": reason,
        },
    ]


def write_jsonl(path: Path, rows) -> None:
    """Plain JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def make_run(root: Path, run_id: str, stage: str, *, parents=(), config=None, results=None, **manifest) -> Path:
    """A run directory with its manifest and config."""
    path = root / run_id
    path.mkdir(parents=True, exist_ok=True)
    name = run_id.rpartition("-")[0]
    full = {
        "id": run_id,
        "name": name,
        "stage": stage,
        "status": "finished",
        "labels": {},
        "seed": 0,
        "inputs": {},
        "parents": [{"id": p, "path": str(root / p)} for p in parents],
        "command": f"train.py name={name}",
        "created": "2026-11-20T10:00:00+00:00",
        "starts": ["2026-11-20T10:00:01+00:00"],
        "end": "2026-11-20T10:01:27+00:00",
        "git": {"commit": "62aaf17d0c5b1e9a4f3e8d7c6b5a49382716f5e4", "dirty": False},
        "python": "3.12.3",
        "versions": VERSIONS,
        "results": results or {},
        **manifest,
    }
    (path / "manifest.json").write_text(json.dumps(full))
    (path / "config.json").write_text(json.dumps(config or {}))
    return path


def bench(lengths=(50, 100, 200, 400)) -> dict:
    """The miniature ruler."""
    edges = [0, *lengths[1:]]
    ranges = [{"low": a, "high": b, "closed": False} for a, b in zip(edges, lengths[1:], strict=False)]
    return {
        "kind": "ruler",
        "name": "miniature",
        "version": "1",
        "required_words": list(lengths),
        "topics": 8,
        "languages": ["en", "zh"],
        "ranges": [*ranges, {"low": lengths[-1], "high": lengths[-1], "closed": True}],
    }


@cache
def composed(kind: str) -> dict:
    """A whole config, as a run of this version stores it."""
    from lwexp.config import compose

    return compose(f"objective={kind}", "model=tiny_glm").model_dump(mode="json")


def train_config(kind="sft", *, max_words=None, lr=0.002, seed=0) -> dict:
    """The config of a training run."""
    config = copy.deepcopy(composed(kind))
    config["seed"] = seed
    config["objective"] |= {"epochs": 4, "max_steps": 650, "global_batch": 8}
    config["objective"]["optimizer"]["lr"] = lr
    config["mixture"]["sources"]["drafts"]["max_words"] = max_words
    return config


def evaluation(
    root: Path,
    run_id: str,
    train: str | None,
    produce,
    *,
    lengths=(50, 100, 200, 400),
    repeats=3,
    judge="offline/judge",
    seed=0,
    status="finished",
) -> Path:
    """An evaluation run; ``produce(required, rng)`` says how many words the model writes."""
    rng = random.Random(f"{run_id}|{seed}")
    answers, judged = [], []
    for language in ("en", "zh"):
        for number, topic in enumerate(TOPICS[language]):
            for required in lengths:
                ask = (
                    f"Write about {required} words on {topic}."
                    if language == "en"
                    else f"请写一篇{required}字左右的关于{topic}的文章。"
                )
                for repeat in range(repeats):
                    text = write_text(language, topic, produce(required, rng), rng)
                    row = response(
                        f"{language}-{required}-{number}",
                        repeat=repeat,
                        required=required,
                        text=text,
                        language=language,
                        prompt=ask,
                        model=train or "api/model",
                    )
                    answers.append(row)
                    fails = rng.random() < 0.015
                    quality = (
                        None
                        if fails or judge is None
                        else round(min(100, max(0, rng.gauss(58 + required / 40, 11))), 2)
                    )
                    judged += verdicts(row, quality=quality, reason="bad_json" if fails else None, judge=judge)
    config = {
        "seed": seed,
        "bench": bench(lengths),
        "judge": {"kind": "offline", "model": judge} if judge else {"kind": "none"},
        "sample": {"temperature": 0.5, "top_p": 1.0, "max_new_tokens": 2048, "repeats": repeats},
    }
    path = make_run(
        root,
        run_id,
        "evaluate",
        parents=[train] if train else [],
        config=config,
        status=status,
        labels={"bench": "miniature"},
        command=f"evaluate.py run={train}" if train else "evaluate.py responses=answers.jsonl",
        results={"responses": len(answers), "verdicts": len(judged), "unscored": 0},
    )
    write_jsonl(path / "responses.jsonl", answers)
    write_jsonl(path / "verdicts.jsonl", judged)
    return path


def training(
    root: Path,
    run_id: str,
    *,
    parents,
    max_train_words,
    kind="sft",
    steps=650,
    seed=0,
    max_words=None,
    lr=0.002,
    **manifest,
) -> Path:
    """A training run with curves and its mixture."""
    rng = random.Random(run_id)
    floor, start = (0.42, 6.2) if kind == "sft" else (0.51, 0.6931)
    rows = []
    for step in range(0, steps + 1, 10):
        done = step / steps
        row = {
            "step": step,
            "loss": floor + (start - floor) * 2.718 ** (-7 * done) + rng.gauss(0, 0.02) * done,
            "lr": lr * (1 - done),
            "grad_norm": 1.0 + rng.random(),
            "target_tokens": 4000 * step,
            "seconds": 0.5 * step,
            "tokens_per_second": 4000 + rng.random(),
        }
        if kind == "dpo":
            row |= {
                "preference_loss": 0.693 - 0.2 * done,
                "margin": 1.4 * done + rng.gauss(0, 0.08) * done,
                "accuracy": min(1.0, 0.5 + 0.35 * done + rng.gauss(0, 0.04)),
            }
        rows.append(row)
    results = {"steps": steps, "final_loss": rows[-1]["loss"], "max_train_words": max_train_words, "conversations": 960}
    path = make_run(
        root,
        run_id,
        "train",
        parents=parents,
        config=train_config(kind, max_words=max_words, lr=lr, seed=seed),
        labels={"model": "tiny_glm", "objective": kind},
        results=results,
        seed=seed,
        **manifest,
    )
    write_jsonl(path / "metrics.jsonl", rows)
    longest = max_train_words
    lengths = sorted([round(25 * (longest / 25) ** rng.random()) for _ in range(239)] + [longest])
    share = {
        "source": "drafts",
        "available": 960,
        "filtered": 720,
        "taken": 240,
        "words_min": lengths[0],
        "words_median": lengths[120],
        "words_max": longest,
        "share_of_rows": 1.0,
        "share_of_words": 1.0,
    }
    mixture = {"tally": "960 in = 240 kept + 720 too long", "table": [share], "answer_words": lengths}
    (path / "mixture.json").write_text(json.dumps(mixture))
    return path


def noisy(width):
    """A model that follows the request with a relative error of about ``width``."""
    return lambda required, rng: max(5, round(required * (1 + rng.gauss(0, width))))


def capped(cap):
    """A model that never writes much more than ``cap`` words."""
    return lambda required, rng: max(5, round(min(required * (1 + rng.gauss(0, 0.2)), cap * rng.uniform(0.72, 1.12))))


def demo(root: Path) -> list[Path]:
    """The demo's seven runs; returns the three evaluations."""
    make_run(
        root,
        "data-1a2b3c4d",
        "data",
        command="generate_data.py teacher=offline",
        labels={"teacher": "offline/teacher"},
        results={"tally": "1,000 in = 960 kept + 31 too short + 9 bad plan", "calls": 9120, "cost_usd": 0.0},
    )
    training(root, "short-5e6f7a8b", parents=["data-1a2b3c4d"], max_train_words=98, steps=300, max_words=100)
    training(root, "long-9c0d1e2f", parents=["data-1a2b3c4d"], max_train_words=560)
    make_run(
        root,
        "pairs-3a4b5c6d",
        "pairs",
        parents=["long-9c0d1e2f", "data-1a2b3c4d"],
        command="generate_data.py task=pairs",
        results={"tally": "96 in = 81 kept + 15 small margin", "pairs": 81, "answers": 384, "cost_usd": 0.0},
    )
    training(
        root, "dpo-7e8f9a0b", parents=["pairs-3a4b5c6d", "long-9c0d1e2f"], max_train_words=560, kind="dpo", steps=60
    )
    return [
        evaluation(root, "eval-short-0a1b2c3d", "short-5e6f7a8b", capped(105)),
        evaluation(root, "eval-long-4e5f6a7b", "long-9c0d1e2f", noisy(0.36)),
        evaluation(root, "eval-dpo-8c9d0e1f", "dpo-7e8f9a0b", noisy(0.17)),
    ]


if __name__ == "__main__":
    demo(Path(sys.argv[1]))
