"""inspect_ai itself runs the tasks; its results are held against the paper's formula and ``lwexp evaluate``."""

import json
import math

import pytest

inspect_ai = pytest.importorskip("inspect_ai", reason="inspect_ai is not installed here; make test-harness runs this")

from inspect_ai.model import ModelOutput, ModelUsage, get_model  # noqa: E402

from lwexp.harness import inspect_tasks  # noqa: E402
from lwexp.records import LwexpError  # noqa: E402
from lwexp.score.metrics.quality import Scores  # noqa: E402
from tests.harness.harness_answers import S_L, TEXTS, UNFINISHED, evaluated, write_bench  # noqa: E402

# Warnings of the other tool, such as of streams that it leaves open.
pytestmark = pytest.mark.filterwarnings("ignore")

DIMENSIONS = list(Scores.model_fields)
UNREADABLE = "I would rather not."


def said(text):
    """An output with its usage; without it, inspect_ai would download a tokenizer to count tokens."""
    output = ModelOutput.from_content("mockllm/model", text)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


def answering(texts, configs=None):
    def reply(messages, tools, tool_choice, config):
        if configs is not None:
            configs.append(config)
        return said(texts[messages[-1].text])

    return get_model("mockllm/model", custom_outputs=reply, memoize=False)


def run(task, folder, model, **options):
    [log] = inspect_ai.eval(
        task, model=model, log_dir=str(folder / "logs"), log_format="json", display="none", **options
    )
    assert log.status == "success", log.error
    return log


def metrics_of(log, scorer):
    return {name: metric.value for score in log.results.scores if score.name == scorer
            for name, metric in score.metrics.items()}  # fmt: skip


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The task run once, with the parameters that reached the model."""
    folder = tmp_path_factory.mktemp("inspect")
    bench = write_bench(folder / "bench.jsonl")
    configs: list[object] = []
    log = run(inspect_tasks.own_prompts(str(bench)), folder, answering(TEXTS, configs))
    return folder, bench, log, configs


def test_the_mean_is_that_of_the_paper_and_of_evaluate(measured):
    folder, bench, log, _ = measured
    mean = metrics_of(log, "length")["mean"]

    assert mean == pytest.approx(S_L, abs=1e-9)
    assert mean == pytest.approx(evaluated(bench, folder / "logs", folder / "runs"), abs=1e-9)


def test_ranges_have_means_of_their_own_and_an_unfinished_answer_is_unscored(measured):
    """All prompts ask for fewer than 500 words."""
    _, _, log, _ = measured
    scores = {sample.input: sample.scores["length"] for sample in log.samples}

    assert metrics_of(log, "length")["[0,500)"] == pytest.approx(S_L, abs=1e-9)
    assert math.isnan(scores[UNFINISHED[0]].value)
    assert scores[UNFINISHED[0]].reason == "no_response"


def test_the_papers_decoding_reaches_the_model(measured):
    """The paper: temperature 0.5, at most 32,768 tokens."""
    *_, configs = measured

    assert {(config.temperature, config.max_tokens, config.stop_seqs) for config in configs} == {(0.5, 32768, None)}


def test_the_grader_gives_quality_and_is_asked_once_more(tmp_path):
    """Tea: six 4s are S_q 75, after one unreadable reply. Rain: two unreadable replies, unscored. Others: six 3s, 50.

    The empty answer has 0 without a question, the unfinished one has no score: (75 + 0 + 3 x 50)/5 = 45.
    """
    bench, asked = write_bench(tmp_path / "bench.jsonl"), []

    def judge(messages, tools, tool_choice, config):
        asked.append((messages, config))
        question, turns = messages[0].text, len(messages)
        mark = 4 if "on tea" in question else 3
        is_unreadable = "on rain" in question or ("on tea" in question and turns == 1)
        return said(UNREADABLE if is_unreadable else json.dumps(dict.fromkeys(DIMENSIONS, mark)))

    grader = get_model("mockllm/grader", custom_outputs=judge, memoize=False)
    task = inspect_tasks.own_prompts(str(bench), quality=True)
    log = run(task, tmp_path, answering(TEXTS), model_roles={"grader": grader})

    assert metrics_of(log, "quality")["mean"] == pytest.approx(45)
    assert metrics_of(log, "length")["mean"] == pytest.approx(S_L, abs=1e-9)
    assert len(asked) == 2 + 2 + 3
    assert {(config.temperature, config.max_tokens) for _, config in asked} == {(0.5, 1024)}
    assert not any("Hail" in messages[0].text for messages, _ in asked)  # no thoughts reach the judge


def test_quality_without_a_grader_is_refused(tmp_path):
    """Otherwise the model would judge itself."""
    task = inspect_tasks.own_prompts(str(write_bench(tmp_path / "bench.jsonl")), quality=True)
    [log] = inspect_ai.eval(task, model=answering(TEXTS), log_dir=str(tmp_path), display="none")

    assert log.status == "error"
    assert "grader" in log.error.message


@pytest.mark.parametrize("task", [inspect_tasks.longbench_write, inspect_tasks.longwrite_ruler])
def test_a_published_bench_is_refused_if_its_file_is_another(task, tmp_path):
    bench = write_bench(tmp_path / "bench.jsonl")

    with pytest.raises(LwexpError, match="get the published file"):
        task(path=str(bench))


@pytest.mark.parametrize("task", [inspect_tasks.longbench_write, inspect_tasks.longwrite_ruler])
def test_a_published_bench_is_asked_and_scored(task, tmp_path, monkeypatch):
    """The published files are not part of lwexp, so rows of this bench stand in for them."""
    monkeypatch.setattr("lwexp.benches.file.FileBench._refuse_another_file", lambda self, path: None)
    bench = write_bench(tmp_path / "bench.jsonl")
    bench.with_name("longbench_write_en.jsonl").write_text(bench.read_text())
    log = run(task(path=str(bench)), tmp_path, answering(TEXTS))

    assert metrics_of(log, "length")["mean"] == pytest.approx(S_L, abs=1e-9)
