"""Answers are kept under their ids, whatever interrupts the sampling."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lwexp.config import compose
from lwexp.config.evaluate import SampleConfig
from lwexp.records import LwexpError, Prompt, Response, read_rows
from lwexp.sample.collect import collect, repeat_seed
from lwexp.text.words import count_words

PROMPTS = [
    Prompt(id=f"p{n}", text=text, language="en", type="t", required_words=words)
    for n, (text, words) in enumerate([("Write about tea", 20), ("Hello rivers", 5), ("Old maps there", 40)])
]


def sampling(**changes: Any) -> SampleConfig:
    plain = {"temperature": 1.0, "max_new_tokens": 30, "repeats": 2, "batch_size": 4}
    return compose().sample.model_copy(update=plain | changes)


def run(folder: Path, out: Path, **changes: Any) -> list[Response]:
    options: dict[str, Any] = {"prompts": PROMPTS, "model_name": "m", "sample": sampling(), "seed": 0} | changes
    return collect(options.pop("prompts"), model=folder, out=out, **options)


def test_every_prompt_is_answered_as_often_as_asked_in_bench_order(glm_folder: Path, tmp_path: Path) -> None:
    responses = run(glm_folder, tmp_path / "r.jsonl")
    assert [response.id for response in responses] == ["p0#0", "p0#1", "p1#0", "p1#1", "p2#0", "p2#1"]
    assert list(read_rows(tmp_path / "r.jsonl", Response)) == responses
    first = responses[2]
    assert (first.prompt, first.required_words, first.model) == ("Hello rivers", 5, "m")
    assert first.words == count_words(first.text)
    assert first.finish_reason in ("stop", "length")


def seed_of(response: Response) -> int | None:
    assert response.sampling is not None
    return response.sampling.seed


def test_each_repeat_has_a_seed_of_its_own_that_all_prompts_share(glm_folder: Path, tmp_path: Path) -> None:
    responses = run(glm_folder, tmp_path / "r.jsonl")
    assert {seed_of(response) for response in responses[::2]} == {repeat_seed(0, 0)}
    assert {seed_of(response) for response in responses[1::2]} == {repeat_seed(0, 1)}
    assert responses[0].text != responses[1].text
    assert repeat_seed(0, 1) != repeat_seed(1, 0)


def test_a_killed_run_goes_on_to_the_same_file(glm_folder: Path, tmp_path: Path) -> None:
    """Three answers are on disk, the fourth is torn; the batch that answers the rest is another one."""
    whole = tmp_path / "whole.jsonl"
    run(glm_folder, whole)
    lines = whole.read_text().splitlines(keepends=True)
    out = tmp_path / "r.jsonl"
    out.write_text(lines[4] + lines[0] + lines[3] + lines[1][:40])
    run(glm_folder, out)
    assert out.read_text() == whole.read_text()


def test_what_is_there_is_not_sampled_again(glm_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    responses = run(glm_folder, out)
    marked = [r.model_copy(update={"text": f"kept {r.id}", "words": 2}) for r in responses]
    out.write_text("".join(row.model_dump_json() + "\n" for row in marked[::-1]))
    # All are there: no model is opened, and the order becomes that of the bench.
    assert run(tmp_path / "no such folder", out) == marked
    out.write_text(marked[1].model_dump_json() + "\n")
    again = run(glm_folder, out)
    assert again[1].text == "kept p0#1"
    assert [r.text for r in again if r.id != "p0#1"] == [r.text for r in responses if r.id != "p0#1"]


@pytest.mark.parametrize(
    "changes",
    [{"model_name": "other"}, {"seed": 1}, {"sample": sampling(temperature=0.5)}, {"prompts": PROMPTS[:2]}],
)
def test_answers_of_another_run_are_refused(glm_folder: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    out = tmp_path / "r.jsonl"
    run(glm_folder, out)
    with pytest.raises(LwexpError, match="from another bench, model or sampling"):
        run(glm_folder, out, **changes)


def test_prompts_with_one_id_are_refused(glm_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match="prompt id p1 comes twice"):
        run(glm_folder, tmp_path / "r.jsonl", prompts=[*PROMPTS, PROMPTS[1]])


def test_the_room_imports_without_torch() -> None:
    code = "import sys, lwexp.sample; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
