"""A sweep's report: every trial, the answer to its question, and the fit, checked by hand and by numpy."""

import csv
import io
import json
import math
import re
from typing import Any

import numpy as np
import pytest

from lwexp.pages.display import quoted
from lwexp.records import LwexpError
from lwexp.report import compare
from lwexp.report.cap_fit import describe_fit, fit_line
from lwexp.report.differences import short_names
from lwexp.report.figures.training_metrics import long_shares, training_rows
from lwexp.report.sweep.read_sweep import gpu_hours, number_of, read_sweep
from lwexp.report.sweep.sweep_analysis import sweep_result
from lwexp.report.sweep.sweep_figure import sweep_figure
from lwexp.report.sweep.sweep_tables import sweep_markdown
from lwexp.runs.summaries import MetricsRow
from tests.report import report_runs

KEY = "mixture.sources.drafts.max_words"
QUESTION = "Does <b>length</b> follow the cap?"


def make_sweep(root, cells, *, varied, question=QUESTION):
    """``cells``: (overrides, words per answer or None for a trial without runs, status, exit code, reason)."""
    folder = root / "sweep-x-00000001"
    folder.mkdir(parents=True)
    trials = []
    for number, (overrides, cap, status, code, reason) in enumerate(cells):
        runs = []
        if cap is not None:
            train = report_runs.training(
                root, f"sft-{number:08x}", parents=[], max_train_words=cap, max_words=cap, steps=20
            )
            evaluation = report_runs.evaluation(
                root, f"eval-sft-{number + 99:08x}", train.name, lambda required, rng, cap=cap: min(required, cap),
                repeats=1, lengths=(50, 800),
            )  # fmt: skip
            runs = [str(train), str(evaluation)]
        trials.append(
            {
                "number": number, "overrides": overrides, "log": str(folder / f"trial-{number}.log"),
                "label": " ".join(overrides), "status": status, "exit_code": code, "reason": reason, "seconds": 5.0,
                "runs": runs, "kept": False,
            }
        )  # fmt: skip
    (folder / "trials.json").write_text(json.dumps(trials))
    (folder / "sweep.json").write_text(json.dumps({"name": "x", "question": question, "varied": varied}))
    return folder


def metrics_row(step, **more):
    return {"step": step, "loss": 1.0, "lr": 1e-3, "grad_norm": 1.0, "target_tokens": step, "seconds": step, **more}


def result_of(sweep):
    found = sweep_result(sweep)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    """Three caps that finish; a crash, a kill and a bad value that do not."""
    cells: list[Any] = [([f"{KEY}={cap}"], cap, "finished", 0, None) for cap in (50, 100, 400)]
    cells += [
        ([f"{KEY}=7"], None, "failed", 1, "RuntimeError: <script>boom</script>"),
        ([f"{KEY}=8"], None, "failed", -9, "killed by signal 9"),
        ([f"{KEY}=nine"], None, "failed", 2, f"{KEY}: 'nine' is not a number"),
    ]
    folder = make_sweep(tmp_path_factory.mktemp("six"), cells, varied=[KEY])
    return compare([folder], None)


def longest(report):
    """The witness: the largest word count in each trial's own file."""
    files = sorted(report.parent.parent.glob("eval-*/responses.jsonl"))
    return [max(json.loads(line)["words"] for line in file.read_text().splitlines()) for file in files]


def test_six_trials_of_which_three_failed_are_all_there(six, open_page):
    page, problems = open_page(six)
    rows = page.locator("[aria-label=Trials] tbody tr")
    assert rows.count() == 6
    texts = rows.all_inner_texts()
    assert "exit code 1" in texts[3]
    assert "RuntimeError: <script>boom</script>" in texts[3]
    assert "exit code -9" in texts[4]
    assert "killed by signal 9" in texts[4]
    assert "is not a number" in texts[5]
    assert "6 trials = 3 finished + 3 failed" in page.locator("#answer").inner_text()
    assert problems == []


