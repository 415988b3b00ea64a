"""kill -9 during training: twenty kills at random steps, and the stitched loss curve against the undisturbed one.

    python -m benchmarks.kills train            20 kills over SFT and DPO, plain and ZeRO-3 in two processes
    python -m benchmarks.kills train --quick    4 kills

Every run accumulates (3 packs a step) and crosses epoch edges (steps straddle them). A third of the kills strike while
a checkpoint is being written; under ZeRO-3 they strike either rank. A curve is equal if step, loss, learning rate,
gradient norm and target tokens of every step have the same bits.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.output import Results, show

REPOSITORY = Path(__file__).resolve().parents[1]
STEPS = 24
EVERY = 4
BASE = (
    f"objective.max_steps={STEPS}", f"training.checkpoint_every_steps={EVERY}", "objective.global_batch=3",
    "objective.optimizer.lr=0.005", "objective.epochs=80",
)  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", help=argparse.SUPPRESS)  # python -m benchmarks.kills train
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    results = run(kills=4 if given.quick else given.kills, seed=given.seed)
    show("kills_train", results, ("torch", "lightning", "deepspeed"))
    if any(numbers["ours"]["rows_that_differ"] for numbers in results.values()):
        sys.exit(1)


def run(kills: int, seed: int) -> Results:
    """Kills are dealt out over the four cases in turn."""
    sys.path.insert(0, str(REPOSITORY / "tests" / "train"))
    from zero_ranks import Ranks

    draws = random.Random(seed)
    cases = {"sft_plain": 0, "sft_zero3": 2, "dpo_plain": 0, "dpo_zero3": 2}
    shares = {case: kills // 4 + (number < kills % 4) for number, case in enumerate(cases)}
    server, results = Ranks(), Results()
    with tempfile.TemporaryDirectory() as folder:
        try:
            start = _start_model(server, Path(folder) / "start")
            for case, world in cases.items():
                model = start if case.startswith("dpo") else None
                results[case] = {"ours": _case(server, Path(folder) / case, world, model, shares[case], draws)}
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
    """One undisturbed run, then runs that are killed until all kills are spent."""
    options = [*BASE, *(["hardware=cpu_zero3"] if world else []), *(["objective=dpo"] if start_from else [])]
    began = time.monotonic()
    whole = root / "whole"
    assert set(server.train(whole, *options, world=world, start_from=start_from)) == {0}
    undisturbed, spent, differ, again, in_save = _rows(whole), 0, 0, 0, 0
    while spent < kills:
        cut, bound = root / "cut", draws.randint(1, 3)
        shutil.rmtree(cut, ignore_errors=True)
        for step in sorted(draws.sample(range(1, STEPS - 1), min(bound, kills - spent))):
            mid_save = draws.random() < 1 / 3
            kill = {
                "rank": draws.randrange(max(1, world)), "step": step, "signal": int(signal.SIGKILL),
                "mid_save": mid_save,
            }  # fmt: skip
            codes = server.train(cut, *options, world=world, start_from=start_from, kill=kill)
            if -signal.SIGKILL not in codes:
                raise SystemExit(f"{root.name}: the kill at step {step} came too late: exit codes {codes}")
            spent, in_save = spent + 1, in_save + mid_save
            again += _trained_again(cut, step)
        assert set(server.train(cut, *options, world=world, start_from=start_from)) == {0}
        differ += _compare(_rows(cut), undisturbed)
    return {
        "kills": spent, "in_mid_save": in_save, "rows": len(undisturbed), "rows_that_differ": differ,
        "steps_done_again": again, "seconds": time.monotonic() - began,
    }  # fmt: skip


def _rows(root: Path) -> list[tuple[Any, ...]]:
    from lwexp.train.rowfile import read_metrics

    (run,) = root.iterdir()
    names = ("step", "loss", "lr", "grad_norm", "target_tokens")
    return [
        tuple(row[name].hex() if isinstance(row[name], float) else row[name] for name in names)
        for row in read_metrics(run / "metrics.jsonl")
    ]


def _compare(found: list[tuple[Any, ...]], wanted: list[tuple[Any, ...]]) -> int:
    """Rows that differ in any bit, are missing, or are there twice."""
    return sum(a != b for a, b in zip(found, wanted, strict=False)) + abs(len(found) - len(wanted))


def _trained_again(root: Path, step: int) -> int:
    """Steps that were done and must be done again: those since the newest whole checkpoint."""
    (run,) = root.iterdir()
    saved = [int(path.name.removeprefix("step-")) for path in run.glob("checkpoints/step-*[0-9]")]
    return step - max(saved, default=0) if step > max(saved, default=0) else 0


if __name__ == "__main__":
    main()
