"""Runs are read again only after a change; progress.json is written by whatever counts; and the command's words."""

import json
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.runs import Run, open_run
from lwexp.runs.progress import RunProgress, counted, keep_progress_in, stop_keeping_progress_in
from lwexp.watch import index as module
from lwexp.watch.__main__ import main
from lwexp.watch.index import Index
from tests.made_runs import make_run
from tests.watch.conftest import Runs, write_progress


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the folders whose manifests were read."""
    seen: list[str] = []
    at = Run.at

    def noted(path: Path) -> Run | None:
        seen.append(path.name)
        return at(path)

    monkeypatch.setattr(Run, "at", noted)
    monkeypatch.setattr(module, "_FRESH_SECONDS", 0.0)
    return seen


def test_a_poll_reads_only_what_has_changed(runs: Runs, reads: list[str]) -> None:
    index = Index(runs.root)
    index.rows()
    assert sorted(reads) == ["data-1", "killed-2", "sft-4", "wrong-3"]
    reads.clear()
    write_progress(runs.working, share=0.5)
    assert [row.share for row in index.rows() if row.key == "sft-4"] == [0.5]
    assert reads == []
    make_run(runs.root, "new-6", "train", "new")
    manifest = runs.root / "data-1" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"status": "incomplete", "reason": "2 missing"}))
    states = {row.key: (row.state, row.note) for row in index.rows()}
    assert sorted(reads) == ["data-1", "new-6"]
    assert states["data-1"] == ("incomplete", "2 missing")


def test_a_poll_resolves_links_only(
    runs: Runs, reads: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With 5,000 runs, resolving each folder took a third of the time of a poll."""
    resolved: list[str] = []
    resolve = Path.resolve

    def noted(self: Path, strict: bool = False) -> Path:
        resolved.append(self.name)
        return resolve(self, strict)

    index = Index(runs.root)
    outside = make_run(tmp_path / "elsewhere", "far-1", "train", "finished")
    (runs.root / "inside-9").symlink_to(runs.root / "data-1")
    (runs.root / "outside-9").symlink_to(outside)
    (runs.root / "group-9").symlink_to(outside.parent)
    keys = [row.key for row in index.rows()]
    monkeypatch.setattr(Path, "resolve", noted)
    assert [row.key for row in index.rows()] == keys
    assert sorted(resolved) == ["far-1", "inside-9", "outside-9"]
    assert sorted(keys) == ["data-1", "demo/killed-2", "inside-9", "sft-4", "sweep-lr-5", "wrong-3"]


def test_runs_below_a_sweeps_folder_are_found_and_those_below_a_run_are_not(runs: Runs, reads: list[str]) -> None:
    make_run(runs.root / "sweep-lr-5", "trial-6", "train", "finished")
    make_run(runs.root / "data-1", "inner-7", "train", "finished")
    inner = runs.root / "demo" / "sweep-8"
    inner.mkdir()
    (inner / "trials.json").write_text((runs.root / "sweep-lr-5" / "trials.json").read_text())
    (runs.root / "demo" / "sweep-8.before-1").mkdir()
    (runs.root / "demo" / "sweep-8.before-1" / "trials.json").write_text((inner / "trials.json").read_text())
    assert sorted(row.key for row in Index(runs.root).rows()) == [
        "data-1", "demo/killed-2", "demo/sweep-8", "sft-4", "sweep-lr-5", "sweep-lr-5/trial-6", "wrong-3",
    ]  # fmt: skip


def test_progress_of_an_earlier_start_is_not_shown(runs: Runs) -> None:
    """The run was started at 00:00:00; its progress of 23:59 the day before is of the start before."""
    write_progress(runs.working, started="2025-12-31T23:59:00+00:00")
    (row,) = [row for row in Index(runs.root).rows() if row.key == "sft-4"]
    assert (row.state, row.share) == ("running", None)


def test_work_that_is_over_is_not_the_runs_share(runs: Runs) -> None:
    """480 of 480 rows are tokenised, and not a step is trained."""
    write_progress(runs.working, what="tokenising", share=1.0, is_over=True)
    (row,) = [row for row in Index(runs.root).rows() if row.key == "sft-4"]
    assert (row.what, row.share) == ("tokenising: done", None)


def test_whatever_is_counted_in_a_run_is_in_its_progress_file(tmp_path: Path) -> None:
    run = open_run("train", compose("experiment=smoke", f"root={tmp_path}"), default_name="tiny", inputs={})
    with run:
        with counted("training", 4) as count:
            begun = RunProgress.read(run.path)
            count.advance()
        ended = RunProgress.read(run.path)
        run.leave()
    assert begun is not None
    assert (begun.what, begun.share, begun.numbers.done, begun.numbers.total) == ("training", 0.0, 0, 4)
    assert ended is not None
    assert (begun.is_over, ended.is_over, ended.share, ended.numbers.done) == (False, True, 0.25, 1)
    with counted("other work", 1):
        pass
    assert RunProgress.read(run.path) == ended  # the run is closed


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """As on a full disk: the folder is gone."""
    keep_progress_in(tmp_path / "gone")
    try:
        with counted("training", 2) as count:
            count.advance()
    finally:
        stop_keeping_progress_in(tmp_path / "gone")
    assert count.done == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["port=web"], "error: watch: port=web: wanted a whole number up to 65535, such as port=8042"),
        (["port=65536"], "error: watch: port=65536: wanted a whole number up to 65535, such as port=8042"),
        (["nothing"], "error: watch: run=nothing: no run is called nothing under {root}; the newest are"),
        (["root={root}/none"], "error: watch: there is no folder {root}/none; set root=<folder>"),
        (["every=3"], "error: watch: every=3: no such option; there are root=, run=, port="),
    ],
)
def test_mistakes_are_one_line(runs: Runs, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    given = [word.format(root=runs.root) for word in words]
    assert main(given if given[0].startswith("root=") else [f"root={runs.root}", *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(said.format(root=runs.root))


@pytest.mark.parametrize(
    ("word", "place"), [("{root}", ""), ("{root}/sft-4", "#sft-4"), ("{root}/sweep-lr-5", "#sweep-lr-5")]
)
def test_a_bare_word_is_a_root_or_a_run(
    runs: Runs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, word: str, place: str
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("http.server.ThreadingHTTPServer.serve_forever", stop)
    assert main([word.format(root=runs.root)]) == 130
    said = capsys.readouterr()
    address = said.out.strip()
    assert address.startswith("http://127.0.0.1:")
    assert address.endswith(f"/{place}")
    assert said.err.splitlines()[-1] == "no longer watching; the runs go on"