def test_the_first_screen_holds_question_finding_and_figure(six, open_page):
    page, _ = open_page(six)
    assert page.locator("h1").inner_text() == QUESTION
    finding = page.locator(".finding").inner_text()
    assert f"{longest(six)[-1]} words where trained on up to 400" in finding
    assert "Of 6 trials, 3 failed" in finding
    box = page.locator(".answer-figure svg.wide").bounding_box()
    assert box["y"] + box["height"] <= 900


def test_csv_markdown_and_summary_hold_every_trial(six):
    rows = list(csv.DictReader(io.StringIO(six.with_suffix(".trials.csv").read_text(encoding="utf-8-sig"))))
    assert [row["status"] for row in rows] == ["finished"] * 3 + ["failed"] * 3
    assert [int(row["max_words"]) for row in rows[:3]] == longest(six)
    assert [row["max_train_words"] for row in rows[:3]] == ["50", "100", "400"]
    assert [row["gpu_hours"] for row in rows] == [""] * 6
    text = six.with_suffix(".md").read_text()
    assert text.count("failed (exit code") == 3
    assert "<script" not in text
    found = json.loads((six.parent / "summary.json").read_text())["sweep"]
    assert len(found["trials"]) == 6
    assert found["fit"]["rank_correlation"] == 1


def test_a_sweep_without_any_evaluation_still_shows_its_trials(tmp_path, open_page):
    cells = [(["lr=1"], None, "failed", 1, "no"), (["lr=2"], None, "interrupted", None, None)]
    page, problems = open_page(compare([make_sweep(tmp_path, cells, varied=["lr"])], None))
    assert page.locator("[aria-label=Trials] tbody tr").count() == 2
    assert "remains open" in page.locator(".finding").inner_text()
    assert problems == []


def test_the_fit_of_a_power_law_is_that_power_law():
    """y = 3 x^0.5 exactly: slope 0.5, intercept log10(3), interval of width 0."""
    fit = fit_line([(x, 3 * x**0.5) for x in (50, 100, 200, 400)])
    assert fit is not None
    assert fit.slope == pytest.approx(0.5)
    assert fit.intercept == pytest.approx(math.log10(3))
    assert fit.slope_interval == pytest.approx((0.5, 0.5))
    assert (fit.rank_correlation, fit.r_squared) == (1, pytest.approx(1))


def test_the_slope_and_its_interval_agree_with_numpy():
    """Witness: numpy.polyfit's covariance, and t(0.975, 3) = 3.1824 from a printed table."""
    points = [(50, 61), (100, 95), (200, 240), (400, 390), (800, 900)]
    x, y = np.log10(np.array(points)).T
    (slope, intercept), covariance = np.polyfit(x, y, 1, cov="unscaled")
    residual = y - slope * x - intercept
    half = 3.1824 * math.sqrt(covariance[0, 0] * (residual @ residual) / 3)
    fit = fit_line(points)
    assert fit is not None
    assert (fit.slope, fit.intercept) == (pytest.approx(slope), pytest.approx(intercept))
    assert fit.slope_interval == pytest.approx((slope - half, slope + half), rel=1e-4)


def test_what_rises_with_scatter_is_neither_followed_nor_denied():
    """Longest answers of nine real models at three caps: slope above 0, but 1,052 words at a cap of 100 beside 241."""
    caps = (40.0, 100.0, 246.0)
    scattered = list(zip(sorted(caps * 3), (461, 52, 44, 241, 1052, 1011, 1079, 1095, 1170), strict=True))
    flat = list(zip(sorted(caps * 3), (461, 1052, 44, 241, 52, 1011, 1079, 95, 170), strict=True))
    fits = [fit_line(points) for points in (scattered, flat, [(x, 2 * x) for x in caps])]
    assert [(fit.follows, fit.rises) for fit in fits if fit] == [(False, True), (False, False), (True, False)]
    assert fits[0] is not None
    assert fits[1] is not None
    said = describe_fit(scattered, fits[0], has_slope=False)
    assert "rises with the longest training answer, with much scatter, over 9 models" in said
    assert said.endswith("44 to 461 words where trained on up to 40, 1,079 to 1,170 words where trained on up to 246")
    assert "does not follow" in describe_fit(flat, fits[1], has_slope=False)


