"""how_measured.md names every parameter that can change a score, and counts the answers."""

import hashlib
import json
import re
from types import SimpleNamespace

import pytest

from lwexp import api
from lwexp.records import write_rows
from lwexp.runs.artifacts import CHECKS, HOW_MEASURED, RESPONSES, VERDICTS
from lwexp.score.how_measured import _counts
from tests.score.scripted_judge import Judge, response

LOOP = "\n".join(["And the rain fell on the roof of the house by the sea."] * 6)
SAMPLING = {
    "temperature": 0.7, "top_p": 0.9, "top_k": 0, "repetition_penalty": 1.0, "max_new_tokens": 99, "seed": 3,
}  # fmt: skip
# Prompt, its answer and how that ended; the fourth prompt has no answer.
ANSWERS = (
    ("Write 10 words on tea.", "<think>Short.</think>Tea is warm. [INST] More? [/INST] Yes.", "stop"),
    ("Write 10 words on rain.", LOOP, "length"),
    ("Write 10 words on | snow.", "", "stop"),
)
MISSING = "Write 10 words on fog."
SCORES = dict.fromkeys(
    ("Relevance", "Accuracy", "Coherence", "Clarity", "Breadth and Depth", "Reading Experience"), 4
)  # fmt: skip


def rows_of(run):
    """Section -> name -> value of the page's tables."""
    found = {}
    for section in (run.path / HOW_MEASURED).read_text().split("\n## ")[1:]:
        title, *lines = section.splitlines()
        cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("| ")][1:]
        found[title] = {name.strip(" `").replace("\\", ""): value.strip().replace("\\", "") for name, value in cells}
    return found


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    bench, answers = folder / "bench.jsonl", folder / "answers.jsonl"
    prompts = [*(prompt for prompt, _, _ in ANSWERS), MISSING]
    bench.write_text("".join(json.dumps({"prompt": prompt, "length": 10}) + "\n" for prompt in prompts))
    answers.write_text(
        "".join(
            json.dumps({"prompt": prompt, "response": text, "finish_reason": end, "model": "m", "sampling": SAMPLING})
            + "\n"
            for prompt, text, end in ANSWERS
        )
    )
    config = api.compose(
        "bench=jsonl", f"bench.path={bench}", "bench.name=own", f"responses={answers}", "judge=offline",
        f"root={folder / 'runs'}", "seed=5",
    )  # fmt: skip
    run = api.evaluate(config)
    return rows_of(run), config, answers


def test_answers_are_counted_and_missing_ones_are_not_empty(measured):
    """One of three answers is empty, one was cut off and loops, one has reasoning and runs on."""
    rows, _, _ = measured
    counted = {name: rows["Answers"][name].split(";")[0].split(",")[0] for name in rows["Answers"]}

    assert counted["answers"] == "3 of 4"
    assert (counted["empty"], counted["cut off at the token limit"], counted["ending in a loop"]) == ("1", "1", "1")
    assert (counted["with separated reasoning"], counted["with a next turn"]) == ("1", "1")


def test_the_sampling_of_the_answers_is_theirs_and_not_the_configs(measured):
    """The missing answer has no sampling."""
    rows, config, _ = measured

    assert config.sample.temperature == 0.5
    assert {name: rows["Answers"][name] for name in SAMPLING} == {
        name: f"{value} (3), not recorded (1)" for name, value in SAMPLING.items()
    }


def test_files_and_the_judges_question_are_named_with_their_sha256(measured):
    rows, _, answers = measured

    assert rows["Answers"]["file of answers"] == f"{answers}, sha256 {hashlib.sha256(answers.read_bytes()).hexdigest()}"
    assert re.search(r"^lwexp, sha256 [0-9a-f]{64}$", rows["Scores"]["question of S_q"])
    assert re.search(r"^4, sha256 of their rows [0-9a-f]{64}$", rows["Bench"]["prompts"])


def test_every_key_that_can_change_the_result_is_named_and_no_other(measured):
    """Negative control: limits of the judge change its speed alone, and its check on plain answers no score."""
    rows, config, _ = measured
    judge = {name.removeprefix("judge.") for name in rows["Scores"] if name.startswith("judge.")}
    bench = {name.removeprefix("bench.") for name in rows["Bench"] if name.startswith("bench.")}

    assert judge == set(type(config.judge).model_fields) - {"limits", "anchors"}
    assert bench == set(type(config.bench).model_fields)
    assert rows["Scores"]["seed sent to the judge"] == "5"
    assert "below 30 prompts the wider of Student's t and a studentised bootstrap" in rows["Scores"]["intervals"]
    assert rows["Software"]["versions"].startswith("python 3.")


