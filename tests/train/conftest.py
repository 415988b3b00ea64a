"""One finished SFT run that several tests look at."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from lwexp.records import stop_handlers_restored
from tests.train.tiny_packs import tiny_config, tiny_conversations, train_in

logging.getLogger("lwexp").setLevel(logging.INFO)  # as in the commands: runs' log.txt is read here


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tests run side by side; torch's waiting threads would fight over two cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A run that was told to stop ignores further signals, which the process of the tests must not."""
    with stop_handlers_restored():
        yield


@pytest.fixture(scope="session")
def sft_run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    config = tiny_config(tmp_path_factory.mktemp("sft"), "objective.optimizer.lr=0.02", "objective.epochs=60")
    return train_in(config, rows=tiny_conversations())
