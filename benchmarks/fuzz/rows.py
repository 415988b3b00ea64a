"""Doors for files of rows: imports, instructions and templates, benches, and answers of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from benchmarks.fuzz.fuzzing import Attempt, Door
from benchmarks.fuzz.inputs import damaged, files, texts
from lwexp.benches.file import FileBench
from lwexp.config import compose
from lwexp.config.data import GenerateConfig
from lwexp.extend.word_range import WordRange
from lwexp.generate.instructions import read_instructions
from lwexp.generate.prompts import load_templates
from lwexp.generate.select import screened
from lwexp.mix.files import FILE_ENDINGS, read_file
from lwexp.mix.importer import _open, _write
from lwexp.records import Prompt
from lwexp.sample.external_responses import read_responses
from lwexp.sample.pairing import Paired
from lwexp.score.given_scores import GivenScores, given_verdicts

_TURNS = [{"role": "user", "content": "Write 20 words about tea."}, {"role": "assistant", "content": "Tea is warm."}]
CONVERSATIONS: list[dict[str, Any]] = [
    {"id": "a", "messages": [{"role": "system", "content": "Be brief."}, *_TURNS], "source": "mine", "weight": 1},
    {"conversations": [{"from": "human", "value": "Hello there"}, {"from": "gpt", "value": "Hi."}], "system": "s"},
    {
        "instruction": "Write", "input": "about tea", "output": "Tea is warm.", "history": [["a", "b"]],
        "required_words": 20, "provenance": '{"teacher": "x"}', "language": "en",
    },
    {"prompt": _TURNS[:1], "chosen": _TURNS[1:], "rejected": [{"role": "assistant", "content": "No."}]},
    {"prompt": "Write 20 words.", "chosen": "Tea is warm.", "rejected": "No.", "chosen_score": 4.5, "margin": 1},
    {"prompt": _TURNS[:1], "completion": _TURNS[1:], "label": True, "kto_tag": False},
    {"messages": _TURNS, "rejected_messages": _TURNS, "tools": "[]", "images": []},
    {"query": "Write 20 words.", "response": "Tea is warm.", "history": [], "system": "", "rejected_response": "No."},
    {"conversation": _TURNS, "conversation_hash": "f", "toxic": False, "openai_moderation": [{"flagged": False}],
     "redacted": False, "turn": 1, "timestamp": "2024-01-01"},
]  # fmt: skip
INSTRUCTIONS: list[dict[str, Any]] = [
    {"id": "a", "text": "Write 300 words about tea.", "language": "en", "source": "mine", "required_words": 300},
    {"prompt": "请写300字，关于茶。", "length": 300},
]
PROMPTS: list[dict[str, Any]] = [
    {"prompt": "Write 50 words about tea.", "length": 50, "type": "essay", "id": "a", "language": "en"},
    {"prompt": "请写300字，关于茶。", "length": 300, "length_kind": "between", "length_range": [200, 400]},
]
_SCORES = dict.fromkeys(("Relevance", "Accuracy", "Coherence", "Clarity", "Breadth and Depth", "Reading Experience"), 4)
ANSWERS: list[dict[str, Any]] = [
    {"prompt": "Write 50 words about tea.", "response": "Tea.", "finish_reason": "stop", "model": "m", "repeat": 0},
    {"prompt": "Write 50 words about tea.", "response": "Tea.", "length": 50, "response_length": 1, "scores": _SCORES},
    {"prompt": "Write 50 words about tea.", "response": "<think>a</think>Tea.", "sampling": {"temperature": 0.5}},
    {"id": "a", "bench": "fuzz", "response": "Tea is warm.", "reasoning": "r"},
    {"doc": {"prompt": "Write 50 words about tea."}, "resps": [["Tea."]], "filtered_resps": ["Tea."], "doc_id": 0},
    {"custom_id": "a", "response": {"body": {"choices": [{"message": {"content": "Tea."}, "finish_reason": "stop"}]}}},
    {
        "id": 1, "epoch": 1, "input": [{"role": "user", "content": "Write 50 words about tea."}],
        "output": {"choices": [{"message": {"content": "Tea."}, "stop_reason": "stop"}]},
    },
    {"instruction": "Write 50 words about tea.", "output": "Tea.", "generator": "m"},
    {"messages": _TURNS, "model": "m"},
]  # fmt: skip
_RANGES = (WordRange(low=0, high=20_000),)
_BENCH = (Prompt(id="a", text="Write 50 words about tea.", language="en", type="essay", required_words=50),)


def _import(folder: Path) -> Attempt:
    config = compose("task=import", "source=x")

    def attempt(case: tuple[str, bytes]) -> None:
        ending, content = case
        path = folder / f"rows{ending}"
        path.write_bytes(content)
        source = _open(config.model_copy(update={"source": str(path)}))
        _write(config, source, folder)

    return attempt


def _instructions(folder: Path) -> Attempt:
    config = compose("task=select", "source=x", "teacher=offline").select
    prompts = folder / "prompts"
    prompts.mkdir()
    templates = GenerateConfig.model_validate_json(
        compose().generate.model_copy(update={"prompts": str(prompts)}).model_dump_json()
    )

    def attempt(case: tuple[str, str, bytes]) -> None:
        what, ending, content = case
        path = folder / f"rows{ending}"
        path.write_bytes(content)
        if what == "instructions":
            read_instructions(path, count=None)
        elif what == "select":
            list(screened(read_file(path), config, "fuzz"))
        else:
            for language in ("en", "zh"):
                for step in ("plan", "write"):
                    (prompts / f"{step}_{language}.txt").write_bytes(content)
            load_templates(templates)

    return attempt


_TEMPLATE = b"Write $INST$ with $PLAN$ after $TEXT$ now $STEP$. $PRICE$ 100$"


@st.composite
def _instruction_cases(draw: st.DrawFn) -> tuple[str, str, bytes]:
    what = draw(st.sampled_from(("instructions", "instructions", "select", "templates")))
    if what == "templates":
        return what, ".txt", draw(damaged(st.just(_TEMPLATE[: draw(st.integers(40, len(_TEMPLATE)))])))
    if what == "select":
        return what, *draw(files(CONVERSATIONS + INSTRUCTIONS, FILE_ENDINGS))
    return what, ".jsonl", draw(files(INSTRUCTIONS, (".jsonl",)))[1]


def _benches(folder: Path) -> Attempt:
    def attempt(case: tuple[tuple[str, bytes], dict[str, str], bool]) -> None:
        (ending, content), fields, has_english = case
        (folder / f"bench{ending}").write_bytes(content)
        (folder / "english.jsonl").write_bytes(content)
        FileBench(
            name="fuzz", version="1", path=str(folder), filename=f"bench{ending}", fields=fields, ranges=_RANGES,
            english_prompts_file="english.jsonl" if has_english else None,
        ).prompts()  # fmt: skip

    return attempt


def _answers(folder: Path) -> Attempt:
    def attempt(case: tuple[str, bytes]) -> None:
        ending, content = case
        path = folder / f"answers{ending}"
        path.write_bytes(content)
        scored: list[tuple[str, Paired]] = []
        read_responses(path, _BENCH, bench="fuzz", failures=[], scored=scored)
        given_verdicts(
            {id: GivenScores(one.place, one.answer.judge or "other", one.answer.scores) for id, one in scored}
        )

    return attempt


_ANSWER_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".eval", ".jsonl.gz")
_FIELDS = st.dictionaries(st.sampled_from(("prompt", "length", "type")), texts, max_size=1)
ROW_DOORS: dict[str, Door] = {
    "import": Door(files(CONVERSATIONS, FILE_ENDINGS), _import),
    "instructions": Door(_instruction_cases(), _instructions),
    "bench": Door(st.tuples(files(PROMPTS, (".jsonl", ".json", ".csv")), _FIELDS, st.booleans()), _benches),
    "answers": Door(files(ANSWERS, _ANSWER_ENDINGS), _answers),
}
