"""The page of one training run: what it says, that it is the same each time, and that its absence stops nothing."""

import json
import re

import pytest

from lwexp.report.training.page import write_training_page
from lwexp.runs import Run
from tests.report import report_runs


@pytest.fixture
def run(tmp_path):
    """40 steps, one of which was passed over, with three measurements of the held-out loss, the second the lowest."""
    path = report_runs.make_run(tmp_path, "long-0000000a", "train", config={})
    rows = [
        {"step": n, "loss": None if n == 7 else 4.0 - n / 16, "lr": 1e-5, "grad_norm": 1.0, "target_tokens": 100 * n,
         "tokens_per_second": 250.0, "seconds": 2.0 * n, "peak_memory_gib": 1.5, "mfu_packed": None}
        for n in range(1, 41)
    ]  # fmt: skip
    report_runs.write_jsonl(path / "metrics.jsonl", rows)
    held = [{"step": 10, "loss": 3.5}, {"step": 20, "loss": 2.25}, {"step": 40, "loss": 2.75}]
    report_runs.write_jsonl(path / "validation.jsonl", held)
    report_runs.write_jsonl(path / "nonfinite.jsonl", [{"step": 7}])
    return Run.load(path)


def page_of(run):
    page = write_training_page(run)
    assert page is not None
    return page


def text_of(page):
    return " ".join(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8")).split())


def test_it_says_where_the_loss_went_and_shows_each_curve_that_there_is(run):
    """4 - 1/16 = 3.9375 to 4 - 40/16 = 1.5; 4,000 targets in 80 s are 50 a second."""
    page = page_of(run)
    text, titles = text_of(page), re.findall(r"<h3>([^<]+)</h3>", page.read_text())
    assert page == run.path / "training.html"
    assert "Loss 3.938 at the first step, 1.500 at step 40; 2.750 on held-out documents" in text
    for said in ("steps 40", "target tokens 4,000", "time 1 min 20 s", "target tokens a second 50",
                 "lowest held-out loss 2.250 at step 20", "peak memory 1.5 GiB", "steps without update 1"):  # fmt: skip
        assert said in text
    assert titles == ["Loss", "Learning rate", "Gradient norm", "Speed", "Peak memory"]
    assert "MFU" not in text  # not known on this machine
    assert "training held out" in text  # the legend of the first figure


def test_it_depends_on_the_run_alone_and_is_small(run):
    first = page_of(run).read_bytes()
    assert page_of(run).read_bytes() == first
    assert len(first) < 300_000
    with (run.path / "metrics.jsonl").open("a") as out:
        out.write(json.dumps({"step": 41, "loss": 9.0}) + "\n")
    assert page_of(run).read_bytes() != first  # negative control


def test_a_stopped_run_says_so_and_a_run_without_a_step_has_no_page(run):
    assert "not finished" not in text_of(page_of(run))
    run.manifest.status, run.manifest.reason = "preempted", "Preempted: SIGTERM at step 40; saved"
    assert "This run is not finished (preempted). Preempted: SIGTERM at step 40; saved" in text_of(page_of(run))
    (run.path / "metrics.jsonl").unlink()
    assert write_training_page(run) is None


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_fits_a_screen_and_a_phone_without_a_network(run, browser, width, scheme):
    asked, complaints = [], []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    tab = context.new_page()
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: complaints.append(message.text))
    tab.goto(page_of(run).as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.locator("figure svg:visible").count() >= 5
    assert len(asked) == 1
    assert complaints == []
    context.close()