def test_answers_that_were_stopped_in_a_loop_are_counted_with_those_cut_off(tmp_path):
    answers = [response(f"p{n}#0", finish_reason=end) for n, end in enumerate(("stop", "length", "loop", "loop"))]
    write_rows(tmp_path / CHECKS, [])

    counts = dict(_counts(SimpleNamespace(path=tmp_path), answers))  # type: ignore[arg-type]

    assert counts["cut off at the token limit"] == "1; 2 more ended by sample.stop_after_repeats"


def test_every_key_of_sampling_that_can_change_the_result_is_named(tmp_path):
    """Negative control: the size of a batch changes the speed alone."""
    bench = tmp_path / "bench.jsonl"
    bench.write_text(json.dumps({"prompt": MISSING, "length": 10}) + "\n")
    server = Judge()
    server.say = lambda _: "Fog is cold."
    config = api.compose(
        "bench=jsonl", f"bench.path={bench}", "bench.name=own", "engine=litellm", "engine.model=hosted_vllm/m",
        "engine.api_key_env=null",
        f"engine.base_url=http://127.0.0.1:{server.server.server_port}/v1", "judge=none", f"root={tmp_path}",
    )  # fmt: skip
    try:
        rows = rows_of(api.evaluate(config))
    finally:
        server.server.shutdown()
        server.server.server_close()

    named = {name.removeprefix("sample.") for name in rows["Answers"] if name.startswith("sample.")}
    assert named == set(type(config.sample).model_fields) - {"batch_size"}
    assert rows["Answers"]["sample.stop_after_repeats"] == "0"


def test_what_a_file_does_not_say_is_not_recorded(tmp_path):
    """The release's shape: no sampling, no end; its scores come from another judge. Six 4s each."""
    bench, answers = tmp_path / "bench.jsonl", tmp_path / "judge.jsonl"
    bench.write_text(json.dumps({"prompt": MISSING, "length": 10}) + "\n")
    answers.write_text(json.dumps({"prompt": MISSING, "response": "fog " * 10, "scores": SCORES}) + "\n")
    overrides = (f"bench.path={bench}", "bench.name=own", f"responses={answers}", "judge=none", f"root={tmp_path}")
    rows = rows_of(api.evaluate(api.compose("bench=jsonl", *overrides)))

    assert rows["Answers"]["temperature"] == "not recorded"
    assert rows["Answers"]["cut off at the token limit"].startswith("unknown;")
    assert rows["Scores"]["scores that came with the answers"] == "scores in judge.jsonl: 1 answer"
    assert rows["Scores"]["judge.kind"] == "none"


def test_a_finished_evaluation_with_damaged_rows_still_gets_its_page_and_its_report(tmp_path):
    bench, answers = tmp_path / "bench.jsonl", tmp_path / "answers.jsonl"
    bench.write_text(json.dumps({"prompt": MISSING, "length": 10}) + "\n")
    answers.write_text(json.dumps({"prompt": MISSING, "response": "fog " * 10}) + "\n")
    overrides = (f"bench.path={bench}", "bench.name=own", f"responses={answers}", "judge=none", f"root={tmp_path}")
    config = api.compose("bench=jsonl", *overrides)
    run = api.evaluate(config)
    assert run is not None
    assert rows_of(run)["Answers"]["ending in a loop"] == "0"

    for damage in (lambda file: file.write_text('{"response_id": "torn'), lambda file: file.unlink()):
        damage(run.path / CHECKS)
        (run.path / "report.html").unlink()
        rows = rows_of(api.evaluate(config))
        assert rows["Answers"]["ending in a loop"] == rows["Answers"]["with a next turn"] == "not recorded"
        assert rows["Answers"]["answers"].startswith("1 of 1")
        assert (run.path / "report.html").is_file()
    for name in (RESPONSES, VERDICTS):
        with (run.path / name).open("a") as rows_file:
            rows_file.write("torn\n")
    rows = rows_of(api.evaluate(config))
    assert rows["Answers"]["unreadable lines"] == "1 of responses.jsonl, left out of this page"
    assert rows["Scores"]["unreadable lines"] == "1 of verdicts.jsonl, left out of this page"
