"""Public complaints about providers, replayed at further doors; docs/reliability.md lists them with their tests."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lwexp.config import compose
from lwexp.generate import write_drafts
from lwexp.llm.transport import require_parameters
from lwexp.recipe.data import select
from lwexp.recipe.evaluation import evaluate
from lwexp.records import LwexpError
from tests import ROOT
from tests.llm.providers.behaviours import THOUGHTS
from tests.llm.providers.evaluations import bench_file, engine, evaluation, judge
from tests.llm.providers.runs import STORIES, instruction_file, rows_of, teacher
from tests.llm.providers.server import SCORES, Provider, good_answer

NOVELS = [f"Write a long novel about {thing} and a hundred years." for thing in ("a mill", "the last orchard")]
COMPLAINTS = 22
FEWEST_TESTS = 3  # the complaint itself, and two variations at other doors


class Complaint(NamedTuple):
    """A row of the table."""

    number: str
    complaint: str
    tests: tuple[str, ...]


def complaints() -> Iterator[Complaint]:
    """The rows of the page: ``| R01 | ... | ... | tests |``."""
    for line in (ROOT / "docs" / "reliability.md").read_text().splitlines():
        if re.match(r"\| R\d\d \|", line):
            number, complaint, _, tests = (cell.strip() for cell in line.strip("|").split("|"))
            yield Complaint(number, complaint, tuple(re.findall(r"`([^`]+)`", tests)))


@cache
def names_of(path: Path) -> frozenset[str]:
    """The tests of a file."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef))


def missing(named: str) -> bool:
    """Whether there is no such test: ``file::test``, or ``file::test[id]`` for one of its cases."""
    file, _, test = named.partition("::")
    [path] = (ROOT / "tests").rglob(f"{file}.py")
    name, _, case = test.partition("[")
    return name not in names_of(path) or not name.startswith("test_") or case.rstrip("]") not in path.read_text()


def test_every_complaint_has_its_tests() -> None:
    found = list(complaints())
    assert [row.number for row in found] == [f"R{number:02}" for number in range(1, COMPLAINTS + 1)]
    assert [name for row in found for name in row.tests if missing(name)] == []
    assert [row.number for row in found if len(set(row.tests)) < FEWEST_TESTS] == []


def test_a_test_that_is_not_there_is_noticed() -> None:
    assert missing("test_llm_complaints::test_of_nothing")
    assert missing("test_llm_complaints::test_every_complaint_has_its_tests[no" + " such case]")
    assert missing("test_llm_complaints::complaints")


def run_of(compose_more: tuple[str, ...], folder: Path) -> Any:
    settings = ("select.counts={en: 2, zh: 0}", "select.anchors=off")
    return select(compose("task=select", f"root={folder / 'runs'}", *settings, *compose_more))


