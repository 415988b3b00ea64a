"""Peak memory of a DPO step on one pair of long answers, in two passes and in one, beside an SFT step on one answer.

    python -m benchmarks.dpo_memory            answers of 8,192 tokens, float32 on the CPU, every layer recomputed
    python -m benchmarks.dpo_memory --quick    4,096 tokens, two layers

Each step runs in a process of its own through the code of a real run (``pack_logprobs``, ``two_pass``,
``DPO``, AdamW). ``peak_mib`` is the peak resident memory of the process. ``step_mib`` is what the step
itself needs: the peak minus the memory that was resident before the step, with weights and optimiser state in place.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.output import Results, show

CASES = ("sft", "dpo_two_passes", "dpo_one_pass")
FORK = "--fork"
PROMPT = 8


def main() -> None:
    """Measure each case, or with ``--fork`` be the process that forks one for each."""
    if FORK in sys.argv:
        _fork(int(sys.argv[2]), int(sys.argv[3]))
        return
    tokens, layers = (4_096, 2) if "--quick" in sys.argv else (8_192, 4)
    found = _measure_each(tokens, layers)
    for numbers in found.values():
        numbers |= {f"{name}_over_sft": numbers[name] / found["sft"][name] for name in ("peak_mib", "step_mib")}
    results: Results = {f"pair_of_{tokens}": {"ours": found.pop("dpo_two_passes"), **found}}
    show("dpo_memory", results, ("torch", "transformers"))


def _measure_each(tokens: int, layers: int) -> dict[str, dict[str, float]]:
    """Each case in a process of its own; a process between them and this one imports the libraries once and forks."""
    # malloc returns small blocks to the system at once only if it maps them; else the earlier step's peak would remain.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-m", "benchmarks.dpo_memory", FORK, str(tokens), str(layers)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return {case: json.loads(line) for case, line in zip(CASES, done.stdout.splitlines(), strict=True)}


def _fork(tokens: int, layers: int) -> None:
    import lwexp.train.model.build
    import lwexp.train.objectives.two_pass  # noqa: F401

    for case in CASES:
        if child := os.fork():
            if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
                sys.exit(f"{case} failed")
        else:
            print(json.dumps(measure(case, tokens, layers)), flush=True)
            os._exit(0)


def measure(case: str, tokens: int, layers: int) -> dict[str, float]:
    """Peak resident memory of the second optimiser step, in MiB; the first one also allocates the optimiser's state."""
    import time

    import torch

    from lwexp.config import compose
    from lwexp.train.model.build import build_model

    torch.set_num_threads(1)
    config = compose(
        "model=tiny_glm",
        f"model.shape.num_hidden_layers={layers}",
        "objective=dpo",
        f"objective.backward_passes={_passes(case)}",
    )
    model: Any = build_model(config.model, Tokenizer(), seed=0, dtype=torch.float32)
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    step = _step(case, model, config.objective, tokens)
    small = _step(case, model, config.objective, 64)
    small()
    optimizer.step()
    optimizer.zero_grad()
    before = _resident("VmRSS")
    _reset_peak()
    started = time.perf_counter()
    step()
    seconds = time.perf_counter() - started
    peak = _resident("VmHWM")
    return {"peak_mib": peak, "step_mib": peak - before, "seconds": seconds}


def _passes(case: str) -> str:
    return "two" if case == "dpo_two_passes" else "one"


class Tokenizer:
    """The attributes of a tokenizer that a model's config reads."""

    pad_token_id, bos_token_id, eos_token_id = 0, None, 1

    def __len__(self) -> int:
        return 300


def _step(case: str, model: Any, settings: Any, tokens: int) -> Any:
    """Forward and backward of a pack: one answer for SFT, two of the same length for DPO."""
    import numpy as np
    import torch

    from lwexp.extend import Known, StepTotals
    from lwexp.train.model.logprobs import pack_logprobs
    from lwexp.train.objectives.reference import Reference
    from lwexp.train.objectives.two_pass import split_pack, two_pass

    documents = 1 if case == "sft" else 2
    batch = make_batch([tokens] * documents)
    answer = tokens - PROMPT
    totals = StepTotals(
        packs=1, documents=documents, target_tokens=documents * answer, counted={"chosen_tokens": answer}
    )
    known = Known(Reference({"logprobs": np.full(2, -5.0 * answer), "tails": np.zeros(2)}))

    def sft() -> None:
        (-pack_logprobs(model, batch).sum() / totals.target_tokens).backward()

    def one_pass() -> None:
        settings.pack_loss(pack_logprobs(model, batch), batch, totals, known).loss.backward()

    def two_passes() -> None:
        parts = split_pack(batch, tokens)
        assert len(parts) == 2
        two_pass(
            model,
            parts,
            2,
            lambda logprobs: settings.pack_loss(logprobs, batch, totals, known),
            lambda x, _: x.backward(),
        )

    assert torch.is_grad_enabled()
    return {"sft": sft, "dpo_one_pass": one_pass, "dpo_two_passes": two_passes}[case]


def make_batch(lengths: list[int]) -> Any:
    """Random documents end to end; every token after the prompt is a target."""
    import torch

    from lwexp.pack.dataset import PackBatch

    starts = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    ids = torch.randint(0, 300, (starts[-1],), generator=torch.Generator().manual_seed(0))
    places = torch.cat([torch.arange(a + PROMPT, b) for a, b in pairwise(starts)])
    owners = torch.cat([torch.full((n - PROMPT,), i) for i, n in enumerate(lengths)])
    return PackBatch(
        input_ids=ids[None],
        position_ids=torch.cat([torch.arange(n) for n in lengths])[None],
        cu_seqlens=torch.tensor(starts, dtype=torch.int32),
        max_length=max(lengths),
        lengths=tuple(lengths),
        source_positions=places - 1,
        target_ids=ids[places],
        target_documents=owners,
        document_ids=tuple(range(len(lengths))),
        pack_id=0,
        labels=torch.zeros(len(lengths), 0),
    )


def _resident(what: str) -> float:
    """VmRSS (now) or VmHWM (at most), in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{what}:"))
    return int(line.split()[1]) / 1024


def _reset_peak() -> None:
    """Reset VmHWM to the memory that is resident now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


if __name__ == "__main__":
    main()
