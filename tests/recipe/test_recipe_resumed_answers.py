"""Small rules of resuming and of given scores that no whole run shows quickly."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lwexp.recipe.answers import _given
from lwexp.recipe.pairs import _num_answers
from lwexp.records import Prompt, Response, Sampling


def test_a_line_torn_by_a_kill_counts_no_answer(tmp_path: Path) -> None:
    prompt = Prompt(id="p", text="Tea", language="en", type="t", required_words=9)
    sampling = Sampling(temperature=1, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=9, seed=0)
    row = Response.unanswered(prompt, 0, "m", sampling)
    done = row.model_copy(update={"text": "a", "words": 1, "finish_reason": "stop"}).model_dump_json()
    out = tmp_path / "responses.jsonl"
    assert _num_answers(out) == 0
    out.write_text(f"{done}\n{row.model_dump_json()}\n{done[:40]}", encoding="utf-8")
    assert _num_answers(out) == 1
    assert json.loads(row.model_dump_json())["finish_reason"] == "error"  # what was not answered does not count


def test_scores_in_a_file_never_take_the_name_of_the_runs_own_judge() -> None:
    def scorer(judge: str | None) -> str:
        answer: Any = SimpleNamespace(place="line 1", answer=SimpleNamespace(judge=judge, scores={"clarity": 5}))
        return _given(answer, Path("a/pred.jsonl"), "offline/judge").judge

    assert scorer("offline/judge") == "offline/judge in pred.jsonl"
    assert scorer("gpt-4o") == "gpt-4o"
    assert scorer(None) == "scores in pred.jsonl"