def test_there_is_no_line_through_one_cap():
    assert fit_line([(50, 60), (50, 70)]) is None
    assert fit_line([(50, 60), (100, 0)]) is None


def test_seeds_are_averaged_and_other_settings_are_compared(tmp_path):
    """lr=1 writes at most 60 words with both seeds, lr=2 all that is asked for: S_l 100, and 100 or 0 at 800."""
    cells = [
        ([f"lr={lr}", f"seed={seed}"], cap, "finished", 0, None) for lr, cap in ((1, 60), (2, 900)) for seed in (0, 1)
    ]
    sweep, comparison = read_sweep(make_sweep(tmp_path, cells, varied=["lr", "seed"]))
    found = result_of(sweep)
    assert (found.factor, found.is_cap, len(found.settings)) == ("lr", False, 2)
    assert [len(setting.evaluations) for setting in found.settings] == [2, 2]
    first, second = (setting.mean for setting in found.settings)
    assert first is not None
    assert second is not None
    assert second > first
    assert quoted(found.finding).startswith('"lr=2" leads with S-bar ')
    # One answer to one of the 32 prompts is unscored.
    assert re.search(r'"lr=1" has [\d.]+, a difference of \+[\d.]+ over 31 prompts', quoted(found.finding))
    assert {e.label for e in comparison.evaluations} == {f"lr={lr} seed={seed}" for lr in (1, 2) for seed in (0, 1)}


def test_equal_settings_make_no_difference(tmp_path):
    """Negative control: the same answers under two names."""
    cells = [([f"rule={rule}"], 60, "finished", 0, None) for rule in ("token", "sequence")]
    sweep, _ = read_sweep(make_sweep(tmp_path, cells, varied=["rule"]))
    assert result_of(sweep).finding.startswith(
        "No setting is clearly ahead on 31 of 32 prompts, those with a score for every setting: S-bar "
    )


def test_a_trials_file_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / "trials.json").write_text("{")
    with pytest.raises(LwexpError, match=r"trials\.json cannot be read"):
        compare([tmp_path], None)


def test_gpu_hours_are_time_by_gpus_and_nothing_on_a_cpu(tmp_path):
    """86 s between start and end in the fabricated manifest: on 2 nodes of 8 GPUs 86 x 16 / 3600 = 0.38222."""
    report_runs.training(tmp_path, "t-00000001", parents=[], max_train_words=9, steps=10)
    from lwexp.runs.run import Run

    def hours(hardware: object) -> float | None:
        (tmp_path / "t-00000001" / "config.json").write_text(json.dumps({"hardware": hardware}))
        return gpu_hours(Run.load(tmp_path / "t-00000001"))

    assert hours({"accelerator": "gpu", "devices": 8, "num_nodes": 2}) == pytest.approx(0.382222, rel=1e-4)
    assert hours({"kind": "cpu"}) is None
    assert hours(8) is None


@pytest.mark.parametrize(
    ("typed", "value"), [("50", 50), ("1e-5", 1e-5), ("null", None), ("token", None), ("true", None)]
)
def test_settings_as_numbers(typed, value):
    assert number_of(typed) == value


