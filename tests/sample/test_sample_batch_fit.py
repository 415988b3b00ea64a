"""Memory: how many answers are tried at once, and what happens when they do not fit."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lwexp.config import compose
from lwexp.records import LwexpError, Prompt
from lwexp.sample.engine import TransformersEngine, bytes_a_token, fitting_batch_size
from lwexp.sample.requests import SampleRequest

ASKS = [
    SampleRequest(
        f"q{n}#0", Prompt(id=f"q{n}", text=f"Hello {n} rivers", language="en", type="t", required_words=5), seed=0
    )
    for n in range(9)
]
SAMPLE = compose().sample.model_copy(update={"temperature": 0, "max_new_tokens": 20, "batch_size": 8})


def limited(engine: TransformersEngine, most: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the model fail as CUDA does where more than ``most`` rows come at once; what it saw."""
    forward, seen = engine.model.base_model.forward, []

    def narrow(*args: Any, **options: Any) -> Any:
        seen.append(options["input_ids"].shape[0])
        if seen[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(*args, **options)

    monkeypatch.setattr(engine.model.base_model, "forward", narrow)
    return seen


def test_out_of_memory_halves_until_it_fits_and_changes_no_answer(
    llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TransformersEngine(llama_folder)
    wanted = {answer.id: answer.text for answer in engine.answers(ASKS, SAMPLE)}
    seen = limited(engine, 3, monkeypatch)
    assert {answer.id: answer.text for answer in engine.answers(ASKS, SAMPLE)} == wanted
    assert max(seen) == 8  # tried once
    assert sorted(set(seen) - {1, 2}) == [4, 8]  # then 4, then 2 and less


def test_one_answer_that_does_not_fit_is_one_line(llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TransformersEngine(llama_folder)
    limited(engine, 0, monkeypatch)
    with pytest.raises(LwexpError, match="one answer at a time does not fit into memory"):
        list(engine.answers(ASKS, SAMPLE))


def test_slots_follow_from_free_memory(llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 layers x 2 x 2 heads x 8 x 8 bytes (float64) = 512 a position; of 1 MiB, 45% hold 9 of 100 positions."""
    model = TransformersEngine(llama_folder).model
    assert bytes_a_token(model) == 512

    class Memory:
        available = 2**20

    monkeypatch.setattr("lwexp.sample.engine.psutil.virtual_memory", Memory)
    assert fitting_batch_size(model, 100, at_most=32) == 9
    assert fitting_batch_size(model, 100, at_most=4) == 4
    assert fitting_batch_size(model, 10**6, at_most=32) == 1
