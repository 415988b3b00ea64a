"""The page of make study-real from fabricated runs, whose lengths can be added up by hand."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks.real_model.__main__ import main
from benchmarks.real_model.study import read_study
from tests.report.report_runs import bench, make_run, response, write_jsonl

ASKED = (50, 100, 200, 400)
SHORT = {0: (10, 20, 30, 50), 1: (10, 20, 30, 30)}
LONG = {0: (100, 200, 300, 200), 1: (100, 200, 200, 200)}


def cell(root: Path, name: str, cap: int | None, seed: int, lengths: tuple[int, ...], finish: str = "stop") -> None:
    parents: tuple[str, ...] = ()
    if cap is not None:
        results = {"max_train_words": cap, "seconds": 12.0, "steps": 40}
        make_run(root, f"{name}-train", "train", config={"seed": seed}, results=results)
        parents = (f"{name}-train",)
    path = make_run(root, f"{name}-eval", "evaluate", parents=parents, config={"bench": bench(ASKED)})
    rows = [
        response(f"p{asked}", required=asked, words=words, text=f"{name} says so", finish_reason=finish)
        for asked, words in zip(ASKED, lengths, strict=True)
    ]
    write_jsonl(path / "responses.jsonl", rows)
    write_jsonl(path / "verdicts.jsonl", [])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    for seed in (0, 1):
        cell(root, f"short{seed}", 40, seed, SHORT[seed])
        cell(root, f"long{seed}", 250, seed, LONG[seed])
    return root


def test_mean_95th_percentile_and_longest_of_every_seed(runs):
    """The 95th percentile of 10, 20, 30, 50 lies 85% of the way from 30 to 50: 47."""
    short, long = read_study(runs).trained
    assert [short.trained_up_to, long.trained_up_to] == [40, 250]
    assert short.values("mean") == [27.5, 22.5]
    assert short.values("95th percentile") == pytest.approx([47, 30])
    assert short.values("longest") == [50, 30]
    assert short.values("longest without loops") == [50, 30]
    assert short.beyond == pytest.approx(1 / 8)
    assert short.by_request() == {50: 10, 100: 20, 200: 30, 400: 40}
    low, high = short.interval("longest")
    assert low <= 40 == high  # the mean of 50 and 30; no draw of prompts has longer answers
    low, high = short.interval("mean")
    assert 10 <= low < 25 < high <= 50


def test_the_page_says_that_lengths_follow_and_how_soft_the_cap_is(runs, tmp_path):
    cell(runs, "untouched", None, 0, (300, 300, 300, 300), finish="length")
    page = tmp_path / "docs" / "real.md"
    main(runs, page)
    text = page.read_text()
    assert "the mean of its answers rises with the cap" in text
    assert "the longest of its answers, loops left out, rises with the cap" in text
    assert "The cap is soft: some answers are longer than the longest training answer." in text
    assert "Share of such answers: 12% (trained on up to 40 words)" in text
    assert "4 of 4 answers up to the limit" in text
    assert "| up to 250 words | 8 | 0 | 188, " in text
    assert "up to 40 words, 40 words:\n\n> short0 says so" not in text
    assert "up to 40 words, 50 words:\n\n> short0 says so" in text
    assert str(tmp_path) not in text
    assert ElementTree.fromstring(page.with_suffix(".svg").read_text()).tag.endswith("svg")


def test_the_page_says_that_lengths_do_not_follow(tmp_path):
    """The control: both caps with the same lengths, none beyond the cap."""
    for seed in (0, 1):
        for name, cap in (("a", 60), ("b", 250)):
            cell(tmp_path / "runs", f"{name}{seed}", cap, seed, SHORT[seed])
    main(tmp_path / "runs", tmp_path / "real.md")
    text = (tmp_path / "real.md").read_text()
    assert "the mean of its answers does not clearly rise with the cap" in text
    assert "The cap is hard: at most one answer in fifty is longer" in text
