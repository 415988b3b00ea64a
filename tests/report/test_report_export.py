"""summary.json, the CSV, the Markdown table, the terminal and the command."""

import csv
import io
import json
import subprocess
import sys

import pytest

from lwexp.records import LwexpError
from lwexp.report import compare
from lwexp.report.__main__ import main, read_arguments
from tests.report import report_runs


@pytest.fixture(scope="module")
def report(demo_runs, tmp_path_factory):
    return compare(demo_runs, tmp_path_factory.mktemp("export") / "report.html")


def test_summary_names_each_model_at_the_top_level(report):
    summary = json.loads((report.parent / "summary.json").read_text())
    for name in ("short", "long", "dpo"):
        assert summary[name] == summary["models"][name]
        assert {"max_words", "S_l", "S_q", "S_bar", "n", "n_unscored", "S_l_interval", "S_l_by_seed"} <= set(
            summary[name]
        )
        assert summary[name]["n"] == 192
        low, high = summary[name]["S_l_interval"]
        assert low < summary[name]["S_l"] < high
    assert summary["seeds"] == [100, 101, 102]
    assert (summary["judge"], summary["bench"]) == ("offline/judge", "miniature v1")
    assert (summary["short"]["max_train_words"], summary["long"]["max_train_words"]) == (98, 560)
    assert summary["checks"]["uncapped_exceeds_capped"]["holds"] is True


def test_summary_has_null_and_never_nan_where_there_is_no_score(tmp_path):
    path = report_runs.evaluation(tmp_path, "eval-a-00000001", None, report_runs.noisy(0.1), repeats=1, judge=None)
    text = (compare([path], tmp_path / "r.html").parent / "summary.json").read_text()
    assert json.loads(text)["models"]["api/model"]["S_q"] is None
    assert "NaN" not in text


def test_a_model_called_like_a_key_of_the_summary_does_not_replace_it(tmp_path):
    report_runs.training(tmp_path, "seeds-00000001", parents=[], max_train_words=90)
    path = report_runs.evaluation(tmp_path, "eval-a-00000002", "seeds-00000001", report_runs.noisy(0.1), repeats=1)
    summary = json.loads((compare([path], tmp_path / "r.html").parent / "summary.json").read_text())
    assert summary["seeds"] == [100]
    assert summary["models"]["seeds"]["n"] == 64


def test_csv_has_a_line_for_each_model_and_part(report):
    rows = list(csv.DictReader(io.StringIO(report.with_suffix(".csv").read_text(encoding="utf-8-sig"))))
    assert len(rows) == 3 * (1 + 4 + 2)
    for name in ("short", "long", "dpo"):
        mine = {row["part"]: int(row["answers"]) for row in rows if row["model"] == name}
        assert mine["all"] == sum(n for part, n in mine.items() if part.startswith("[")) == mine["en"] + mine["zh"]


def test_markdown_has_a_row_for_each_model(report):
    lines = [line for line in report.with_suffix(".md").read_text().splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["short", "long", "dpo"]


def test_the_terminal_shows_every_model_in_eighty_columns(demo_runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    compare(demo_runs, tmp_path / "report.html")
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("short", "long", "dpo", "S-bar", "stand-in judge"))
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    "given",
    [["a", "--out", "x.html"], ["--out=x.html", "a"], ["a", "out=x.html"], ["a", "-o", "x.html"]],
)
def test_the_ways_to_say_where_the_page_goes(given):
    assert read_arguments(given) == (["a"], {"out": "x.html"})


@pytest.mark.parametrize("given", [["a", "--oot", "x"], ["a", "--out"], ["a", "out="], ["--out", "x.html"]])
def test_wrong_arguments_are_refused(given):
    with pytest.raises(LwexpError, match="report: "):
        read_arguments(given)


def test_the_command_writes_next_to_the_runs_and_reports_mistakes_in_one_line(demo_runs, tmp_path, capsys):
    assert main([str(path) for path in demo_runs]) == 0
    page = demo_runs[0].parent / "report.html"
    assert page.is_file()
    assert str(page) in capsys.readouterr().out
    for suffix in ("report.html", "report.md", "report.csv", "summary.json"):
        (page.parent / suffix).unlink()
    assert main([str(tmp_path / "nowhere")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: report: ")
    assert error.count("\n") == 1


def test_an_output_path_that_cannot_be_written_is_refused(demo_runs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LwexpError, match="cannot write"):
        compare(demo_runs, tmp_path / "file" / "report.html")


def test_help_needs_no_runs():
    done = subprocess.run([sys.executable, "-m", "lwexp.report", "--help"], capture_output=True, text=True, check=True)
    assert "python -m lwexp.report runs/demo" in done.stdout
