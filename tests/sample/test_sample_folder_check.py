"""A model folder that could not answer is refused in the dry run, and before its weights are read."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lwexp.config import compose
from lwexp.config.evaluate import ServerEngine
from lwexp.recipe.evaluation import evaluate
from lwexp.records import LwexpError, Prompt
from lwexp.sample import slot_attention
from lwexp.sample.collect import collect
from lwexp.sample.folder_check import check_folder, context_for, decoding_problem
from lwexp.train.model.admission import miniature
from tests.sample.test_sample_architectures import MODELS, model_of

PROMPTS = [Prompt(id="p", text="Write 10 words on tea.", language="en", type="t", required_words=10)]


def sampling(most: int) -> object:
    return compose(f"sample.max_new_tokens={most}").sample


def server(*overrides: str) -> ServerEngine:
    engine = compose("engine=vllm", *overrides).engine
    assert isinstance(engine, ServerEngine)
    return engine


@pytest.mark.parametrize(
    ("positions", "overrides", "prompt", "answer", "wanted"),
    [
        (131_072, (), 100, 1200, 2048),  # 1,300 rounded up to a multiple of 1,024
        (131_072, (), 24, 1000, 1024),
        (4090, (), 100, 3950, 4090),  # 4,096 is more than the model has
        (None, (), 100, 3950, 4096),
        (131_072, ("engine.context=1500",), 100, 1200, 1500),
    ],
)  # fmt: skip
def test_a_server_gets_the_context_that_its_answers_need(
    positions: int | None, overrides: tuple[str, ...], prompt: int, answer: int, wanted: int
) -> None:
    assert context_for(server(*overrides), positions, prompt, answer) == wanted


def test_a_server_whose_context_is_too_small_is_refused_before_it_starts() -> None:
    with pytest.raises(LwexpError, match=r"exceeds the 1,299 positions of the server \(engine.context=1299\)"):
        context_for(server("engine.context=1299"), None, 100, 1200)
    assert context_for(server("engine.context=1300"), None, 100, 1200) == 1300
    with pytest.raises(LwexpError, match="exceeds the 1,299 positions of the model"):
        context_for(server(), 1299, 100, 1200)


def test_the_dry_run_names_the_context_of_a_server_that_lwexp_starts(glm_folder: Path) -> None:
    """The model has 512 positions, so that no multiple of 1,024 fits."""
    line = check_folder(glm_folder, PROMPTS, sampling(400), server=server())  # type: ignore[arg-type]
    assert line.splitlines()[1:] == ["server   vllm is started with a context of 512 tokens"]
    given = server("engine.base_url=http://127.0.0.1:1/v1", "engine.model=m")
    assert "\n" not in check_folder(glm_folder, PROMPTS, sampling(400), server=given)  # type: ignore[arg-type]


def test_a_folder_that_can_answer_is_described(glm_folder: Path) -> None:
    line = check_folder(glm_folder, PROMPTS, sampling(20))  # type: ignore[arg-type]
    assert "glm, 0.00 GiB of weights" in line
    assert "512 positions; the longest prompt has " in line


def test_the_memory_of_the_longest_answers_is_planned(glm_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 layers x 2 x 2 heads x 8 numbers x 8 bytes (float64) = 0.5 KiB a token. Of 1 MiB beside the weights, 45% hold
    921 tokens: two answers of 400 with their prompts. 16 KiB hold none."""
    weights = 2 * sum(file.stat().st_size for file in glm_folder.glob("*.safetensors"))  # float64 from float32
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2**20 + weights))
    line = check_folder(glm_folder, PROMPTS, sampling(400)).splitlines()[1]  # type: ignore[arg-type]
    assert line.startswith("memory   keys and values of 0.5 KiB a token")
    assert "2 of sample.batch_size=32 at once" in line
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2**14 + weights))
    assert "not even one fits" in check_folder(glm_folder, PROMPTS, sampling(400))  # type: ignore[arg-type]
    served = check_folder(glm_folder, PROMPTS, sampling(400), server=server())  # type: ignore[arg-type]
    assert "memory" not in served


def test_answers_beyond_the_positions_are_refused_before_weights_are_read(glm_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(glm_folder, tmp_path / "model")
    for file in folder.glob("*.safetensors"):
        file.write_bytes(b"not weights")
    with pytest.raises(LwexpError, match=r"exceeds the [\d,]+ positions of .*; set sample.max_new_tokens=\d+ or less"):
        collect(
            PROMPTS, model=folder, model_name="m", sample=sampling(10**6), seed=0,  # type: ignore[arg-type]
            out=tmp_path / "responses.jsonl",
        )  # fmt: skip


def test_weights_beyond_the_memory_are_refused(glm_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(LwexpError, match="serve it where it fits"):
        check_folder(glm_folder, PROMPTS, sampling(20))  # type: ignore[arg-type]
    served = check_folder(glm_folder, PROMPTS, sampling(20), server=server())  # type: ignore[arg-type]
    assert served.startswith("model    ")


def test_a_dry_run_of_evaluate_looks_at_the_folder(
    glm_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It used to promise 32,768 tokens an answer from a model of a few hundred positions."""
    asked = ("experiment=smoke", f"root={tmp_path}", "dry_run=true")
    evaluate(compose(*asked, f"engine.path={glm_folder}", "sample.max_new_tokens=20"))
    assert f"model    {glm_folder}: glm" in capsys.readouterr().out
    with pytest.raises(LwexpError, match=r"set sample.max_new_tokens"):
        evaluate(compose(*asked, f"engine.path={glm_folder}", "sample.max_new_tokens=32768"))
    with pytest.raises(LwexpError, match="holds no model"):
        evaluate(compose(*asked, f"engine.path={tmp_path / 'nothing'}", "sample.max_new_tokens=20"))


@pytest.mark.parametrize("name", ["qwen3", *MODELS])
def test_an_architecture_is_decoded_as_transformers_computes_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = model_of(name).config
    small = miniature(config)
    assert decoding_problem(small) is None
    if not getattr(config, "sliding_window", None) or name == "qwen3":
        return

    def forgets_the_window(*args: Any, **options: Any) -> Any:
        return attend(*args, **options | {"sliding_window": None})

    attend = slot_attention.attend
    monkeypatch.setattr(slot_attention, "attend", forgets_the_window)
    assert "log-probs differ by" in str(decoding_problem(small))


def test_a_folder_that_would_be_decoded_wrongly_is_refused_before_a_run(
    glm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sharper(*args: Any, **options: Any) -> Any:
        return attend(*args, **options | {"scaling": 2 * options["scaling"]})

    attend = slot_attention.attend
    monkeypatch.setattr(slot_attention, "attend", sharper)
    asked = ("experiment=smoke", f"root={tmp_path}", f"engine.path={glm_folder}", "sample.max_new_tokens=20")
    for more in ((), ("dry_run=true",)):
        with pytest.raises(LwexpError, match=r"glm computes something .* serve it with vLLM \(engine=vllm\)") as error:
            evaluate(compose(*asked, *more))
        assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("responses.jsonl"))
