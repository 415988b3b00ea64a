"""examples/qwen3: a model family from outside the repository, against transformers' own Qwen3."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lwexp.config import compose
from lwexp.extend import FAMILIES
from lwexp.extend.plugins import _loaded
from lwexp.train.model.build import build_model
from lwexp.train.model.dimensions import model_sizes, published_models
from lwexp.train.model.logprobs import pack_logprobs
from tests import forked
from tests.train.tiny_packs import NoTokenizer, make_documents, make_pack

EXAMPLE = Path(__file__).parents[2] / "examples" / "qwen3"
SMALL = (
    "model=tiny_qwen3", "model.shape.hidden_size=32", "model.shape.intermediate_size=48",
    "model.shape.num_hidden_layers=2", "model.shape.head_dim=12", "model.shape.vocab_size=600", "hardware=cpu",
)  # fmt: skip


def lwexp(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return forked.run([sys.executable, "-m", "lwexp", *words], cwd=folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLE, tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def config(folder: Path) -> Iterator[Any]:
    """The small model's config, with the plugin loaded in this process."""
    yield compose(f"plugins=[{folder / 'qwen3.py'}]", *SMALL).model
    FAMILIES.remove("qwen3")
    _loaded.clear()


def test_a_family_is_at_most_forty_lines() -> None:
    assert len((EXAMPLE / "qwen3.py").read_text().splitlines()) <= 40


def test_it_trains_and_its_export_is_transformers_own_class(folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    data = lwexp(folder, "generate", "experiment=smoke")
    assert data.returncode == 0, data.stderr
    steps = ("objective.max_steps=3", "objective.global_batch=2", "pack.max_tokens=1024", "training.log_every_steps=1")
    done = lwexp(folder, "train", "plugins=[qwen3.py]", *SMALL, *steps)
    assert done.returncode == 0, done.stderr
    (model,) = (folder / "runs").glob("*/model")

    # From another folder: the run knows where its plugin lies.
    exported = lwexp(folder.parent, "export", f"run={model.parent}", "out=exported")
    assert exported.returncode == 0, exported.stderr
    loaded = AutoModelForCausalLM.from_pretrained(folder.parent / "exported")
    assert type(loaded).__name__ == "Qwen3ForCausalLM"
    assert sum(parameter.numel() for parameter in loaded.parameters()) == planned_parameters(folder)
    chat = AutoTokenizer.from_pretrained(model).apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    assert chat == "<|im_start|>user\nx<|im_end|>\n"


def planned_parameters(folder: Path) -> int:
    """N of the planner, to the parameter."""
    code = (
        "from lwexp.config import compose; from lwexp.train.model.dimensions import model_sizes;"
        f"print(model_sizes(compose('plugins=[qwen3.py]', *{SMALL}).model).parameters)"
    )
    return int(forked.run([sys.executable, "-c", code], cwd=folder).stdout)


def test_without_the_plugin_the_family_is_unknown(folder: Path) -> None:
    """Negative control; it is never Llama by default."""
    done = lwexp(folder, "train", "model=tiny_llama", "model.family=qwen3")
    assert done.returncode == 2
    assert "model.family: 'qwen3' is not a known model family; there are glm, llama" in done.stderr


def test_parameters_of_the_published_model_are_transformers_own(config: Any) -> None:
    from transformers import AutoModelForCausalLM, Qwen3Config

    published = published_models()["Qwen/Qwen3-8B"]
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
             "head_dim", "vocab_size")  # fmt: skip
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(Qwen3Config(**{n: getattr(published.sizes, n) for n in names}))
    assert published.sizes.parameters == sum(parameter.numel() for parameter in model.parameters()) == 8_190_735_360
    assert published.licence.id == "apache-2.0"


@pytest.mark.parametrize("fuse", ["eager", "compile"])
def test_packed_logprobs_are_transformers_own_for_each_document(
    config: Any, fuse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The witness runs one document at a time, with its own eager attention and its own norms. Inductor's C++, which
    takes half a minute, is left out of the compiled case."""
    from functools import partial

    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    model = build_model(config, NoTokenizer(), seed=0, dtype=torch.float64, fuse=fuse)
    with torch.no_grad():
        for parameter in model.parameters():  # norm weights are 1 and would hide a norm that is left out
            parameter.add_(torch.linspace(-0.3, 0.3, parameter.shape[-1]))
    plain: Any = model
    theirs = AutoModelForCausalLM.from_config(plain.config, dtype=torch.float64, attn_implementation="eager")
    theirs.load_state_dict(model.state_dict())
    documents = make_documents(0, [9, 23, 4])

    expected = []
    for document in documents:
        logits = theirs(torch.tensor([document.ids]), use_cache=False).logits[0].log_softmax(-1)
        expected += [logits[t - 1, document.ids[t]] for t in range(document.prompt, len(document.ids))]
    ours = pack_logprobs(model, make_pack(documents))
    torch.testing.assert_close(ours, torch.stack(expected), rtol=0, atol=1e-6)
    wrong = pack_logprobs(model, make_pack([documents[0]._replace(ids=documents[0].ids + documents[1].ids[:3])]))
    assert (wrong[-3:] - ours[6:9]).abs().max() > 1e-3  # negative control: a document that goes on is another one


def test_a_lora_adapter_is_counted_for_every_matrix(config: Any) -> None:
    """r 16 on q 32+48, k and v 32+24, o 48+32, gate, up and down 32+48, in two layers: 16 * 512 * 2."""
    adapted = config.model_copy(update={"adapter": "lora"})
    assert model_sizes(adapted).adapter_parameters == 16 * (80 + 56 + 56 + 80 + 3 * 80) * 2
