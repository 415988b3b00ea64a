"""Scores that came with answers, from the judge of another tool, as verdicts beside those made here."""

import logging
from collections.abc import Mapping
from statistics import fmean
from typing import Any, NamedTuple

from lwexp.records import LwexpError, Verdict
from lwexp.score.metrics.quality import QualityMetric, Scores
from lwexp.text.plain import plural
from lwexp.text.replies import UnreadableError, fields_in

log = logging.getLogger(__name__)


class GivenScores(NamedTuple):
    """The scores of one answer, as its row has them."""

    place: str
    """File and line, for messages."""
    judge: str
    scores: Mapping[str, Any]


def given_verdicts(given: Mapping[str, GivenScores]) -> list[Verdict]:
    """S_q from six scores of 1 to 5 each, which need not be whole: others store means of several replies.

    Args:
        given: Response id -> its scores.

    Raises:
        LwexpError: If one of the six is missing or not a number from 1 to 5.
    """
    verdicts = [
        Verdict(
            response_id=id, kind=QualityMetric.model_fields["kind"].default, scorer=one.judge,
            score=(fmean(dimensions.values()) - 1) * 25, dimensions=dimensions,
        )
        for id, one in given.items()
        for dimensions in [_dimensions(one)]
    ]  # fmt: skip
    for judge in dict.fromkeys(one.judge for one in given.values()):
        count = sum(one.judge == judge for one in given.values())
        log.info("%s came with scores; the report calls their judge %r", plural(count, "answer"), judge)
    return verdicts


def _dimensions(one: GivenScores) -> dict[str, float]:
    try:
        found = fields_in(dict(one.scores), Scores)
    except UnreadableError as error:
        raise LwexpError(f"{one.place}: scores: {error}") from None
    missing = [name for name in Scores.model_fields if name not in found]
    if missing:
        raise LwexpError(f"{one.place}: scores: {', '.join(missing)} missing; wanted six scores from 1 to 5, or none")
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 5:
            raise LwexpError(f"{one.place}: scores: {name} must be from 1 to 5, got {value!r:.40}")
    return {name: float(found[name]) for name in Scores.model_fields}
