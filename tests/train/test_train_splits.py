"""One global batch, cut into ranks x accumulation x packs in every way: real gloo processes, the same gradients."""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

import pytest
import torch

from tests import forked
from tests.train.split_worker import DOCUMENTS, NORMALIZE, SPLITS
from tests.train.tiny_packs import make_pack, tiny_model


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, dict[str, Any]]]:
    """Gradients of 1, 2 and 4 ranks; the smaller groups are parts of one group of four processes."""
    folder = tmp_path_factory.mktemp("splits")
    arguments = [str(folder / "rendezvous"), str(folder)]
    processes = [
        forked.Process([sys.executable, "-m", "tests.train.split_worker", str(rank), *arguments]) for rank in range(4)
    ]
    deadline = time.monotonic() + 240
    while any(process.poll() is None for process in processes):
        # One rank that fails leaves the others waiting for it.
        if any(process.returncode for process in processes) or time.monotonic() > deadline:
            for process in processes:
                process.send_signal(signal.SIGKILL)
        time.sleep(0.1)
    errors = [process.communicate()[1] for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(errors)[-2000:]
    return {ranks: torch.load(folder / f"{ranks}.pt") for ranks in (1, 2, 4)}


def distance(a: dict[str, Any], b: dict[str, Any]) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a if name != "packs here")


@pytest.mark.slow
@pytest.mark.parametrize("normalize", NORMALIZE)
def test_gradients_are_identical_for_every_split_into_ranks_and_accumulation(results: Any, normalize: str) -> None:
    """1 x 4, 2 x 2 and 4 x 1 for four packs; three and seven packs leave ranks with fillers."""
    for name in SPLITS:
        case = f"{normalize} {name}"
        for ranks in (2, 4):
            assert distance(results[ranks][case], results[1][case]) < 1e-10, (case, ranks)
    assert [results[ranks][f"{normalize} four"]["packs here"] for ranks in (1, 2, 4)] == [4, 2, 1]


@pytest.mark.slow
@pytest.mark.parametrize("normalize", ["token", "sequence"])
def test_gradients_do_not_depend_on_how_documents_are_packed(results: Any, normalize: str) -> None:
    for ranks in (1, 2, 4):
        for name in ("three", "seven"):
            assert distance(results[ranks][f"{normalize} {name}"], results[1][f"{normalize} four"]) < 1e-8


@pytest.mark.slow
def test_negative_control_the_released_codes_loss_depends_on_the_packing(results: Any) -> None:
    assert distance(results[1]["release three"], results[1]["release seven"]) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("normalize", ["token", "sequence"])
def test_the_gradient_is_that_of_the_formula_written_out(results: Any, normalize: str) -> None:
    """No op, packs or weights of ours: logits of each document alone, log_softmax, the average by its definition.

    Within 1e-6, because our weights are kept in float32.
    """
    model = tiny_model("glm")
    means, counts = [], []
    for document in DOCUMENTS:
        pack = make_pack([document])
        hidden = model.model(
            input_ids=pack.input_ids, position_ids=pack.position_ids, use_cache=False, lengths=pack.lengths
        ).last_hidden_state[0]
        logits = hidden @ model.lm_head.weight.T
        losses = -torch.log_softmax(logits[document.prompt - 1 : -1], dim=-1).gather(
            1, torch.tensor(document.ids[document.prompt :])[:, None]
        )
        means.append(losses.mean())
        counts.append(losses.shape[0])
    if normalize == "token":
        loss = sum(mean * count for mean, count in zip(means, counts, strict=True)) / sum(counts)
    else:
        loss = sum(means) / len(means)
    loss.backward()  # type: ignore[union-attr]
    got = results[4][f"{normalize} four"]
    assert float(got["loss"]) == pytest.approx(loss.item(), abs=1e-6)  # type: ignore[union-attr]
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad, rtol=0, atol=1e-6, msg=name)
