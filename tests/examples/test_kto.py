"""examples/kto: an objective with rows of its own, from outside the repository."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lwexp.extend import OBJECTIVES, BrokenRowError, Known, StepTotals
from lwexp.extend.plugins import _from_file
from tests.examples.miniature import SMALL, count_to, lwexp, metrics, with_sft_run, write

EXAMPLE = Path(__file__).parents[2] / "examples" / "kto"
OPTIMIZER = {
    "lr": 0.1, "betas": (0.9, 0.95), "weight_decay": 0.0, "grad_clip": 1.0, "schedule": "constant", "warmup_ratio": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def kto() -> Iterator[Any]:
    module = _from_file(EXAMPLE / "kto.py")
    yield module
    OBJECTIVES.remove("kto")


def loss_of(kto: Any, kl_shift: float) -> Any:
    """Log-ratios of the answers 2 (good) and -1 (bad), of the other answers ``kl_shift`` + 1 and - 1; 4 rows a step."""
    from lwexp.train.objectives.reference import Reference

    objective = kto.KTO(
        epochs=1, max_steps=None, global_batch=1, beta=0.5, good_weight=2.0, bad_weight=3.0, optimizer=OPTIMIZER
    )
    # Two targets each, so that the documents' log-probs are -4, -6, -8, -10.
    logprobs = torch.tensor([-1, -3, -3, -3, -4, -4, -5, -5], dtype=torch.float64)
    reference = np.array([-6.0, -6.0 - (kl_shift + 1), -7.0, -10.0 - (kl_shift - 1)])
    batch = SimpleNamespace(
        target_documents=torch.arange(4).repeat_interleave(2), lengths=(5, 5, 5, 5), document_ids=(0, 1, 2, 3),
        labels=torch.tensor([[1.0], [1.0], [0.0], [0.0]]),
    )  # fmt: skip
    totals = StepTotals(packs=2, documents=8, target_tokens=16)
    return objective.pack_loss(logprobs, batch, totals, Known(Reference({"logprobs": reference})))


@pytest.mark.parametrize(("kl_shift", "kl"), [(0.5, 0.5), (-2.0, 0.0)])
def test_the_loss_by_hand(kto: Any, kl_shift: float, kl: float) -> None:
    """TRL's ``kto`` (KTOTrainer): 2 (1 - s(0.5 (2 - kl))) + 3 (1 - s(0.5 (kl + 1))), over the step's 4 rows."""

    def s(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    found = loss_of(kto, kl_shift)

    wanted = (2 * (1 - s(0.5 * (2 - kl))) + 3 * (1 - s(0.5 * (kl + 1)))) / 4
    assert float(found.loss) == pytest.approx(wanted, abs=1e-12)
    assert float(found.watched["kto_kl"]) == pytest.approx(kl * 2 / 4)
    assert float(found.watched["kto_right"]) == 2 / 4
    assert float(loss_of(kto, 1.5).loss) != pytest.approx(wanted, abs=1e-3)  # negative control


def test_a_row_takes_the_next_answer_and_a_broken_one_is_named(kto: Any) -> None:
    rows = kto.JudgedRows()
    made = [
        rows.parse({"prompt": f"p{n}", "completion": "a " * n, "label": n > 1}, id=str(n), source="x") for n in (1, 2)
    ]
    first, second = rows.arrange(made)
    assert [document[-1].content for document in rows.documents(first)] == ["a ", "a a "]
    assert [document[0].content for document in rows.documents(second)] == ["p2", "p2"]
    assert rows.labels_of(first) == ((0.0,), (0.0,))
    assert rows.labels_of(second) == ((1.0,), (1.0,))
    with pytest.raises(BrokenRowError, match="label"):
        rows.parse({"prompt": "p", "completion": "a", "label": "yes"}, id="0", source="x")


def test_it_trains_from_outside(tmp_path: Path) -> None:
    folder = with_sft_run(EXAMPLE, tmp_path / "mine")
    rows = [{"prompt": f"Count to {n}.", "completion": count_to(n if n % 2 else 2), "label": n % 2 == 1}
            for n in range(6, 18)]  # fmt: skip
    write(folder / "judged.jsonl", [*rows, {"prompt": "Count.", "completion": "1"}])

    done = lwexp(
        folder, "train", *SMALL, "plugins=[kto.py]", "objective=kto", "mixture=judged", "init_from=start", "name=kto",
        "objective.epochs=6", "objective.optimizer.lr=0.01",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    (run,) = (folder / "runs").glob("kto-*")
    found = metrics(run)
    assert found[0]["loss"] == pytest.approx(0.5, abs=0.02)  # 1 - sigmoid(0), but for the KL of a pack
    assert found[-1]["loss"] < found[0]["loss"]
    assert found[0].keys() >= {"kto_kl", "kto_right"}
    assert json.loads((run / "packs" / "meta.json").read_text())["kind"] == "judged"
    is_good = np.load(run / "packs" / "labels.npy")[:, 0]
    assert (len(is_good), is_good.sum()) == (24, 12)
    (failure,) = (json.loads(line) for line in (run / "mixture_failures.jsonl").read_text().splitlines())
    assert "label is missing" in failure["detail"]
