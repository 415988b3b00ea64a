"""Kills training twenty times at random steps, and compares the joined loss curve with that of an undisturbed run.

    python -m benchmarks.kills train                      20 kills over SFT and DPO, plain and ZeRO-3 in two processes
    python -m benchmarks.kills train --quick              4 kills
    python -m benchmarks.kills train --case dpo_zero3     the 5 kills of one case, the same as in the full run

Every run accumulates gradients (3 packs per step) and spans several epochs (``epochs`` in the output). A third of the
kills happen while a checkpoint is being written; ``mid_save`` counts those that left a half-written one. Under ZeRO-3
either rank may be killed. Two curves are equal if step, loss, learning rate, gradient norm and target tokens of every
step are equal bit for bit.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.output import Results, show

STEPS, EVERY, PACKS_A_STEP = 24, 4, 3
BASE = (
    f"objective.max_steps={STEPS}", f"training.checkpoint_every_steps={EVERY}",
    f"objective.global_batch={PACKS_A_STEP}", "objective.optimizer.lr=0.005", "objective.epochs=80",
)  # fmt: skip
RANKS = {"sft_plain": 0, "sft_zero3": 2, "dpo_plain": 0, "dpo_zero3": 2}  # 0: one process without DeepSpeed


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", help=argparse.SUPPRESS)  # python -m benchmarks.kills train
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--kills", type=int, default=20, help="over all four cases")
    parser.add_argument("--case", choices=RANKS, action="append", help="only this one, with its share of the kills")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    results = run(kills=4 if given.quick else given.kills, cases=given.case or list(RANKS), seed=given.seed)
    show("kills_train", results, ("torch", "lightning", "deepspeed"))
    if any(numbers["ours"]["rows_that_differ"] for numbers in results.values()):
        sys.exit(1)


def run(kills: int, cases: list[str], seed: int) -> Results:
    """Run all cases. Each case gets an equal share of the kills, drawn independently of the other cases."""
    from tests.train.zero_ranks import Ranks

    server, results = Ranks(), Results()
    with tempfile.TemporaryDirectory() as folder:
        try:
            is_dpo = any(case.startswith("dpo") for case in cases)
            start = _start_model(server, Path(folder) / "start") if is_dpo else None
            for number, case in enumerate(RANKS):
                if case in cases:
                    share = kills // len(RANKS) + (number < kills % len(RANKS))
                    model = start if case.startswith("dpo") else None
                    draws = random.Random(f"{seed} {case}")
                    results[case] = {"ours": _case(server, Path(folder) / case, RANKS[case], model, share, draws)}
        finally:
            server.close()
    return results


def _start_model(server: Any, root: Path) -> Path:
    """A short SFT run for DPO to start from."""
    assert server.train(root, "objective.max_steps=8", world=0) == [0]
    (run,) = root.iterdir()
    return run / "model"


def _case(
    server: Any, root: Path, world: int, start_from: Path | None, kills: int, draws: random.Random
) -> dict[str, float]:
    """One undisturbed run, then runs that are killed until all kills are used."""
    options = [*BASE, *(["hardware=cpu_zero3"] if world else []), *(["objective=dpo"] if start_from else [])]
    began = time.monotonic()
    whole, cut = root / "whole", root / "cut"
    assert set(server.train(whole, *options, world=world, start_from=start_from)) == {0}
    undisturbed, spent, runs, differ, again, in_save = _rows(whole), 0, 0, 0, 0, 0
    while spent < kills:
        shutil.rmtree(cut, ignore_errors=True)
        for step in sorted(draws.sample(range(1, STEPS - 1), min(draws.randint(1, 3), kills - spent))):
            kill = {
                "rank": draws.randrange(max(1, world)), "step": step, "signal": int(signal.SIGKILL),
                "mid_save": draws.random() < 1 / 3,
            }  # fmt: skip
            codes = server.train(cut, *options, world=world, start_from=start_from, kill=kill)
            if -signal.SIGKILL not in codes:
                raise SystemExit(f"{root.name}: the kill at step {step} came too late: exit codes {codes}")
            half_written, lost = _left_behind(cut)
            spent, in_save, again = spent + 1, in_save + half_written, again + lost
            print(f"{root.name}: {kill} left {half_written} half-written, {lost} steps to do again", file=sys.stderr)
        assert set(server.train(cut, *options, world=world, start_from=start_from)) == {0}
        runs, differ = runs + 1, differ + _compare(_rows(cut), undisturbed)
    return {
        "kills": spent, "mid_save": in_save, "runs": runs, "rows": len(undisturbed), "rows_that_differ": differ,
        "steps_done_again": again, "epochs": _epochs(whole), "seconds": time.monotonic() - began,
    }  # fmt: skip


def _rows(root: Path) -> list[tuple[Any, ...]]:
    from lwexp.runs.summaries import read_metrics

    (run,) = root.iterdir()
    names = ("step", "loss", "lr", "grad_norm", "target_tokens")
    return [
        tuple(row[name].hex() if isinstance(row[name], float) else row[name] for name in names)
        for row in read_metrics(run / "metrics.jsonl")
    ]


def _compare(found: list[tuple[Any, ...]], wanted: list[tuple[Any, ...]]) -> int:
    """Rows that differ in any bit, are missing, or are repeated."""
    return sum(a != b for a, b in zip(found, wanted, strict=False)) + abs(len(found) - len(wanted))


def _left_behind(root: Path) -> tuple[int, int]:
    """Half-written checkpoints of a killed run, and the number of steps since its newest complete one."""
    (run,) = root.iterdir()
    half_written = len(list(run.glob("checkpoints/*.tmp")))
    saved = [int(path.name.removeprefix("step-")) for path in run.glob("checkpoints/step-*[0-9]")]
    return half_written, max(0, len(_rows(root)) - max(saved, default=0))


def _epochs(root: Path) -> float:
    """How many epochs a run trained."""
    (run,) = root.iterdir()
    packs: int = json.loads((run / "packs" / "meta.json").read_text())["report"]["packs"]
    return round(STEPS * PACKS_A_STEP / packs, 2)


if __name__ == "__main__":
    main()
