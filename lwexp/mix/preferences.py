"""Builds preference pairs from scored answers: the best answer to a prompt against another one."""

import logging
import random
from collections import defaultdict
from collections.abc import Sequence

from lwexp.config.data import PairsConfig
from lwexp.extend.metric import standard_metrics
from lwexp.records import Failure, Message, PreferencePair, Response, Verdict
from lwexp.stats.scores import scores_by_answer
from lwexp.text.plain import plural

log = logging.getLogger(__name__)


def choose_pairs(
    responses: Sequence[Response], verdicts: Sequence[Verdict], settings: PairsConfig, *, seed: int
) -> tuple[list[PreferencePair], list[Failure]]:
    """Build at most one pair for each prompt.

    An answer's score is the mean of its S_l and S_q; an answer that lacks one of them is ignored, because its score
    would not be comparable. If no answer has a quality verdict at all (judge=none), the score is S_l
    alone, and the log says so. If several answers share the best score, the earliest repeat is chosen.

    Args:
        responses: Several answers to each prompt, in any order.
        verdicts: Verdicts on these responses.
        settings: How the rejected answer is chosen, and when a prompt gives no pair. random is the paper's policy:
            any other answer, drawn with ``seed`` and the prompt's id, so that the draw of one prompt does not depend
            on the others; worst is the one with the lowest score; margin is the one with the highest score at least
            ``min_margin`` below the best.
            With ``length_ratio``, only answers of about as many words as the best one can be rejected.
        seed: The run's seed.

    Returns:
        Pairs, and for every prompt without a pair the reason: too_few_scored, unfinished_best, low_chosen,
        empty_chosen, no_length_match, small_margin or equal_answers.

    Source: the paper, section 3.3 (4 answers per prompt; the best against a random one of the rest). The paper does not
        match lengths and names no minimum margin.
    """
    has_quality = any(verdict.kind == "quality" for verdict in verdicts)
    name = "S_bar" if has_quality else "S_l"
    scored = scores_by_answer(verdicts, standard_metrics())
    scores = {id: found[name] for id, found in scored.items() if name in found}
    groups: dict[str, list[Response]] = defaultdict(list)
    for response in responses:
        groups[response.prompt_id].append(response)
    made = [
        _pair(sorted(group, key=lambda response: response.repeat), scores, settings, random.Random(f"{seed}|{id}"))
        for id, group in groups.items()
    ]
    basis = "the mean of S_l and S_q" if has_quality else "S_l alone, because there is no judge"
    log.info("answers to %s ranked by %s", plural(len(groups), "prompt"), basis)
    failures = [outcome for outcome in made if isinstance(outcome, Failure)]
    return [outcome for outcome in made if isinstance(outcome, PreferencePair)], failures


def _pair(
    group: list[Response], scores: dict[str, float], settings: PairsConfig, draw: random.Random
) -> PreferencePair | Failure:
    scored = [response for response in group if response.id in scores]
    if len(scored) < settings.min_scored:
        found = f"{len(scored)} of {len(group)} answers have a score, wanted {settings.min_scored}"
        return _skip(group, "too_few_scored", found)
    best = max(scored, key=lambda response: scores[response.id])  # the first of equals
    if best.finish_reason in ("length", "loop") and settings.truncated_chosen == "skip":
        return _skip(group, "unfinished_best", f"{best.id} was cut off; DPO would learn to stop there")
    if scores[best.id] < settings.min_chosen:
        return _skip(group, "low_chosen", f"{best.id} scores {scores[best.id]:.1f}, wanted {settings.min_chosen:g}")
    if not best.text.strip():
        return _skip(group, "empty_chosen", f"the best answer, {best.id}, is empty")
    others = [response for response in scored if response is not best and _is_matched(best, response, settings)]
    if not others:
        found = f"{best.id} has {best.words:,} words, no other answer within {settings.length_ratio:g} times that"
        return _skip(group, "no_length_match", found)
    other = _rejected(best, others, scores, settings, draw)
    margin = scores[best.id] - scores[other.id]
    if margin < settings.min_margin:
        found = f"{best.id} leads {other.id} by {margin:.1f}, wanted {settings.min_margin:g}"
        return _skip(group, "small_margin", found)
    if best.text == other.text:
        return _skip(group, "equal_answers", f"{best.id} and {other.id} are the same text")
    return PreferencePair(
        id=best.prompt_id, source=best.model, language=best.language,
        prompt=(Message(role="user", content=best.prompt),), chosen=best.text, rejected=other.text,
        chosen_score=scores[best.id], rejected_score=scores[other.id],
        chosen_words=best.words, rejected_words=other.words, required_words=best.required_words,
        chosen_reasoning=best.reasoning or None, rejected_reasoning=other.reasoning or None,
    )  # fmt: skip


def _is_matched(best: Response, other: Response, settings: PairsConfig) -> bool:
    """Whether the longer answer has at most ``length_ratio`` times the words of the shorter."""
    if settings.length_ratio is None:
        return True
    short, long = sorted((best.words, other.words))
    return long <= settings.length_ratio * short


def _rejected(
    best: Response, others: list[Response], scores: dict[str, float], settings: PairsConfig, draw: random.Random
) -> Response:
    """Choose one of the others by the policy; among equal scores, the earliest repeat."""
    if settings.rejected == "random":
        return draw.choice(others)
    if settings.rejected == "margin":
        below = [other for other in others if scores[best.id] - scores[other.id] >= settings.min_margin]
        if below:
            return max(below, key=lambda response: scores[response.id])
    return min(others, key=lambda response: scores[response.id])


def _skip(group: list[Response], reason: str, detail: str) -> Failure:
    return Failure(id=group[0].prompt_id, stage="pairs", reason=reason, detail=detail, attempts=len(group))
