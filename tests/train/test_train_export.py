"""python -m lwexp.export: folders that plain transformers opens, cards that say what is known, mistakes in one line."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from lwexp.export import main
from lwexp.extend import CHAT_FORMATS
from lwexp.pack.chat import encode_prompt
from lwexp.pack.tokenizer import load_tokenizer
from lwexp.records import Message
from tests.made_runs import make_run
from tests.train.tiny_packs import tiny_config, tiny_conversations


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's console log would stay on the logger of this process."""
    monkeypatch.setattr("lwexp.runs.logs.console_log", lambda: None)


def logits(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        return model(torch.arange(5, 25)[None]).logits


@pytest.fixture
def evaluated(sft_run: Any, tmp_path: Path) -> Path:
    """A copy of a finished run beside a finished evaluation of it, as evaluate.py leaves one."""
    root = tmp_path / "runs"
    shutil.copytree(sft_run.path, root / sft_run.id)
    folder = root / "eval-tiny-00000001"
    folder.mkdir()
    manifest = {
        "id": folder.name, "name": "eval-tiny", "stage": "evaluate", "status": "finished", "labels": {},
        "created": "2026-01-01", "parents": [{"id": sft_run.id, "path": str(sft_run.path)}], "inputs": {},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    model = {"S_l": 81.25, "S_q": None, "n": 192, "n_unscored": 3}
    (folder / "summary.json").write_text(json.dumps({"bench": "miniature v1", "judge": None, "models": {"t": model}}))
    return root


def test_a_finished_run_in_small_shards_gives_equal_logits(sft_run: Any, evaluated: Path) -> None:
    out = evaluated.parent / "out"
    assert main([f"run={sft_run.id}", f"root={evaluated}", f"out={out}", "shard_size=30KB"]) == 0
    assert len(list(out.glob("model-*-of-*.safetensors"))) > 1
    assert torch.equal(logits(out), logits(sft_run.path / "model"))
    tokenizer = load_tokenizer(out)
    messages = [Message(role="user", content="Count to 9.")]
    text = [{"role": "user", "content": "Count to 9."}]
    rendered = tokenizer.apply_chat_template(text, add_generation_prompt=True, tokenize=True)["input_ids"]
    assert list(rendered) == encode_prompt(tokenizer, CHAT_FORMATS["glm4"](), messages).tolist()
    settings = json.loads((out / "generation_config.json").read_text())
    assert len(settings["eos_token_id"]) == 3
    assert "max_new_tokens" not in settings


@pytest.mark.parametrize("shards", [[], ["shard_size=30KB"]], ids=["copied", "written"])
def test_a_full_disk_is_one_plain_line(
    sft_run: Any, evaluated: Path, shards: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit of 20,000 bytes a file stands in for the full disk."""
    out = evaluated.parent / "out"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        code = main([f"run={sft_run.id}", f"root={evaluated}", f"out={out}", *shards])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    words = "cannot write the model to {}: File too large; free some space or set out=<folder>"
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert (code, error) == (2, f"error: {words.format(out)}")
    assert not out.exists()


def test_the_card_has_lineage_licence_and_the_scores_of_finished_evaluations(sft_run: Any, evaluated: Path) -> None:
    from huggingface_hub import ModelCard

    assert main([f"run={evaluated / sft_run.id}"]) == 0
    card = ModelCard.load(evaluated / sft_run.id / "export" / "README.md")
    (score,) = card.data.eval_results
    assert (score.metric_type, score.metric_value, score.dataset_name) == ("S_l", 81.25, "miniature v1")
    assert "| miniature v1 | S_l | 81.2 | - | 192 | 0 | `eval-tiny-00000001` |" in card.text
    assert f"config hash `{sft_run.id.rsplit('-', 1)[-1]}`" in card.text
    assert "initialised at random; no base model's licence applies" in card.text
    assert card.data.license is None


def test_licences_of_the_papers_models_and_of_a_local_folder(tmp_path: Path) -> None:
    from lwexp.train.export.card import base_licence

    assert base_licence("meta-llama/Llama-3.1-8B") == ("llama3.1", None, None)
    glm = base_licence("zai-org/glm-4-9b-hf")
    assert glm is not None
    assert glm.name == "glm-4"
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    assert base_licence(str(tmp_path)) == ("apache-2.0", None, None)
    assert base_licence(str(tmp_path / "nothing")) is None


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_an_unfinished_run_gives_its_newest_checkpoint(tmp_path: Path, adapter: str) -> None:
    """The same training, finished, is the witness: its last checkpoint holds the weights that it exports."""
    from lwexp.runs import open_run
    from lwexp.train.export.model_folder import has_model
    from lwexp.train.loop.run import train_run

    config = tiny_config(
        tmp_path, f"model.adapter={adapter}", "objective.max_steps=4", "training.checkpoint_every_steps=2"
    )
    run = open_run("train", config, default_name="tiny", inputs={})
    kept = tmp_path / "kept"

    real = shutil.rmtree

    def keeping(path: Any, **options: Any) -> None:
        if Path(path).name == "checkpoints":
            shutil.copytree(path, kept)
        real(path, **options)

    with pytest.MonkeyPatch.context() as patch, run:
        patch.setattr(shutil, "rmtree", keeping)
        train_run(config, run, rows=tiny_conversations())
        run.leave()
    assert has_model(run.path / "model")
    finished = logits(run.path / "model")
    shutil.copytree(kept, run.path / "checkpoints")
    names = sorted(path.name for path in kept.glob("step-*"))
    out = tmp_path / "out"
    assert main([f"run={run.path}", f"out={out}"]) == 0
    assert torch.equal(logits(out), finished)
    assert main([f"run={run.path}", f"out={out}", f"checkpoint={names[0]}"]) == 0
    assert not torch.equal(logits(out), finished)  # negative control: two steps earlier


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run=nobody"], "run=nobody: no run is called nobody under"),
        (["model=x"], "no such option; there are run="),
        (["run="], "run needs a value"),
        (["run={run}", "shard_size=big"], "wanted a number with KB, MB or GB"),
        (["run={run}", "push_to_hub=a/b/c"], "wanted <owner>/<name>"),
        (["run={run}", "push_to_hub=me/model"], "HF_HUB_OFFLINE=1 forbids access to the hub"),
        (["run={run}", "checkpoint=step-9"], "has no such checkpoint; there: none"),
        (["run={run}", "out={run}"], "the folder contains something other than a model"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    words: list[str], said: str, sft_run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    given = [word.format(run=sft_run.path) for word in words]
    assert main([*given, f"root={sft_run.path.parent}"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_pushing_asks_for_a_private_repository(
    sft_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Up to the request: nothing here reaches a hub. A refused connection is one line and keeps the folder."""
    import httpx
    from huggingface_hub import HfApi

    asked: list[tuple[str, bool]] = []

    def create(_: Any, repo: str, *, private: bool, **__: Any) -> None:
        asked.append((repo, private))

    def refuse(*_: Any, **__: Any) -> None:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_not_a_token")
    monkeypatch.setattr(HfApi, "create_repo", create)
    monkeypatch.setattr(HfApi, "upload_folder", refuse)
    out = tmp_path / "out"
    assert main([f"run={sft_run.path}", f"out={out}", "push_to_hub=me/model"]) == 2
    assert asked == [("me/model", True)]
    assert "the hub cannot be reached (ConnectError); the model is in" in capsys.readouterr().err
    assert (out / "config.json").is_file()


def test_the_parents_of_a_run_whose_tree_was_moved_are_found_beside_it(tmp_path: Path) -> None:
    """A DPO checkpoint needs the model of its SFT run, and the card names the teacher of its data."""
    from lwexp.recipe.export import _start_of
    from lwexp.runs import Run
    from lwexp.train.export.card import _lineage

    gone = tmp_path / "before"
    parents = [{"id": id, "path": str(gone / id)} for id in ("data-1", "sft-2")]
    root = tmp_path / "after"
    data = make_run(root, "data-1", "data", "finished")
    (data / "config.json").write_text(json.dumps({"teacher": {"model": "gpt-x"}}))
    sft = make_run(root, "sft-2", "train", "finished")
    dpo = Run.load(make_run(root, "dpo-3", "train", "failed", parents=parents, inputs={"init_from": "sft-2"}))
    assert _start_of(dpo) == sft / "model"
    assert "- made from run `data-1`, teacher `gpt-x`" in _lineage(dpo)
