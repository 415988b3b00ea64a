"""The command that starts a server, and how a model is spread over GPUs; no server is started."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lwexp.config import compose
from lwexp.config.evaluate import ServerEngine
from lwexp.records import LwexpError
from lwexp.sample.servers import launch
from lwexp.sample.servers.launch import memory_needed, server_command, spread

GLM = {
    "model_type": "glm", "dtype": "bfloat16", "hidden_size": 4096, "num_hidden_layers": 40, "num_attention_heads": 32,
    "num_key_value_heads": 2, "head_dim": 128,
}  # fmt: skip
ANSWER = 40_000


def engine(*overrides: str, program: str = "vllm") -> ServerEngine:
    made = compose(f"engine={program}", *overrides).engine
    assert isinstance(made, ServerEngine)
    return made


def folder(path: Path, weights: int) -> Path:
    """A model folder whose weights are a file with a hole: it has the size and takes no space."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(GLM), encoding="utf-8")
    with open(path / "model.safetensors", "wb") as file:
        file.truncate(weights)
    return path


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight GPUs of 80 GB, of which a server uses 0.92 * 0.9 * 80e9 = 66.2e9 bytes for weights and answers."""
    monkeypatch.setattr(launch, "num_gpus", lambda: 8)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80_000_000_000))


def test_memory_is_weights_and_one_answer_in_the_served_precision(tmp_path: Path) -> None:
    """Keys and values of a GLM-4-9B token in bf16: 40 layers * 2 * 2 heads * 128 * 2 bytes = 40,960."""
    model = folder(tmp_path, 18_800_000_000)
    assert memory_needed(model, ANSWER, "auto") == 18_800_000_000 + 40_000 * 40_960
    assert memory_needed(model, ANSWER, "float32") == 2 * memory_needed(model, ANSWER, "bfloat16")


@pytest.mark.parametrize(
    ("weights", "overrides", "wanted"),
    [
        (18_800_000_000, [], (1, 8)),  # 20.4e9 bytes
        (140_000_000_000, [], (4, 2)),  # 141.6e9 bytes: 70.8e9 on each of two, 35.4e9 on each of four
        (140_000_000_000, ["engine.dtype=float32"], (8, 1)),  # 283.3e9 bytes: 70.8e9 on each of four
        (18_800_000_000, ["engine.tensor_parallel=2"], (2, 4)),
        (18_800_000_000, ["engine.data_parallel=3"], (1, 3)),
    ],
)  # fmt: skip
def test_a_copy_takes_as_few_gpus_as_it_needs(
    machine: None, tmp_path: Path, weights: int, overrides: list[str], wanted: tuple[int, int]
) -> None:
    assert spread(engine(*overrides), folder(tmp_path, weights), ANSWER) == wanted


def test_a_model_for_more_gpus_than_there_are_is_refused(machine: None, tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match=r"weights and one answer of 40,000 tokens take 560 GiB; 8 GPUs of 69 GiB"):
        spread(engine(), folder(tmp_path, 600_000_000_000), ANSWER)
    with pytest.raises(LwexpError, match="need 16 GPUs, there are 8"):
        spread(engine("engine.tensor_parallel=4", "engine.data_parallel=4"), folder(tmp_path, 1), ANSWER)


def test_each_program_gets_its_own_arguments(machine: None, tmp_path: Path) -> None:
    model = folder(tmp_path, 140_000_000_000)
    keys = ("engine.command=serve", "engine.memory_share=0.8", "engine.options=--x 1")
    vllm = server_command(engine(*keys), model, "n", 9000)
    assert " ".join(vllm) == (
        f"serve --model {model} --served-model-name n --dtype auto --generation-config vllm --tensor-parallel-size 4 "
        "--data-parallel-size 2 --gpu-memory-utilization 0.8 --max-model-len 9000 --x 1"
    )
    sglang = server_command(engine(*keys, program="sglang"), model, "n", 9000)
    assert " ".join(sglang) == (
        f"serve --model-path {model} --served-model-name n --dtype auto --sampling-defaults openai --tp-size 4 "
        "--dp-size 2 --mem-fraction-static 0.8 --context-length 9000 --x 1"
    )


def test_a_program_that_is_not_installed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder called sglang in the working directory is no installation."""
    (tmp_path / "sglang").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LwexpError, match=r"sglang is not installed beside lwexp; set engine.command=.*launch_server"):
        server_command(engine(program="sglang"), tmp_path, "n", ANSWER)
