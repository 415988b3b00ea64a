"""examples/smollm2: rows cut where a sentence ends, with the length that their instruction states."""

import json
import re
from pathlib import Path

import pytest

from examples.smollm2.make_rows import cuts, repeats_itself

EXAMPLE = Path(__file__).parents[2] / "examples" / "smollm2"


def rows_of(name: str) -> list[dict]:
    return [json.loads(line) for line in (EXAMPLE / name).read_text(encoding="utf-8").splitlines()]


def task(text: str) -> str:
    return re.sub(r" Write about \d+ words\.$", "", text)


def test_each_row_states_its_length_and_is_within_a_band():
    rows = [[message["content"] for message in row["messages"]] for row in rows_of("rows.jsonl")]
    assert len(rows) == 183 + 184 + 151  # as the data card says
    for question, answer in rows:
        words = len(answer.split())
        assert 15 <= words <= 250
        assert abs(int(question.split()[-2]) - words) <= 2.5
        assert answer.rstrip("\"')\u201d")[-1] in ".!?"


def test_no_task_of_the_bench_is_trained_on():
    trained = {task(row["messages"][0]["content"]) for row in rows_of("rows.jsonl")}
    assert trained <= {task(row["prompt"]) for row in rows_of("prompts.jsonl")}
    asked = [task(row["prompt"]) for row in rows_of("bench.jsonl")]
    assert len(set(asked)) == 32
    assert not trained & set(asked)


@pytest.mark.parametrize(("words", "bands"), [(10, 0), (30, 1), (60, 2), (300, 3)])
def test_a_text_gives_a_row_for_each_band_that_it_reaches(words, bands):
    """Sentences of five words, so that every band has an end of a sentence in it."""
    text = " ".join(f"word{n}" + ("." if n % 5 == 4 else "") for n in range(words))
    rows = cuts({"id": "a", "prompt": "Describe it. Write about 300 words.", "text": text})
    assert len(rows) == bands
    for row in rows:
        question, answer = (message["content"] for message in row["messages"])
        assert text.startswith(answer)
        assert question == f"Describe it. Write about {len(answer.split())} words."


def test_loops_are_left_out():
    assert repeats_itself("one two three four five six seven eight. " * 2)
    assert not repeats_itself("one two three four five six seven. " * 2)  # no run of eight words comes twice