def test_the_loss_averages_say_what_they_gave_to_long_documents(tmp_path):
    """Rows by hand: token 1/2 + 1/2 of weights 1 + 1 is 50%; release 0.02 + 0.05 of 0.1 + 0.1 is 35%."""
    cells = [([f"objective.normalize={rule}"], 60, "finished", 0, None) for rule in ("token", "release")]
    folder = make_sweep(tmp_path, cells, varied=["objective.normalize"])
    weights: list[list[tuple[float, float]]] = [[(1, 0.5), (1, 0.5)], [(0.1, 0.02), (0.1, 0.05)]]
    for number, rows in enumerate(weights):
        report_runs.write_jsonl(
            tmp_path / f"sft-{number:08x}" / "metrics.jsonl",
            [metrics_row(n, weight=w, long_weight=long) for n, (w, long) in enumerate(rows)],
        )
    report = compare([folder], None)
    found = json.loads((report.parent / "summary.json").read_text())["sweep"]
    assert [trial["long_share"] for trial in found["trials"]] == pytest.approx([0.5, 0.35])
    assert (
        'had this share of the loss: 50.0% under "normalize=token", 35.0% under "normalize=release".'
        in found["finding"]
    )
    assert "Loss weight of long documents" in report.read_text()
    read = training_rows(tmp_path / "sft-00000001")
    assert [share for _, share in long_shares(read)] == pytest.approx([0.2, 0.35])  # 0.02 of 0.1, then 0.07 of 0.2
    assert long_shares([MetricsRow(**metrics_row(1))]) == []
    assert "Loss weight" not in compare([make_sweep(tmp_path / "x", cells, varied=["lr"])], None).read_text()


def test_keys_with_the_same_last_part_keep_enough_to_be_told_apart(tmp_path):
    cells = [
        ([f"mixture.sources.long.count={long}", f"mixture.sources.short.count={9 - long}"], 60, "finished", 0, None)
        for long in (0, 9)
    ]
    folder = make_sweep(tmp_path, cells, varied=["mixture.sources.long.count", "mixture.sources.short.count"])
    sweep, comparison = read_sweep(folder)
    assert list(sweep.names.values()) == ["long.count", "short.count"]
    assert [e.label for e in comparison.evaluations] == ["long.count=0 short.count=9", "long.count=9 short.count=0"]
    found = result_of(sweep)
    assert "long.count=0 short.count=9" in found.finding
    assert "| long.count | short.count |" in sweep_markdown(sweep, None)
    assert short_names(["lr", "a.lr", "b.lr"]) == {"lr": "lr", "a.lr": "a.lr", "b.lr": "b.lr"}
    assert short_names(["a.b.max_words", "seed"]) == {"a.b.max_words": "max_words", "seed": "seed"}


def test_settings_that_change_together_are_one_line_without_names(tmp_path):
    """The control: a grid of two by two has two lines, each named in the wide and in the narrow figure."""
    drawn = []
    for name, points in {"tied": [(0, 9), (9, 0)], "grid": [(0, 9), (0, 0), (9, 9), (9, 0)]}.items():
        cells = [([f"s.a.n={a}", f"s.b.n={b}"], 60, "finished", 0, None) for a, b in points]
        sweep, _ = read_sweep(make_sweep(tmp_path / name, cells, varied=["s.a.n", "s.b.n"]))
        drawn.append(str(sweep_figure(result_of(sweep)).svg).count(">b.n="))
    assert drawn == [0, 4]


def test_small_settings_keep_their_digits_on_the_axis(tmp_path):
    """Learning rates of 0.001 and 0.003, and values like coordinates or colours, are labels like any other."""
    drawn = {}
    for name, values in {"rate": ["0.001", "0.003"], "word": ["1.23456789", "#ee0001"]}.items():
        cells = [([f"lr={value}"], 60, "finished", 0, None) for value in values]
        sweep, _ = read_sweep(make_sweep(tmp_path / name, cells, varied=["lr"]))
        drawn[name] = str(sweep_figure(result_of(sweep)).svg)
    assert all(drawn["rate"].count(f">{label}<") == 2 for label in ("0.001", "0.003"))  # wide and narrow
    assert drawn["word"].count(">#ee0001<") == 2
    assert drawn["word"].count(">1.23456789<") == 2
    # The control: coordinates are still shortened, so it is the labels that were spared.
    assert not re.search(r'd="[^"]*\d\.\d{3}', drawn["rate"])
