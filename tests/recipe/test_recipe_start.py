"""``init_from=newest`` is resolved once in a command: a run that finishes in between is not picked up."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lwexp.config import compose
from lwexp.recipe import training


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What ``init_from`` was asked for; each time another run is the newest, as if one finished in between."""
    seen: list[str] = []

    def newest(config: Any) -> Any:
        seen.append(config.init_from)
        return SimpleNamespace(id=f"sft-{len(seen)}", path=tmp_path / f"sft-{len(seen)}")

    monkeypatch.setattr(training, "sft_run", newest)
    monkeypatch.setattr("lwexp.train.planner.readiness.preflight", lambda *_: None)
    monkeypatch.delenv("LWEXP_INIT_FROM", raising=False)
    return seen


def test_the_run_is_trained_from_that_was_checked(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_train", lambda config, start, ranks: start)

    start: Any = training.train(compose("experiment=smoke_dpo"))

    assert start.id == "sft-1"
    assert asked == ["newest"]


def test_ranks_receive_what_the_command_resolved(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = compose("experiment=smoke_dpo", "hardware=cpu_zero3")
    monkeypatch.setattr(training, "start_ranks", lambda *_: 0)
    with pytest.raises(SystemExit):
        training.train(config)

    training._start(config)  # what rank 0, a process of its own with this environment, does

    assert asked == ["newest", str(tmp_path / "sft-1")]
    del os.environ["LWEXP_INIT_FROM"]  # not by monkeypatch, which would put it back for the tests that follow
    training._start(config)
    assert asked[-1] == "newest"  # the control: without it the rank would look again
