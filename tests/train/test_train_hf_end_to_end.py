"""``model=hf`` from a folder that transformers wrote to a trained folder that transformers and our engine read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lwexp.config.compose import compose
from lwexp.records import Prompt
from lwexp.runs.summaries import read_metrics
from lwexp.train.model.logprobs import pack_logprobs
from tests.train.tiny_packs import make_documents, make_pack, tiny_conversations, train_in

WINDOW = 6  # the packed documents and the prompts below are longer
SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 400, "max_position_embeddings": 256,
    "initializer_range": 0.2, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "qwen3": {},
    "mistral": {"sliding_window": WINDOW},
    "gemma3_text": {
        "sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"], "query_pre_attn_scalar": 8,
        "tie_word_embeddings": True,
    },
    "glm4": {},
}  # fmt: skip
EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-5}
QUESTIONS = ("Count to 9.", "Count to 30, slowly and without a pause between the numbers.")


def save_folder(folder: Path, name: str) -> None:
    """A model of random weights as transformers writes it, beside a tokenizer with ChatML's control tokens."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from lwexp.pack.tokenizer import save_tokenizer, train_tokenizer

    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **{**SIZES, **MODELS[name]}))
    for place, weight in model.named_parameters():  # fresh norms and biases would hide whether they are used
        if weight.dim() == 1:
            torch.nn.init.normal_(weight.data, mean=0.0 if "bias" in place or "gemma" in name else 1.0, std=0.1)
    model.save_pretrained(folder)
    texts = [message.content for row in tiny_conversations() for message in row.messages]
    save_tokenizer(train_tokenizer(texts, 400, "chatml"), folder)
    file = folder / "tokenizer_config.json"  # a folder from elsewhere does not name our chat format
    settings = {key: value for key, value in json.loads(file.read_text()).items() if not key.startswith("lwexp_")}
    file.write_text(json.dumps(settings))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("hf")
    for name in MODELS:
        save_folder(root / name, name)
    return {name: root / name for name in MODELS}


@pytest.mark.parametrize(
    ("name", "adapter"), [*((name, "none") for name in MODELS), ("qwen3", "lora"), ("gemma3_text", "lora")]
)
def test_a_folder_trains_exports_reloads_and_answers_as_under_transformers(
    name: str, adapter: str, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    from lwexp.train.export import model_folder

    trained: list[Any] = []

    def keep(model: Any, *args: Any, **options: Any) -> None:
        trained.append(model)
        model_folder.export_model(model, *args, **options)

    monkeypatch.setattr("lwexp.train.loop.run.export_model", keep)
    config = compose(
        f"root={tmp_path}", "model=hf", f"model.path={folders[name]}", f"model.adapter={adapter}", "hardware=cpu",
        "hardware.threads=1", "pack.max_tokens=200", "objective.global_batch=2", "objective.max_steps=4",
        "objective.optimizer.lr=0.01", "training.log_every_steps=1",
    )  # fmt: skip
    run = train_in(config, rows=tiny_conversations())
    losses = [row["loss"] for row in read_metrics(run.path / "metrics.jsonl")]
    assert len(losses) == 4
    assert losses[-1] < losses[0] - 0.1

    theirs: Any = AutoModelForCausalLM.from_pretrained(run.path / "model", attn_implementation="eager").eval()
    assert theirs.config.model_type == name
    documents = make_documents(4, [23, 11, 17])
    with torch.no_grad():
        packed = pack_logprobs(trained[0].eval(), make_pack(documents))
        alone = []
        for document in documents:
            ids = torch.tensor([document.ids])
            rows = theirs(input_ids=ids).logits[0, document.prompt - 1 : -1].log_softmax(-1)
            alone.append(rows.gather(1, ids[0, document.prompt :, None])[:, 0])
    torch.testing.assert_close(packed, torch.cat(alone), **EXACT)
    if adapter == "lora":
        torch.testing.assert_close(adapted_logits(folders[name], run.path / "adapter"), logits(theirs), **EXACT)
        assert not torch.allclose(
            logits(theirs), logits(AutoModelForCausalLM.from_pretrained(folders[name])), atol=0.01
        )
    else:
        assert not (run.path / "adapter").exists()
    assert greedy_answers(run.path / "model") == [
        reference_answer(theirs.double(), run.path / "model", q) for q in QUESTIONS
    ]


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        made: torch.Tensor = model.eval()(torch.arange(5, 25)[None]).logits
    return made


def adapted_logits(base: Path, adapter: Path) -> torch.Tensor:
    """The adapter folder on the base model, through peft."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    settings = json.loads((adapter / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(base)
    assert (settings["r"], settings["lora_alpha"], settings["task_type"]) == (16, 32.0, "CAUSAL_LM")
    assert set(settings["target_modules"]) == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    return logits(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter))


def greedy_answers(folder: Path) -> list[str]:
    """The questions answered together by our engine."""
    from lwexp.sample.engine import TransformersEngine
    from lwexp.sample.requests import SampleRequest

    sample = compose("sample.max_new_tokens=24", "sample.temperature=0").sample
    prompts = [
        Prompt(id=f"p{n}", text=text, language="en", type="other", required_words=None)
        for n, text in enumerate(QUESTIONS)
    ]
    answers = TransformersEngine(folder).answers([SampleRequest(p.id, p, 0) for p in prompts], sample)
    return [text for _, text in sorted((answer.id, answer.text) for answer in answers)]


def reference_answer(model: Any, folder: Path, question: str) -> str:
    """One question under transformers' own ``generate``, through its own tokenizer class and chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)
    return str(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)).strip()
