"""Evaluations under one root pay once for the same answer and once for the same verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.llm.providers.evaluations import bench_file, engine, evaluation, judge
from tests.llm.providers.runs import rows_of
from tests.llm.providers.server import Provider

PRICE = "judge.price={input_per_mtok: 1, output_per_mtok: 1}"


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages take seconds and ask nothing."""
    monkeypatch.setattr("lwexp.report.compare", lambda *_: None)


def test_a_second_evaluation_asks_neither_engine_nor_judge(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of these changes a request. Before, each of them asked for all 3 answers and verdicts again."""
    monkeypatch.setenv("B_KEY", "canary-0")
    bench, copy = bench_file(tmp_path), bench_file(tmp_path, name="copy.jsonl")
    usual = (*engine(provider), *judge(provider))
    root = tmp_path / "runs"
    first = evaluation(root, bench, *usual)
    assert dict(provider.kinds()) == {"other": 3, "judge": 3}
    other_name = provider.url.replace("127.0.0.1", "localhost")
    changes: list[tuple[Path, tuple[str, ...]]] = [
        (copy, ("name=copy",)),
        (bench, ("name=other",)),
        (bench, ("judge.api_key_env=B_KEY", "engine.api_key_env=B_KEY", "name=keys")),
        (bench, (PRICE, "name=price")),
        (bench, (f"judge.base_url={other_name}", f"engine.base_url={other_name}")),
        (bench, ("score.segments=3",)),
        (bench, (f"baseline_run={first.path}", "score.pairwise=false")),
    ]
    for path, overrides in changes:
        run = evaluation(root, path, *usual, *overrides)
        assert run.path != first.path
        assert len(provider.calls) == 6, overrides
        assert rows_of(run, "verdicts.jsonl") == rows_of(first, "verdicts.jsonl")
        said = (run.path / "log.txt").read_text()
        assert said.count("3 answers copied from") == 2  # by engine and judge


def test_what_changes_a_request_is_asked(provider: Provider, tmp_path: Path) -> None:
    """Negative control: another repeat, another temperature of the judge, another root."""
    bench = bench_file(tmp_path)
    usual = (*engine(provider), *judge(provider))
    evaluation(tmp_path / "runs", bench, *usual)
    evaluation(tmp_path / "runs", bench, *usual, "judge.repeats=2")
    assert dict(provider.kinds()) == {"other": 3, "judge": 6}
    evaluation(tmp_path / "runs", bench, *usual, "judge.temperature=1")
    assert dict(provider.kinds()) == {"other": 3, "judge": 9}
    evaluation(tmp_path / "elsewhere", bench, *usual)
    assert dict(provider.kinds()) == {"other": 6, "judge": 12}


def test_the_same_answers_from_a_file_are_judged_once(provider: Provider, tmp_path: Path) -> None:
    """Also under another model's name, because the judge does not see it; pairwise questions are asked besides."""
    bench = bench_file(tmp_path)
    first = evaluation(tmp_path / "runs", bench, *engine(provider), *judge(provider))
    rows = (first.path / "responses.jsonl").read_text()
    given = tmp_path / "given.jsonl"
    given.write_text(rows.replace('"model": "hosted_vllm/b-healthy"', '"model": "other"'))
    provider.calls.clear()
    evaluation(tmp_path / "runs", bench, f"responses={given}", *judge(provider))
    assert not provider.calls
