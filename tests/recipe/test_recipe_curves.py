"""A training names the page of its curves; a failure to write it is a warning."""

import pytest

from lwexp.recipe import training


@pytest.fixture
def run(tmp_path):
    from lwexp.runs.artifacts import Manifest
    from lwexp.runs.directory import RunDirectory

    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5, "seconds": 1.0, "target_tokens": 10}\n')
    return RunDirectory(tmp_path, Manifest(id=tmp_path.name, name="long", stage="train", status="running"))


def test_a_page_that_cannot_be_written_is_a_warning(run, monkeypatch, caplog):
    def fail(*_):
        raise OSError(28, "No space left on device")

    caplog.set_level("INFO", "lwexp")
    training._show_curves(run)
    assert caplog.messages == [f"curves: {run.path / 'training.html'}"]
    with (run.path / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"step": 2, "loss": 2.4, "seconds": 2.0, "target_tokens": 20}\n')
    monkeypatch.setattr("lwexp.report.training.page.write_text", fail)
    training._show_curves(run)
    assert "the page with the run's curves was not written: OSError: [Errno 28]" in caplog.messages[-1]
