"""A miniature SFT run made by the real command, for examples of objectives that start from one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import forked

SMALL = (
    "model=tiny_glm", "model.shape.num_hidden_layers=1", "model.shape.hidden_size=32", "model.shape.vocab_size=400",
    "hardware=cpu", "hardware.threads=1", "pack.max_tokens=256", "objective.global_batch=2",
    "training.log_every_steps=1",
)  # fmt: skip


def lwexp(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return forked.run([sys.executable, "-m", "lwexp", *words], cwd=folder)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def count_to(n: int) -> str:
    return " ".join(str(i) for i in range(1, n + 1))


def with_sft_run(example: Path, folder: Path) -> Path:
    """A copy of an example's folder, and in its runs/ a finished SFT run."""
    shutil.copytree(example, folder)
    turns = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": count_to(20)}]
    write(folder / "sft.jsonl", [{"messages": turns}] * 4)
    done = lwexp(
        folder, "train", *SMALL, "name=start", "mixture=short", "~mixture.sources.drafts",
        "+mixture.sources.mine={kind: file, path: sft.jsonl}", "objective.max_steps=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
