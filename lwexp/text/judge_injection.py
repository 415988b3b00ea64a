"""Signs that a text addresses its judge instead of its reader; no score or text is changed.

There are two sets of patterns. The broad one guards the reading of a judge's reply, where a false alarm costs one more
question. The narrow one marks answers for people, where a false alarm accuses a model: stories have judges, games have
points and reviews have stars. Neither is proof. They say which answers to read before trusting their S_q.
"""

import re
from functools import cache
from typing import NamedTuple

from lwexp.text.next_turn import without_turn_markers

_NAMES = r"relevance|accuracy|coherence|clarity|breadth[ _]and[ _]depth|reading[ _]experience|overall"
_JUDGE = r"judge|grader|evaluator|reviewer|rater|scorer|assessor"
_TOP = r"5|five|10|ten|full|perfect|maximum|max|highest|top|best"
_WORK = r"response|answer|essay|text|article|piece|work|story|submission|writing"

_GOOD = rf"\b(?:{_TOP})\b"
# In lower case, because the text is lowered before the search.
_FLAGS: dict[str, tuple[str, ...]] = {
    # Scores in the form a judge replies in.
    "scores": (
        rf"""["'*]?(?:{_NAMES})["'*]*\s*[:=]\s*["'*]*(?:[1-5]\b|10\b)""",
        r"\b(?:score|rating|grade)\s*[:=]\s*\d+\s*/\s*\d+",
    ),
    # A request for a score.
    "asks_for_score": (
        rf"\b(?:give|award|assign|rate|score|grade|output|return|mark|choose|say)\b[^.\n]{{0,60}}{_GOOD}[^.\n]{{0,40}}"
        r"\b(?:scores?|ratings?|marks?|points?|stars?|grades?|dimensions?|categor(?:y|ies)|aspects?|criteri(?:on|a))\b",
        rf"\b(?:rate|score|grade)\b[^.\n]{{0,40}}\b(?:{_WORK}|this|it|everything)\b[^.\n]{{0,20}}"
        r"(?:\b5\b|\bfive\b|/\s*5|/\s*10|highly)",
        rf"\b(?:scores?|ratings?|marks?)\b[^.\n]{{0,30}}\b(?:must|should|shall)\b[^.\n]{{0,30}}{_GOOD}",
        r"(?:给|打|评|判)[^。\n]{0,12}(?:满分|5\s*分|五分|最高分|高分)",
    ),
    "overrides_rules": (
        r"\b(?:ignore|disregard|forget|override|bypass|skip)\b[^.\n]{0,40}"
        r"\b(?:instructions?|rules?|prompts?|criteria|guidelines?|rubric|requirements?)\b",
        r"(?:忽略|无视|忘记|忘掉)[^。\n]{0,12}(?:指令|指示|规则|要求|提示|标准)",
    ),
    "addresses_judge": (
        r"\b(?:dear|attention|note (?:to|for)|message (?:to|for)|to (?:the|any|my|all)|hey|hello|hi|as (?:an?|the|your)"
        rf"|you are (?:now )?(?:an?|the)?)\b[ ,:]*(?:\w+[ -]){{0,2}}(?:{_JUDGE})s?\b",
        r"(?:评委|评审|评分者|打分者|评分员|裁判)(?:们|老师)?[请，,：:！!]",
    ),
    "praises_itself": (
        rf"\b(?:this|the (?:above|preceding|following)|my|our)\s+(?:\w+ )?(?:{_WORK})\b[^.\n]{{0,40}}"
        r"\b(?:deserves?|earns?|merits?|is worth|should (?:get|receive|be (?:rated|scored|given|graded|awarded)))\b",
        r"(?:本文|这篇|该文|此文|上述)[^。\n]{0,10}(?:值得|应得|应获|应当得|应该得)[^。\n]{0,8}(?:分|评价)",
    ),
    # Text that closes or opens the quotation in a judge's prompt.
    "closes_quotation": (
        r"</?\s*(?:response|request|answer|instruction|question|review|evaluation|system|user|assistant|inst)\b"
        r"[^>\n]{0,40}>",
    ),
    "role_marker": (
        r"<\|[a-z_]{2,30}\|>|\[/?inst\]|<</?sys>>",
        r"^[ \t]*+#{0,4}[ \t]*+\[?(?:system|assistant|developer)(?: (?:prompt|message|note))?\]?[ \t]*[:：]",
    ),
    "template_slot": (r"\$(?:inst|response|request|code|part)\$",),
    # Invisible characters and those that change the reading direction; joiners of emoji and Arabic are left out.
    "hidden_characters": (
        "[\\u200b\\u200e\\u200f\\u202a-\\u202e\\u2060-\\u2064\\u2066-\\u2069\\ufeff\\U000e0000-\\U000e007f]",
    ),
}
# What differs in the narrow set: requests must be imperatives, praise must name a score, and a judge must be spoken to.
_DO = r"(?:^|[.!?:;,\"\u201c]\s+|\b(?:please|must|should|shall|you|now|just|always|kindly)\s+)"
_THIS = rf"\b(?:this|my|our|the (?:above|preceding|following))\s+(?:\w+ )?(?:{_WORK})\b"
_RULES = r"(?:instructions?|prompts?|guidelines?|rubric|(?:scoring|grading|judging|evaluation) criteria)"


class _Begun(NamedTuple):
    """A pattern that may begin in many ways, which makes a search for it slow.

    ``core`` begins with one of a few words. Texts without it are spared the search for the whole.
    """

    beginning: str
    core: str


