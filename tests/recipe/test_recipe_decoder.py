"""Which program decodes: chosen by what the machine has, said in one line, and kept by a run that has begun."""

import logging
from pathlib import Path

import pytest

from lwexp.config import Config, compose
from lwexp.config.cli import refuse_foreign
from lwexp.config.evaluate import CheckpointEngine, ServerEngine
from lwexp.recipe.answers import require_trained_model
from lwexp.recipe.decoder import with_decoder
from lwexp.records import LwexpError
from lwexp.runs import open_run
from lwexp.runs.identity import run_id
from lwexp.sample.servers import choose_server

NAME, INPUTS = "eval-m", {"run": "sft-00000000"}
FOLDER = "engine.path=models/m"
LARGE, SMALL = 300 * 2**20, 200 * 2**20


def machine(monkeypatch: pytest.MonkeyPatch, *, vllm: bool, gpus: int) -> None:
    monkeypatch.setattr(choose_server, "is_installed", lambda server: vllm and server == "vllm")
    monkeypatch.setattr(choose_server, "num_gpus", lambda: gpus)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Weights that are a file with a hole: it has the size and takes no space."""
    with open(tmp_path / "model.safetensors", "wb") as file:
        file.truncate(LARGE)
    return tmp_path


def chosen(config: Config, model: Path) -> str:
    return with_decoder(config, model, "evaluate", name=NAME, inputs=INPUTS).engine.kind


@pytest.mark.parametrize(
    ("vllm", "gpus", "kind", "said"),
    [
        (True, 8, "server", "decoder: vLLM, started on the model"),
        (True, 0, "checkpoint", "decoder: transformers, in this process (there is no GPU)"),
        (False, 8, "checkpoint", "decoder: transformers, in this process (vLLM is not installed beside lwexp)"),
    ],
)
def test_the_choice_follows_the_machine_and_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, model: Path,
    vllm: bool, gpus: int, kind: str, said: str,
) -> None:  # fmt: skip
    machine(monkeypatch, vllm=vllm, gpus=gpus)
    with caplog.at_level(logging.INFO, "lwexp"):
        assert chosen(compose(f"root={tmp_path}"), model) == kind
    assert [record.getMessage()[: len(said)] for record in caplog.records] == [said]


def test_a_small_model_is_decoded_here(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, model: Path
) -> None:
    machine(monkeypatch, vllm=True, gpus=8)
    with open(model / "model.safetensors", "wb") as file:
        file.truncate(SMALL)
    with caplog.at_level(logging.INFO, "lwexp"):
        assert chosen(compose(f"root={model}"), model) == "checkpoint"
    assert "the model is small" in caplog.text


@pytest.mark.parametrize("override", ["engine.decoder=transformers", "engine=litellm", "engine=sglang", "responses=x"])
def test_an_explicit_choice_is_kept(monkeypatch: pytest.MonkeyPatch, model: Path, override: str) -> None:
    machine(monkeypatch, vllm=True, gpus=8)
    config = compose(f"root={model}", override)
    assert with_decoder(config, model, "evaluate", name=NAME, inputs=INPUTS) is config


def test_the_chosen_server_has_the_settings_of_its_file_and_the_folder(
    monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    machine(monkeypatch, vllm=True, gpus=1)
    engine = with_decoder(compose(FOLDER, "engine.chat=glm4"), model).engine
    assert engine == compose("engine=vllm", FOLDER, "engine.chat=glm4").engine
    assert isinstance(engine, ServerEngine)
    assert (engine.limits.concurrency, engine.limits.timeout_seconds) == (64, 7200.0)


@pytest.mark.parametrize(("begun", "now"), [(True, False), (False, True)], ids=["vLLM went", "vLLM came"])
def test_a_run_that_has_begun_keeps_its_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Path, begun: bool, now: bool
) -> None:
    machine(monkeypatch, vllm=begun, gpus=1)
    config = compose(f"root={tmp_path}")
    before = with_decoder(config, model, "evaluate", name=NAME, inputs=INPUTS)
    folder = open_run("evaluate", before, default_name=NAME, inputs=INPUTS).path
    machine(monkeypatch, vllm=now, gpus=1)
    after = with_decoder(config, model, "evaluate", name=NAME, inputs=INPUTS)
    assert after.engine == before.engine
    assert open_run("evaluate", after, default_name=NAME, inputs=INPUTS).path == folder
    assert chosen(compose(f"root={tmp_path}", "seed=1"), model) == ("server" if now else "checkpoint")


def test_another_program_is_another_run_and_transformers_keeps_its_ids() -> None:
    config = compose()
    assert isinstance(config.engine, CheckpointEngine)
    ids = {name: run_id("evaluate", compose(*name.split()), {}) for name in ("seed=0", "engine=vllm", "engine=sglang")}
    assert len(set(ids.values())) == 3
    assert run_id("evaluate", compose("engine.decoder=transformers"), {}) == ids["seed=0"]


@pytest.mark.parametrize("override", ["engine=checkpoint", "engine=vllm", "engine=sglang"])
def test_a_training_run_chooses_who_answers_when_it_is_evaluated(override: str) -> None:
    refuse_foreign("train", [override])
    require_trained_model(compose(override).engine)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["engine=vllm", FOLDER], FOLDER),
        ([FOLDER], FOLDER),
        (["engine=litellm"], "engine.model=openai/gpt-4o"),
        (["engine=vllm", "engine.base_url=http://h:1/v1", "engine.model=m"], "engine.model=hosted_vllm/m"),
    ],
)
def test_a_training_run_is_not_evaluated_with_another_model(overrides: list[str], named: str) -> None:
    with pytest.raises(LwexpError, match=f"{named}: evaluate_after=true evaluates the model that this run trains"):
        require_trained_model(compose(*overrides).engine)
