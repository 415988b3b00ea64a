"""S_l: how close an answer comes to the length that was asked for."""

from __future__ import annotations

from lwexp.records import Response, Verdict
from lwexp.text.words import score_length

__all__ = ["SCORER", "length_verdict", "score_length"]

SCORER = "S_l"


def length_verdict(response: Response) -> Verdict:
    """The verdict on a response's length. An answer that never came has no length, so it stays unscored."""
    if response.finish_reason == "error":
        return Verdict(response_id=response.id, kind="length", scorer=SCORER, score=None, unscored_reason="no_answer")
    score = score_length(response.required_words, response.words)
    return Verdict(response_id=response.id, kind="length", scorer=SCORER, score=score)
