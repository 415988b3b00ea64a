"""lm-evaluation-harness itself runs the tasks; its results are held against the paper's formula and ``evaluate``."""

import json
import subprocess
import sys

import pytest

lm_eval = pytest.importorskip("lm_eval", reason="lm_eval is not installed here; make test-harness runs this")

from lm_eval.api.model import LM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

from lwexp.records import LwexpError  # noqa: E402
from tests.harness.harness_answers import S_L, TEXTS, evaluated, write_bench  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of the other tool


class Answering(LM):  # type: ignore[misc]
    """A model that has one answer to each prompt, and keeps what it was asked with."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def generate_until(self, requests, disable_tqdm=False):
        self.asked += [request.args for request in requests]
        return [TEXTS[request.args[0]] for request in requests]

    def loglikelihood(self, requests, disable_tqdm=False):
        raise AssertionError("the tasks only generate")

    loglikelihood_rolling = loglikelihood


@pytest.fixture(scope="module")
def folder():
    """What ``--include_path $(python -m lwexp.harness)`` gives."""
    return subprocess.run([sys.executable, "-m", "lwexp.harness"], check=True, capture_output=True, text=True).stdout


def run(folder, task, bench):
    tasks = TaskManager(include_path=folder.strip(), include_defaults=False, metadata={"bench_path": str(bench)})
    model = Answering()
    return lm_eval.simple_evaluate(model=model, tasks=[task], task_manager=tasks), model


@pytest.fixture(scope="module")
def measured(folder, tmp_path_factory):
    bench = write_bench(tmp_path_factory.mktemp("lm_eval") / "bench.jsonl")
    return bench, *run(folder, "own_prompts", bench)


def test_the_mean_is_that_of_the_paper_and_of_evaluate(measured, tmp_path):
    bench, found, _ = measured
    samples = tmp_path / "samples_own_prompts.jsonl"
    samples.write_text("".join(json.dumps(row, default=str) + "\n" for row in found["samples"]["own_prompts"]))
    mean = found["results"]["own_prompts"]["S_l,none"]

    assert mean == pytest.approx(S_L, abs=1e-9)
    assert mean == pytest.approx(evaluated(bench, samples, tmp_path / "runs"), abs=1e-9)


def test_an_unfinished_answer_is_counted_and_in_no_mean(measured):
    _, found, _ = measured

    assert found["results"]["own_prompts"]["missing,none"] == 1


def test_the_papers_decoding_reaches_the_model_and_no_stop_text_does(measured):
    """The paper: temperature 0.5, at most 32,768 tokens. One answer of the bench has an empty line within."""
    *_, model = measured
    [settings] = {json.dumps(settings, sort_keys=True) for _, settings in model.asked}
    settings = json.loads(settings)

    assert [prompt for prompt, _ in model.asked] == list(TEXTS)
    assert (settings["until"], settings["max_gen_toks"], settings["temperature"]) == ([], 32768, 0.5)
    assert settings["do_sample"] is True


@pytest.mark.parametrize("task", ["longbench_write", "longwrite_ruler"])
def test_a_published_bench_is_asked_and_scored(folder, task, tmp_path, monkeypatch):
    """The published files are not part of lwexp, so rows of this bench stand in for them."""
    monkeypatch.setattr("lwexp.benches.file.FileBench._refuse_another_file", lambda self, path: None)
    bench = write_bench(tmp_path / "bench.jsonl")
    bench.with_name("longbench_write_en.jsonl").write_text(bench.read_text())
    found, _ = run(folder, task, bench)

    assert found["results"][task]["S_l,none"] == pytest.approx(S_L, abs=1e-9)


def test_a_published_bench_is_refused_if_its_file_is_another(folder, tmp_path):
    with pytest.raises(LwexpError, match="get the published file"):
        run(folder, "longwrite_ruler", write_bench(tmp_path / "bench.jsonl"))