_NARROW: dict[str, tuple[str | _Begun, ...]] = {
    **_FLAGS,
    "scores": (_Begun("""["'*]?""", _FLAGS["scores"][0].removeprefix("""["'*]?""")), _FLAGS["scores"][1]),
    "asks_for_score": (
        _Begun(
            _DO,
            r"(?:give|award|assign|rate|score|grade|output|return)\b(?:"
            rf"[^.\n]{{0,60}}{_GOOD}[^.\n]{{0,40}}\b(?:dimensions?|categor(?:y|ies)|aspects?|criteri(?:on|a))\b"
            r"|[^.\n]{0,60}\b(?:scores?|ratings?|marks?)\b[^.\n]{0,20}"
            r"\b(?:every|all|each) (?:\w+ )?(?:dimensions?|categories|aspects?|criteria)\b"
            rf"|[^.\n]{{0,20}}{_THIS}[^.\n]{{0,40}}(?:{_GOOD}|/\s*5|/\s*10)"
            rf"|(?:(?<=rate)|(?<=score)|(?<=grade)) (?:this|it|everything|the|my) (?:(?:{_WORK}) )?"
            r"(?:highly|5\s*/\s*5|10\s*/\s*10))",
        ),
        _Begun(
            r"\b(?:all|the|these|every|my) (?:\w+ )?",
            rf"(?:scores?|ratings?|marks?) (?:must|should|shall) (?:all )?be {_GOOD}",
        ),
        *_FLAGS["asks_for_score"][-1:],
    ),
    "overrides_rules": (
        _Begun(_DO, rf"(?:ignore|disregard|forget|override|bypass|skip) (?:\w+ ){{0,4}}{_RULES}\b"),
        *_FLAGS["overrides_rules"][-1:],
    ),
    "addresses_judge": (
        _Begun(
            r"\b(?:^|(?!to ))",  # "to the judge" only at the start of a line
            r"(?:dear|attention|note (?:to|for)|message (?:to|for)|hey|hello|you are now (?:an?|the)|"
            rf"to (?:the|any|my|all))[ ,:]*(?:\w+[ -]){{0,2}}(?:{_JUDGE})s?\b",
        ),
        *_FLAGS["addresses_judge"][-1:],
    ),
    "praises_itself": (
        _Begun(
            rf"{_THIS} (?:\w+ )?",
            r"(?:deserves?|earns?|merits?|should (?:get|receive)) (?:[\w'-]+ ){0,3}"
            rf"(?:{_GOOD}|(?:scores?|ratings?|marks?|grades?)\b)",
        ),
        rf"{_THIS} (?:\w+ )?should be (?:rated|scored|graded|awarded)\b",
        *_FLAGS["praises_itself"][-1:],
    ),
    # ``List<User>`` is code.
    "closes_quotation": tuple(rf"(?<!\w){pattern}" for pattern in _FLAGS["closes_quotation"]),
}

# For each pattern of the narrow set, strings of which every match has one. Most texts have none, and looking for them
# takes a tenth of the time of a search. An empty one is in every text.
_PARTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "scores": (("relevance", "accuracy", "coherence", "clarity", "breadth", "reading", "overall"), ("/",)),
    "asks_for_score": (
        ("give", "award", "assign", "rate", "score", "grade", "output", "return"), ("score", "rating", "mark"), ("分",),
    ),
    "overrides_rules": (
        ("instruction", "prompt", "guideline", "rubric", "criteria"), ("忽略", "无视", "忘记", "忘掉"),
    ),
    "addresses_judge": (
        tuple(_JUDGE.split("|")), ("评委", "评审", "评分者", "打分者", "评分员", "裁判"),
    ),
    "praises_itself": (
        ("deserve", "earn", "merit", "should"), ("should be",), ("值得", "应得", "应获", "应当得", "应该得"),
    ),
    "closes_quotation": (("<",),),
    "role_marker": (("<|", "inst]", "sys>>"), ("system", "assistant", "developer")),
    "template_slot": (("$",),),
    "hidden_characters": (("",),),
}  # fmt: skip

# Compiled when they are first used, because that takes 40 ms for all.
_BROAD_SIGNS = {name: "|".join(parts) for name, parts in _FLAGS.items()}
_NARROW_SIGNS = {name: "|".join(map("".join, parts)) for name, parts in _NARROW.items()}


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.MULTILINE)


def injection_flags(text: str) -> tuple[str, ...]:
    """Names of the broad signs in a text, in a fixed order; empty for most texts."""
    plain = text.lower()  # matching without case costs more than this copy
    return tuple(name for name, pattern in _BROAD_SIGNS.items() if _compiled(pattern).search(plain))


def signs_to_judge(text: str) -> tuple[str, ...]:
    """Names of the narrow signs in an answer, in the same order.

    Markers of a chat template are not among them: a model that writes next turns is a different fault, found by
    ``find_next_turn``.
    """
    plain = without_turn_markers(text).lower()
    return tuple(
        name
        for name, parts in _NARROW.items()
        if any(_is_in(plain, *pair) for pair in zip(_PARTS[name], parts, strict=True))
    )


def _is_in(plain: str, needed: tuple[str, ...], pattern: str | _Begun) -> bool:
    return (
        any(part in plain for part in needed)
        and (isinstance(pattern, str) or _compiled(pattern.core).search(plain) is not None)
        and _compiled("".join(pattern)).search(plain) is not None
    )


def sign_places(text: str) -> list[tuple[str, int, int]]:
    """The first place of each narrow sign: its name, and where it starts and ends in characters.

    A sign around a marker of a chat template has no place of its own in the text, so it is left out.
    """
    plain = without_turn_markers(text).lower()
    places = []
    for name, pattern in _NARROW_SIGNS.items():
        match = _compiled(pattern).search(plain)
        if match and (here := re.search(re.escape(match[0]), text, re.IGNORECASE)):
            places.append((name, *here.span()))
    return places
