"""Doors for folders: runs whose files are damaged, and models whose config or tokenizer is."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from benchmarks.fuzz.fuzzing import Attempt, Door
from benchmarks.fuzz.inputs import Change, Edit, as_json, changed, changes, edited, edits, odd_values
from lwexp.config import compose
from lwexp.llm.ledger import Ledger
from lwexp.llm.ledger_file import Entry
from lwexp.pack.build import build_packs
from lwexp.pack.dataset import PackedDataset
from lwexp.pack.rows import ConversationRows
from lwexp.pack.tokenizer import save_tokenizer, train_tokenizer
from lwexp.records import Conversation, Message, Prompt, Response, Verdict, write_rows
from lwexp.report.load import load
from lwexp.runs import Run, find_run, open_run
from lwexp.runs.artifacts import CONFIG, LEDGER, METRICS, RESPONSES, VERDICTS, EvaluateResults, Manifest
from lwexp.runs.find import list_runs
from lwexp.runs.summaries import JudgeSummary, MixtureSummary, read_metrics
from lwexp.sample.folder_check import check_folder

_OBJECTS = (Manifest.FILE, CONFIG, JudgeSummary.FILE, MixtureSummary.FILE, "metrics.json", "packs/meta.json",
            "packs/checksums.json")  # fmt: skip
_RUN_FILES = (*_OBJECTS, METRICS, RESPONSES, VERDICTS, LEDGER, "lock", "packs/tokens.npy", "packs/packs.npy")
_MESSAGES = (Message(role="user", content="Write about tea."), Message(role="assistant", content="Tea is warm."))


def _make_run(root: Path) -> Path:
    """A finished evaluation with every kind of file that a run may have."""
    config = compose("experiment=smoke")
    run = open_run(
        "evaluate", config.model_copy(update={"root": str(root), "name": "fuzz"}), default_name="x", inputs={}
    )
    with run:
        prompt = Prompt(id="a", text="Write 50 words.", language="en", type="x", required_words=50)
        response = Response.unanswered(prompt, 0, "m", None)
        answer = response.model_copy(update={"text": "Tea is warm.", "words": 3, "finish_reason": "stop"})
        write_rows(run.path / RESPONSES, [answer])
        write_rows(run.path / VERDICTS, [Verdict(response_id=answer.id, kind="length", scorer="S_l", score=10.0)])
        (run.path / METRICS).write_text('{"step": 1, "loss": 2.5, "lr": 0.001}\n')
        (run.path / "metrics.json").write_text("[]")
        JudgeSummary(
            model="m", temperature=0.0, repeats=1, prompt="lwexp", prompt_sha256="0", answers=1, scored=1, unscored={},
            alpha={"S_q": None},
            mean_absolute_difference=None, compared=0,
        ).write(run.path)  # fmt: skip
        MixtureSummary(tally="1 in = 1 kept", table=[], answer_words=[3]).write(run.path)
        with Ledger(run.path / LEDGER) as ledger:
            asyncio.run(ledger.settle("key", Entry("Tea.", "stop", 1, 1, 0.0, 1), model="m", call=None))
        run.finish(EvaluateResults(responses=1, verdicts=1, unscored=0))
    return run.path


def _runs(folder: Path) -> Attempt:
    root = folder / "runs"
    path = _make_run(root)
    tokenizer = train_tokenizer(["Write about tea.", "Tea is warm."], 300, "glm4")
    row = Conversation(id="a", source="x", language="en", messages=_MESSAGES, actual_words=3)
    limits = compose("experiment=smoke").pack
    build_packs([row], ConversationRows(), tokenizer, limits, path / "packs")
    (path / "lock").write_text("1")
    whole = folder / "whole"
    shutil.copytree(path, whole)

    def attempt(case: tuple[str, list[Any]]) -> None:
        name, how = case
        (path / name).write_bytes(_rewritten((whole / name).read_bytes(), how))
        try:
            _read_run(root, path)
            if name.startswith("packs/"):
                PackedDataset(path / "packs")
                build_packs([row], ConversationRows(), tokenizer, limits, path / "packs")
            if name == LEDGER:
                with Ledger(path / LEDGER, root=root) as ledger:
                    ledger.get("key")
                    ledger.totals()
        finally:
            shutil.rmtree(path)
            shutil.copytree(whole, path)

    return attempt


def _read_run(root: Path, path: Path) -> None:
    """Everything that commands and pages read of a run which is not theirs."""
    for run in list_runs(root):
        _ = (run.config, run.config_tree, run.scores, run.seconds, run.state, run.tally, run.name, run.parent_runs())
        _ = (run.number("responses"), JudgeSummary.read(run.path), MixtureSummary.read(run.path))
        read_metrics(run.path / METRICS)
    load([root])
    find_run("fuzz", root=root, stages=("evaluate",), key="run", make_it="x")
    Run.load(path)


def _cases(
    objects: tuple[str, ...], every: tuple[str, ...]
) -> st.SearchStrategy[tuple[str, list[Change] | list[Edit]]]:
    """A file's name, and changes to its values or edits of its bytes."""
    values = st.tuples(st.sampled_from(objects), st.lists(changes(_numbers | odd_values), min_size=1, max_size=3))
    return values | st.tuples(st.sampled_from(every), edits)


def _rewritten(content: bytes, how: list[Any]) -> bytes:
    if how and len(how[0]) == 4:
        return as_json(changed(json.loads(content), how)).encode()
    return edited(content, how)


_numbers: st.SearchStrategy[Any] = st.sampled_from(
    (0, 1, -1, 3, 2**40, 2**63, 2**64, 0.5, float("nan"), float("inf"), "", "x", [], {}, None)
)
_MODEL_OBJECTS = ("config.json", "tokenizer.json", "tokenizer_config.json")


def _models(folder: Path) -> Attempt:
    from transformers import GlmConfig, GlmForCausalLM

    whole, model = folder / "whole", folder / "model"
    tokenizer = train_tokenizer(["Write about tea.", "Tea is warm."], 300, "glm4")
    shape = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 512,
    }  # fmt: skip
    config: Any = GlmConfig(vocab_size=len(tokenizer), pad_token_id=0, bos_token_id=None, eos_token_id=None, **shape)
    GlmForCausalLM(config).save_pretrained(whole)
    save_tokenizer(tokenizer, whole)
    prompts = [Prompt(id="a", text="Write about tea.", language="en", type="x", required_words=50)]
    sample = compose("experiment=smoke").sample.model_copy(update={"max_new_tokens": 16})

    def attempt(case: tuple[str, list[Any]]) -> None:
        name, how = case
        shutil.rmtree(model, ignore_errors=True)
        shutil.copytree(whole, model)
        (model / name).write_bytes(_rewritten((whole / name).read_bytes(), how))
        check_folder(model, prompts, sample)

    return attempt


FOLDER_DOORS: dict[str, Door] = {
    "run": Door(_cases(_OBJECTS, _RUN_FILES), _runs),
    "model": Door(_cases(_MODEL_OBJECTS, (*_MODEL_OBJECTS, "generation_config.json")), _models),
}