def test_the_shipped_deepseek_teacher_selects(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R07: its chat API refuses a JSON schema, and litellm's table says that it takes one. None is sent."""
    monkeypatch.setenv("DEEPSEEK_API_KEY", "canary-0")
    monkeypatch.setenv("DEEPSEEK_API_BASE", provider.url)  # commands refuse it; here it stands for the provider's own
    monkeypatch.setattr("lwexp.llm.key._refuse_address_of_environment", lambda endpoint: None)
    file = instruction_file(tmp_path, NOVELS, "chat.jsonl")
    run = run_of(("teacher=deepseek", f"source={file}", "teacher.limits.concurrency=1"), tmp_path)
    assert run.manifest.results["tally"] == "2 in = 2 kept"
    assert ["response_format" in call.request for call in provider.calls] == [False, False]


def given_file(folder: Path, answer: str, name: str) -> Path:
    """The same answer to every prompt of the bench."""
    rows = ({"prompt": text, "response": answer} for text in STORIES[:3])
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lwexp.report.compare", lambda *_: None)


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("form", ["<think>\n{}\n</think>\n\n{}", "{}\n</think>\n\n{}"])
def test_thinking_in_a_given_file_changes_no_score_and_no_judge_sees_it(
    form: str, provider: Provider, tmp_path: Path
) -> None:
    """R10: 304 words and S_l 10.7, where the answers alone have 32 words and S_l 42.7."""
    bench, text = bench_file(tmp_path), good_answer("other", "")
    files = {"plain": text, "thinking": form.format(THOUGHTS, text)}
    runs = [
        evaluation(
            tmp_path / name, bench, f"responses={given_file(tmp_path, answer, f'{name}.jsonl')}", *judge(provider)
        )
        for name, answer in files.items()
    ]
    plain, thinking = (rows_of(run, "verdicts.jsonl") for run in runs)
    assert [row["score"] for row in thinking] == [row["score"] for row in plain]
    assert all(row["score"] is not None for row in plain)
    words = sum(word.strip(".").isalpha() for word in text.split())  # the paper's count leaves numerals out
    assert [row["words"] for row in rows_of(runs[1], "responses.jsonl")] == [words] * 3
    assert not any(THOUGHTS[:20] in call.prompt for call in provider.calls)


@pytest.mark.usefixtures("no_report")
def test_a_judge_whose_server_takes_no_schema_scores_all_the_same(provider: Provider, tmp_path: Path) -> None:
    """R11: "0 of 3 judged", finished, and the server's message in no file."""
    answers = given_file(tmp_path, "Harbours wake.", "given.jsonl")
    run = evaluation(tmp_path / "runs", bench_file(tmp_path), f"responses={answers}", *judge(provider, "no_schema"))
    assert run.status == "finished"
    read = [row["dimensions"] for row in rows_of(run, "verdicts.jsonl") if row["kind"] == "quality"]
    assert read == [SCORES] * 3


DRY = {
    "teacher": ("teacher=gpt4o", "teacher.model=openai/gpt-5-mini"),
    "judge": ("judge=gpt4o", "judge.model=openai/gpt-5-mini"),
    "engine": ("engine=litellm", "engine.model=openai/gpt-5-mini", "judge=none"),
}
FIXES = {"teacher": "teacher.temperature=null", "judge": "judge.temperature=null", "engine": "sample.temperature=1.0"}


def dry_run(section: str, folder: Path, *more: str) -> None:
    """What ``dry_run=true`` says of a model, at the door where it is asked."""
    config = (f"root={folder / 'runs'}", "dry_run=true", *DRY[section], *more)
    if section == "teacher":
        write_drafts(compose("instructions=file", f"generate.instructions.path={instruction_file(folder)}", *config))
        return
    given = f"responses={given_file(folder, 'Tea.', 'given.jsonl')}" if section == "judge" else "run=newest"
    evaluate(compose("bench=jsonl", f"bench.path={bench_file(folder)}", "bench.name=mine", given, *config))


@pytest.mark.parametrize("section", DRY)
def test_a_dry_run_says_which_parameter_a_model_does_not_take(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """R17: the dry run priced it, and the real run stopped after five calls."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(LwexpError) as stop:
        dry_run(section, tmp_path)
    assert str(stop.value).startswith(f"{section} openai/gpt-5-mini: ")
    assert str(stop.value).endswith(f"; set {FIXES[section]}")
    assert "\n" not in str(stop.value)
    capsys.readouterr()
    dry_run(section, tmp_path, FIXES[section])
    assert capsys.readouterr().out


@pytest.mark.parametrize("preset", ["gpt5", "o_series", "gpt4o", "claude", "deepseek", "deepseek_reasoner"])
def test_every_shipped_teacher_takes_its_own_parameters(preset: str) -> None:
    require_parameters(compose(f"teacher={preset}").teacher)


OPTIONS = "options={extra_body: {enable_thinking: false}}"


@pytest.mark.usefixtures("no_report")
def test_options_reach_the_judge_and_the_selecting_teacher(
    provider: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """R18: Qwen3 on DashScope thinks only in streams. With the option, nothing has to be learnt from a refusal."""
    answers = given_file(tmp_path, "Harbours wake.", "given.jsonl")
    judging = (*judge(provider, "thinks_only_in_streams"), f"+judge.{OPTIONS}")
    run = evaluation(tmp_path / "runs", bench_file(tmp_path), f"responses={answers}", *judging)
    assert run.status == "finished"
    file = instruction_file(tmp_path, NOVELS, "chat.jsonl")
    choosing = teacher(provider, "thinks_only_in_streams", f"+teacher.{OPTIONS}")
    assert run_of((f"source={file}", *choosing), tmp_path).manifest.results["tally"] == "2 in = 2 kept"
    assert all(call.request["enable_thinking"] is False for call in provider.calls)
    assert len(provider.calls) == 3 + 2
    assert "thinking is off" not in caplog.text


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("behaviour", ["money_zhipu", "money_zhipu_by_proxy", "filter_zhipu", "filter_zhipu_by_proxy"])
def test_chinese_refusals_are_understood_of_judges_and_engines(
    behaviour: str, provider: Provider, tmp_path: Path
) -> None:
    """R20: an account in arrears was retried as a rate limit, and a filter's refusal was a bad request."""
    reason = "quota" if "money" in behaviour else "content_filter"
    bench, answers = bench_file(tmp_path), given_file(tmp_path, "Harbours wake.", "given.jsonl")
    judged = evaluation(tmp_path / "judged", bench, f"responses={answers}", *judge(provider, behaviour))
    quality = [row for row in rows_of(judged, "verdicts.jsonl") if row["kind"] == "quality"]
    assert [row["unscored_reason"] for row in quality] == [reason] * 3
    answered = evaluation(tmp_path / "answered", bench, "judge=none", *engine(provider, behaviour))
    assert {row["reason"] for row in rows_of(answered, "answer_failures.jsonl")} == {reason}
    assert len(provider.calls) == 3 + 3
    # The account may be filled; a filter stays what it is.
    assert {judged.status, answered.status} == {"incomplete" if reason == "quota" else "finished"}
