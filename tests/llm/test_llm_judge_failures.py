"""Evaluations whose judge fails: how the run ends, what its files and its report say, and what the next start does."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from lwexp.records import LwexpError
from lwexp.runs import Run
from lwexp.runs.summaries import JudgeFailures
from tests.llm.providers.evaluations import bench_file, evaluation, judge
from tests.llm.providers.runs import rows_of
from tests.llm.providers.server import Provider


def given(folder: Path, count: int) -> tuple[Path, str]:
    """A bench, and answers to it in a file."""
    texts = [f"Write a 60-word story about number {n}." for n in range(count)]
    answers = folder / "answers.jsonl"
    answers.write_text("".join(f'{{"prompt": "{text}", "response": "Number {text[-3:]}"}}\n' for text in texts))
    return bench_file(folder, texts), f"responses={answers}"


def test_a_judge_that_never_scores_stops_the_evaluation_and_the_same_command_goes_on(
    provider: Provider, tmp_path: Path
) -> None:
    bench, answers = given(tmp_path, 12)
    command = partial(evaluation, tmp_path / "runs", bench, answers, *judge(provider, "judges_in_prose"))
    with pytest.raises(LwexpError, match="10 replies in a row could not be used"):
        command()
    (folder,) = (tmp_path / "runs").iterdir()
    run = Run.load(folder)
    assert run.status == "failed"
    assert "I'd say" in str(run.manifest.reason)
    assert JudgeFailures.of(folder)[0].reply == "A <b>fine</b> text, I'd say."
    provider.state["is_mended"] = True
    again = command()
    assert (again.path, again.status) == (folder, "finished")
    assert again.manifest.results is not None
    assert again.manifest.results["unscored"] == 0


def test_an_evaluation_with_unreadable_replies_stays_open_and_says_why(
    provider: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench, answers = given(tmp_path, 3)
    command = partial(evaluation, tmp_path / "runs", bench, answers, *judge(provider, "judges_in_prose"))
    run = command()
    assert (run.status, run.manifest.reason) == ("incomplete", "3 missing: 3 unreadable")
    told = f"{run.id}: the judge gave no score: 3 unreadable ("
    said = capsys.readouterr()
    assert told in " ".join((said.out + said.err).split())
    page = (run.path / "report.html").read_text()
    assert "the judge gave no score: 3 unreadable (" in page
    assert "A &lt;b&gt;fine&lt;/b&gt; text, I&#39;d say." in page
    assert "<b>fine</b>" not in page
    provider.state["is_mended"] = True
    asked = len(provider.calls)
    run = command()
    assert run.status == "finished"
    assert len(provider.calls) == asked + 3
    assert all(row["score"] is not None for row in rows_of(run, "verdicts.jsonl"))
    assert "gave no score" not in (run.path / "report.html").read_text()


def test_after_three_starts_what_is_still_unreadable_stays_unscored(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lwexp.report.compare", lambda *_: None)
    bench, answers = given(tmp_path, 2)
    command = partial(evaluation, tmp_path / "runs", bench, answers, *judge(provider, "judges_in_prose"))
    assert [command().status for _ in range(3)] == ["incomplete", "incomplete", "finished"]
    assert len(provider.calls) == 3 * 2 * 2


def test_a_judge_that_thinks_for_ever_is_told_to_get_more_tokens(provider: Provider, tmp_path: Path) -> None:
    """Each answer is asked with the config's tokens, and once more with twice as many."""
    bench, answers = given(tmp_path, 12)
    overrides = (*judge(provider, "thinks_for_ever@judge"), "judge.max_tokens=3000")
    with pytest.raises(LwexpError, match=r"unfinished reasoning .* raise judge\.max_tokens \(now 3,000\)"):
        evaluation(tmp_path / "runs", bench, answers, *overrides)
    assert {call.request["max_tokens"] for call in provider.calls} == {3000, 6000}
