"""A small rule of given scores that no whole run shows quickly."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lwexp.recipe.answers import _given


def test_scores_in_a_file_never_take_the_name_of_the_runs_own_judge() -> None:
    def scorer(judge: str | None) -> str:
        answer: Any = SimpleNamespace(place="line 1", answer=SimpleNamespace(judge=judge, scores={"clarity": 5}))
        return _given(answer, Path("a/pred.jsonl"), "offline/judge").judge

    assert scorer("offline/judge") == "offline/judge in pred.jsonl"
    assert scorer("gpt-4o") == "gpt-4o"
    assert scorer(None) == "scores in pred.jsonl"
