"""Kinds of length instruction, and scores that obey them: about, at most, at least, between.

A prompt asks for one length, which S_l scores in both directions. The words around the number may allow one of them:
"at least 400 words", "200字以内", "300到400字". They are read here, in English and Chinese.
"""

import re
import unicodedata
from collections.abc import Iterator
from math import exp

from lwexp.records import LengthRule
from lwexp.text.stated_lengths import StatedCount, stated_counts
from lwexp.text.words import score_length

ABOUT = LengthRule(kind="about")

# In this order, because "no less than" contains "less than" and 不超过 contains 超过.
_BEFORE = (
    ("at_least", r"n(?:o|ot) (?:be )?(?:less|fewer|shorter|lower) than|not (?:go |be |fall )?below"),
    ("at_least", r"不少于|不得少于|不能少于|不低于|不得低于|不短于|不小于"),
    ("at_most", r"n(?:o|ot) (?:be )?(?:more|longer|greater) than|not (?:to )?exceed|not (?:go |be )?(?:over|above)"),
    ("at_most", r"不超过|不得超过|不能超过|不要超过|不多于|不大于|不高于|不长于"),
    ("at_least", r"at leas[te]|minimum(?: length)?(?: of)?|min\.?|(?:more|longer) than|over|above|exceed(?:s|ing)?"),
    ("at_least", r"upwards? of|至少|最少|起码|超过|大于|多于|高于"),
    ("at_most", r"at most|max(?:imum|\.)?(?: length)?(?: of)?|up to|within|under|below|(?:less|fewer|shorter) than"),
    ("at_most", r"limit(?:ed)?(?: is| of| to)?|最多|至多|少于|低于|小于|控制在|限"),
)
_AFTER = (
    (
        "at_least",
        r"\+|plus|or (?:more|longer|above)|and (?:more|above)|minimum|at least|以上|起(?!草|源|步|来)|及以上|或更多",
    ),
    ("at_most", r"or (?:less|fewer|shorter|under)|maximum|max\b|at most|limit|以内|之内|以下|及以下|内(?!容)"),
)
_HEDGE = r"(?:\s|:|：|是|为|of|about|around|roughly|approximately|大约|约|在)*$"
_UNIT = (
    r"^\s*(?:个?(?:汉|单|英文|中文)?[字词])?\s*-?\s*(?:(?:words?|wds?)\b)?\s*[,，(（]?\s*(?:in length,?\s*|long,?\s*)?"
)
_LEADS = [(kind, re.compile(rf"(?:(?<![a-z])(?:{words})){_HEDGE}", re.IGNORECASE)) for kind, words in _BEFORE]
# "Do not write more than", "shouldn't be less than", "never go over", 请勿少于: the opposite of the words after it.
_COMPARATIVE = re.compile(
    r"(?:more|longer|greater|less|fewer|shorter|lower) than|over|above|below|under|exceed"
    r"|超过|大于|多于|高于|少于|低于|小于",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"(?:\b(?:not|never|cannot|avoid)|n['’]t)\s+(?:\w+\s+){0,2}$|[不勿别莫][可应要宜能得许准]?$", re.IGNORECASE
)
_TAILS = [(kind, re.compile(rf"(?:{words})", re.IGNORECASE)) for kind, words in _AFTER]
_UNITS = re.compile(_UNIT, re.IGNORECASE)

_SHORT, _LONG = 5.0, 2.0  # k1 and k2 of LIFEBench


def instruction_in(prompt: str, required: int) -> LengthRule:
    """What a prompt's words around its length allow; ``ABOUT`` if they allow neither direction.

    Args:
        prompt: Its text.
        required: The length that the bench gives for it. Other numbers of words in the text are not looked at, unless
            they are the other end of a range with it.

    Example:
        ``instruction_in("An essay of no less than 800 words", 800)`` allows 800 words and more.
    """
    rules = list(_rules(prompt))
    own = [rule for rule, counts in rules if required in counts and rule.kind != "about"]
    if not own:
        return ABOUT
    rule = own[0]
    ends = [other for other, _ in rules if {other.kind, rule.kind} == {"at_least", "at_most"}]
    low, high = (
        next((r.low for r in (rule, *ends) if r.low), None),
        next((r.high for r in (rule, *ends) if r.high), None),
    )
    return LengthRule(kind="between", low=low, high=high) if low and high and low < high else rule


def _rules(prompt: str) -> Iterator[tuple[LengthRule, set[int]]]:
    """The rule of each count in the text, and the lengths that a bench may give for it."""
    for stated in stated_counts(unicodedata.normalize("NFKC", prompt)):
        words, ends = stated.number
        if ends is not None and ends[0] < ends[1]:
            yield LengthRule(kind="between", low=ends[0], high=ends[1]), {words, *ends}
            continue
        kind = _kind(stated)
        low, high = (words if kind == "at_least" else None), (words if kind == "at_most" else None)
        yield LengthRule(kind=kind, low=low, high=high) if kind else ABOUT, {words}


def _kind(stated: StatedCount) -> str | None:
    for text in (stated.after.lstrip(), _UNITS.sub("", stated.after, count=1)):
        for kind, pattern in _TAILS:
            if pattern.match(text):
                return kind
    for kind, pattern in _LEADS:
        if found := pattern.search(stated.before):
            if _COMPARATIVE.match(found[0]) and _NEGATED.search(stated.before[: found.start()]):
                return "at_most" if kind == "at_least" else "at_least"
            return kind
    return None


def obeyed_score(rule: LengthRule, required: int, words: int) -> float:
    """S_l if the rule is "about"; else 100 for a length that the rule allows, and S_l for the end that is missed.

    Args:
        rule: The prompt's instruction.
        required: Words asked for, above 0.
        words: Words produced.
    """
    if rule.kind == "about":
        return score_length(required, words)
    end = _missed_end(rule, words)
    return 100.0 if end is None else score_length(end, words)


def length_deviation(rule: LengthRule, required: int, words: int) -> float:
    """How far a length is from the nearest allowed one, as a share of it: -0.2 for 80 of 100 words, 0 if it obeys.

    Source: Length Deviation of LIFEBench (arXiv 2505.16234). There it is (y - l) / l for every kind of instruction;
    here the side that "at most" or "at least" allows counts 0, as in LIFEBench's own score.
    """
    end = required if rule.kind == "about" else _missed_end(rule, words)
    return 0.0 if end is None else (words - end) / end


def life_score(deviation: float) -> float:
    """Length Score of LIFEBench, from 0 to 100: 100 e^(5 d) for a text that is too short, 100 e^(-2 d) if too long.

    Args:
        deviation: Of ``length_deviation``: a share, not percent.

    Source: LIFEBench (arXiv 2505.16234); k1 = 5 and k2 = 2 as in evaluate/evaluate_all_results.py at 143e1d6.
    """
    return 100 * exp(_SHORT * deviation if deviation < 0 else -_LONG * deviation)


def _missed_end(rule: LengthRule, words: int) -> int | None:
    """The end of the allowed lengths that a text misses; None if it obeys. No words obey no instruction."""
    if words == 0:
        return rule.low or rule.high
    if rule.low is not None and words < rule.low:
        return rule.low
    return rule.high if rule.high is not None and words > rule.high else None
