"""S_l: how close an answer comes to the length that was asked for."""

from __future__ import annotations

from lwexp.records import Response, Verdict

SCORER = "S_l"


def score_length(required: int, words: int) -> float:
    """Score a length from 0 to 100; exactly as long as asked for is 100.

    Too long loses over three times the required length, too short over a third of it:

        words      0 to l/3   l/2   l     2l     3l     4l and more
        S_l        0          50    100   66.7   33.3   0

    Args:
        required: Words asked for, above 0.
        words: Words produced. None at all scores 0, where the published code divides by zero.

    Source: the paper, section 4.1; THUDM/LongWriter evaluation/eval_length.py at 3fcfdff.
    """
    if words == 0:
        return 0.0
    if words > required:
        return 100 * max(0.0, 1 - (words / required - 1) / 3)
    return 100 * max(0.0, 1 - (required / words - 1) / 2)


def length_verdict(response: Response) -> Verdict:
    """The verdict on a response's length. An answer that never came has no length, so it stays unscored."""
    if response.finish_reason == "error":
        return Verdict(response_id=response.id, kind="length", scorer=SCORER, score=None, unscored_reason="no_answer")
    score = score_length(response.required_words, response.words)
    return Verdict(response_id=response.id, kind="length", scorer=SCORER, score=score)
