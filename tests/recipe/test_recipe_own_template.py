"""Training on the tokenizer's own template: its text is part of the run, and the export renders what was trained."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig

from lwexp.config import compose
from lwexp.config.evaluate import SampleConfig
from lwexp.recipe import answers, training
from lwexp.records import LwexpError, Prompt
from lwexp.report.groups import Group
from lwexp.runs.artifacts import EvaluateResults
from lwexp.sample.engine import TransformersEngine
from lwexp.sample.requests import SampleRequest
from tests.pack.own_templates import DATED_BY_CLOCK, PLAIN, WITH_DEFAULT, own_folder, rendered
from tests.pack.pack_rows import turns
from tests.train.tiny_packs import tiny_config

ROWS = [{"messages": [{"role": "user", "content": f"Say {n}."}, {"role": "assistant", "content": f"{n} it is."}]}
        for n in range(8)]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in ROWS))
    return file


def config_of(root: Path, data: Path, folder: Path, chat: str = "own") -> Any:
    LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, vocab_size=400, max_position_embeddings=512,
    ).save_pretrained(folder)  # fmt: skip
    return tiny_config(
        root, "model=tiny_llama", "mixture=file", f"mixture.path={data}", f"model.chat={chat}",
        "model.tokenizer=from_path", f"model.path={folder}", "objective.max_steps=1", "hardware=cpu",
        "model.shape.num_hidden_layers=1",
    )  # fmt: skip


def test_what_is_trained_is_what_the_export_renders(tmp_path: Path, data: Path) -> None:
    """From the folder of a model with a default system message to the prompt of the exported model."""
    base = own_folder(tmp_path / "base", WITH_DEFAULT)
    run = training.train(config_of(tmp_path / "runs", data, base))
    assert run is not None
    export = run.path / "model"
    theirs = AutoTokenizer.from_pretrained(base)
    question = turns("Say 3.")
    tokens = np.load(run.path / "packs" / "tokens.npy").tolist()

    assert (export / "chat_template.jinja").read_text() == WITH_DEFAULT
    assert json.loads((run.path / "packs" / "meta.json").read_text())["chat"] == "own"
    prompt = rendered(theirs, question, add_generation_prompt=True)
    assert rendered(AutoTokenizer.from_pretrained(export), question, add_generation_prompt=True) == prompt
    trained = rendered(theirs, turns("Say 3.", "3 it is."))
    assert trained[: len(prompt)] == prompt
    assert any(tokens[at : at + len(trained)] == trained for at in range(len(tokens)))
    assert theirs.convert_tokens_to_ids("<|im_end|>") in GenerationConfig.from_pretrained(export).eos_token_id
    engine = TransformersEngine(export)
    prompt_row = Prompt(id="a", text="Say 3.", language="en", type="t", required_words=None)
    assert engine._encode(prompt_row) == prompt
    sample = SampleConfig(temperature=0.0, max_new_tokens=2)
    assert [answer.id for answer in engine.answers([SampleRequest("a", prompt_row, 0)], sample)] == ["a"]


def test_the_template_is_part_of_the_run_only_with_own(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[dict[str, str]] = []

    def record(*_: object, inputs: dict[str, str], **__: object) -> None:
        opened.append(inputs)
        raise LwexpError("recorded")

    monkeypatch.setattr(training, "open_run", record)
    plain, other = own_folder(tmp_path / "plain", PLAIN), own_folder(tmp_path / "other", WITH_DEFAULT)
    for folder, chat in ((plain, "own"), (plain, "own"), (other, "own"), (plain, "chatml"), (other, "chatml")):
        with pytest.raises(LwexpError, match="recorded"):
            training.train(config_of(tmp_path, data, folder, chat))

    first, again, another, replaced, replaced_too = opened
    assert first == again
    assert first["chat_template"] != another["chat_template"]
    assert "chat_template" not in replaced
    assert replaced == replaced_too


def test_a_fitted_tokenizer_has_no_template(tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match=r"model.chat: own is the template that comes with a tokenizer"):
        tiny_config(tmp_path, "model=tiny_llama", "model.chat=own")


def test_an_evaluation_says_which_template_rendered_its_prompts(tmp_path: Path) -> None:
    """A folder that is no run of lwexp: its own template unless engine.chat says otherwise."""
    folder, dated = own_folder(tmp_path / "a", PLAIN), own_folder(tmp_path / "b", DATED_BY_CLOCK, "llama31")

    def named(*overrides: str) -> str | None:
        return answers.chat_template(compose("engine=checkpoint", f"engine.path={folder}", *overrides), None)

    assert named() == "own"
    assert named("engine.chat=chatml") == "chatml"
    assert named("responses=answers.jsonl") is None
    assert answers.chat_template(compose("engine=litellm"), None) == "server"
    with pytest.raises(LwexpError, match=r"writes the date of the day; set it, such as model.chat.date"):
        named(f"engine.path={dated}")
    options = ("engine.chat=own", "engine.chat.date='1 May 2025'")
    assert named(f"engine.path={dated}", *options) == "own, date='1 May 2025'"


def test_the_report_names_the_templates(tmp_path: Path) -> None:
    def group_of(**templates: str | None) -> Group:
        def results(template: str | None) -> Any:
            return lambda _: EvaluateResults(responses=1, verdicts=1, unscored=0, template=template)

        models = [SimpleNamespace(label=name, node=SimpleNamespace(results=results(template)))
                  for name, template in templates.items()]  # fmt: skip
        return Group("bench", None, tuple(models))  # type: ignore[arg-type]

    assert group_of(a="own", b="own").templates == "Chat template of the prompts: the model's own."
    assert group_of(a="own, date='1 May'", b="chatml", c="server", d=None).templates == (
        "Chat template of the prompts: the model's own with date='1 May' (a); chatml (b); the server's (c)."
    )
    assert group_of(a=None).templates == ""
