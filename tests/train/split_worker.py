"""One rank of test_train_splits: the gradients of one global batch, as PackedTraining computes them.

python -m tests.train.split_worker <rank of 4> <rendezvous file> <output folder>
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist

from lwexp.config.train import Optimizer
from lwexp.train.data.steps import Steps
from lwexp.train.loop.module import PackedTraining
from lwexp.train.objectives.sft import SFT
from tests.train.tiny_packs import Packs, make_documents, tiny_model

DOCUMENTS = make_documents(5, [8, 30, 5, 12, 4, 21, 9])
SPLITS = {
    # Four packs of different sizes, three (one rank of two or four then has a filler), and seven.
    "four": [DOCUMENTS[:1], DOCUMENTS[1:3], DOCUMENTS[3:4], DOCUMENTS[4:]],
    "three": [DOCUMENTS[:3], DOCUMENTS[3:4], DOCUMENTS[4:]],
    "seven": [[document] for document in DOCUMENTS],
}
NORMALIZE = ("token", "sequence", "release")


def main() -> None:
    rank, rendezvous, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=4)
    for ranks in (1, 2, 4):
        group = dist.new_group(list(range(ranks)))
        if rank >= ranks:
            continue
        results = {
            f"{normalize} {name}": gradients(packs, normalize, rank, ranks, group)
            for normalize in NORMALIZE
            for name, packs in SPLITS.items()
        }
        if rank == 0:
            torch.save(results, f"{folder}/{ranks}.pt")
    dist.barrier()
    dist.destroy_process_group()


def gradients(packs: Any, normalize: Any, rank: int, ranks: int, group: Any) -> dict[str, Any]:
    """Accumulated over this rank's packs by the training code, averaged over ranks as data parallelism does."""
    optimizer = Optimizer(
        lr=0.1, betas=(0.9, 0.95), weight_decay=0.0, grad_clip=1.0, schedule="constant", warmup_ratio=0.0
    )
    objective = SFT(
        kind="sft", epochs=1, max_steps=None, global_batch=len(packs), normalize=normalize, release_divisor=30.0,
        optimizer=optimizer,
    )  # fmt: skip
    module = PackedTraining(lambda: tiny_model("glm"), objective, optimizer, 1, recompute=False)
    module.configure_model()
    reduce = SimpleNamespace(backward=lambda loss, *_: loss.backward(), reduce=lambda t, reduce_op: total(t, group))
    module._trainer = SimpleNamespace(world_size=ranks, model=SimpleNamespace(), strategy=reduce)
    batch = Steps(Packs(packs), [list(range(len(packs)))], rank=rank, world_size=ranks)[0]  # type: ignore[arg-type]
    sums = module._reduced(module._accumulate(batch), "sum")
    model: Any = module.model
    parts = {name: total(parameter.grad, group) / ranks for name, parameter in model.named_parameters()}
    return {"loss": sums[0], "packs here": len(batch.packs), **parts}


def total(tensor: torch.Tensor, group: Any) -> torch.Tensor:
    summed = tensor.clone()
    dist.all_reduce(summed, group=group)
    return summed


if __name__ == "__main__":
    main()
