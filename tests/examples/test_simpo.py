"""examples/simpo: a preference loss without a reference, from outside the repository."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lwexp.extend import PREFERENCE_LOSSES, PreferenceForm
from lwexp.extend.plugins import _from_file
from tests.examples.miniature import SMALL, count_to, lwexp, metrics, with_sft_run, write

EXAMPLE = Path(__file__).parents[2] / "examples" / "simpo"


@pytest.fixture(scope="module")
def simpo() -> Iterator[Any]:
    module = _from_file(EXAMPLE / "simpo.py")
    yield module.SimPO
    PREFERENCE_LOSSES.remove("simpo")


def form(loss: Any, beta: float) -> PreferenceForm:
    return PreferenceForm.model_construct(
        loss=loss, beta=beta, label_smoothing=0.0, length_normalize=False, ld_alpha=1.0
    )


def loss_of(loss: Any, beta: float) -> torch.Tensor:
    """Of two pairs: sums -6, -12 over 3 and 4 targets; -20, -2 over 10 and 2."""
    from lwexp.train.objectives.preference import find_pairs, preference_losses

    policy = torch.tensor([-6.0, -12.0, -20.0, -2.0], dtype=torch.float64)
    counts = torch.tensor([3, 4, 10, 2])
    return preference_losses(policy, 0.0, counts, find_pairs((0, 1, 2, 3)), form(loss, beta)).losses


def test_the_loss_by_hand(simpo: Any) -> None:
    """Per token -2 and -3, -2 and -1: beta 2 gives margins of 2 and -2, less gamma 0.5: 1.5 and -2.5."""
    wanted = [math.log1p(math.exp(-1.5)), math.log1p(math.exp(2.5))]

    assert loss_of(simpo(gamma=0.5), 2.0).tolist() == pytest.approx(wanted, abs=1e-12)
    assert loss_of(simpo(gamma=0.0), 2.0).tolist() != pytest.approx(wanted, abs=1e-3)  # negative control


def test_the_loss_is_that_of_trl(simpo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    from trl.experimental.cpo import CPOTrainer

    trainer = CPOTrainer.__new__(CPOTrainer)
    trainer.__dict__.update(
        alpha=0.0, loss_type="simpo", simpo_gamma=0.7, beta=2.5, label_smoothing=0.0,
        accelerator=SimpleNamespace(device="cpu"),
    )  # fmt: skip
    chosen, rejected = torch.tensor([-2.0, -2.0]).double(), torch.tensor([-3.0, -1.0]).double()

    torch.testing.assert_close(loss_of(simpo(gamma=0.7), 2.5), trainer.cpo_loss(chosen, rejected)[0])


def test_it_trains_from_outside_without_a_reference(tmp_path: Path) -> None:
    folder = with_sft_run(EXAMPLE, tmp_path / "mine")
    write(
        folder / "pairs.jsonl",
        [{"prompt": f"Count to {n}.", "chosen": count_to(n), "rejected": count_to(2)} for n in range(6, 14)],
    )
    command = ("train", *SMALL, "objective=simpo", "objective.epochs=4", "objective.optimizer.lr=0.01", 
               "mixture=short", "+mixture.pairs.mine={kind: file, path: pairs.jsonl}", "init_from=start")  # fmt: skip
    refused = lwexp(folder, *command)
    assert refused.returncode == 2  # negative control: without the plugin there is no such objective
    assert "simpo" in refused.stderr

    done = lwexp(folder, *command, "plugins=[simpo.py]", "name=simpo", "objective.loss.gamma=0.3")

    assert done.returncode == 0, done.stderr
    (run,) = (folder / "runs").glob("simpo-*")
    rows = metrics(run)
    assert json.loads((run / "config.json").read_text())["objective"]["loss"] == {"kind": "simpo", "gamma": 0.3}
    assert rows[-1]["preference_loss"] < rows[0]["preference_loss"]
    assert "kl" not in rows[0]
    assert {"margin", "accuracy", "chosen_logp"} <= rows[0].keys()
    assert not (run / "reference").exists()
    assert (run / "model" / "model.safetensors").is_file()
