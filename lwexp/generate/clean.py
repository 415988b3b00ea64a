"""Cleans the teacher's text by named rules, and counts each.

Some rules correct a paragraph (a label, an echo of the plan, invisible characters); others drop the whole draft, with a
reason. Nothing else is changed.
"""

import re
from typing import NamedTuple

from lwexp.records import Draft, Failure, PlanStep
from lwexp.text.loops import find_loop
from lwexp.text.plain import plural, without_unseen
from lwexp.text.reasoning import split_reasoning
from lwexp.text.refusal import is_refusal
from lwexp.text.words import count_words, language_of

_INDEX = r"(?:\d{1,4}|[一二三四五六七八九十百]{1,5})"
# A label ends in a colon, a dash or a line break. "Part 3 of 8 looks at tea." belongs to the text and stays.
_LABEL = re.compile(
    rf"^\W*(?:paragraph\s*{_INDEX}|段落\s*{_INDEX}|第\s*{_INDEX}\s*(?:段落|自然段|段))\W{{0,4}}?"
    r"(?:[:：]|\s[-–—]|\*\*|\n|$)[\s*_:：–—-]*",
    re.IGNORECASE,
)
_PLAN_LINE = re.compile(r"^[^\n]*(?:word\s*count|字数)\s*[:：][^\n]*(?:\n|$)", re.IGNORECASE)
_PREFACE = re.compile(
    r"^\W{0,3}(?:(?:sure|certainly|of course|okay|ok)\b[^\n]{0,20}?)?(?:here(?:'|’)?s|here is|below is) "
    r"(?:the |your |a |my )"
    r"[^\n]{0,40}?(?:paragraph|section|text|continuation|draft)[^\n]{0,60}[:：]\s*\n"
    r"|^\W{0,3}(?:好的|当然)?[，,。！!]?\s*(?:以下|下面|这)(?:是|为)[^\n]{0,20}(?:段|部分|正文|内容|续写)[^\n]{0,12}[:：]\s*\n",
    re.IGNORECASE,
)
_COUNT_BEHIND = re.compile(
    r"\n\W{0,3}(?:(?:total )?word\s*count|(?:本段|全文)?(?:共|约)?字数(?:统计)?)\s*[:：]?\s*"
    r"(?:about|approximately|约)?\s*"
    r"[\d,]+\s*(?:words?|字)?\W{0,4}$",
    re.IGNORECASE,
)
_SHORTEST_ECHO = 30  # letters; a shorter instruction may be the title
_CODE = re.compile(r"```.*?```", re.DOTALL)
_OTHER_LANGUAGE = re.compile(r"english|chinese|translat|bilingual|英文|英语|中文|汉语|华文|翻译|双语", re.IGNORECASE)
_PROSE_WORDS = 20  # a shorter paragraph may be a title or a name, in any language
_WRONG_SHARE = 0.3


class Cleaned(NamedTuple):
    """A corrected paragraph, and the names of the rules that changed it."""

    text: str
    rules: tuple[str, ...]


def clean_paragraph(text: str, step: PlanStep, *, instruction: str = "") -> Cleaned:
    """Apply the correcting rules in order.

    Rules: reasoning, zero_width, preface, instruction_echo, step_echo, label, word_count.
    """
    rules = []
    text = text.strip()
    for rule, mended in (
        ("reasoning", lambda text: split_reasoning(text).answer),
        ("zero_width", without_unseen),
        ("preface", lambda text: _PREFACE.sub("", text, count=1)),
        ("instruction_echo", lambda text: _without_instruction(text, instruction)),
        ("step_echo", lambda text: _without_echo(text, step)),
        ("label", lambda text: _LABEL.sub("", text, count=1)),
        ("word_count", lambda text: _COUNT_BEHIND.sub("", text)),
    ):
        after = mended(text).strip()
        if after != text:
            rules.append(rule)
        text = after
    return Cleaned(text, tuple(rules))


def _without_echo(text: str, step: PlanStep) -> str:
    """Remove a first line that repeats the plan's line: with its word count field, or word for word."""
    first, _, rest = text.partition("\n")
    bare = _LABEL.sub("", first, count=1).strip(" *_#>-:：.。")
    is_echo = bare == step.point.strip(".。") or (_PLAN_LINE.match(first) and step.point[:20] in first)
    return rest.strip() if is_echo and rest.strip() else text


def _without_instruction(text: str, instruction: str) -> str:
    """Remove the instruction if the text begins with it, word for word, on separate lines."""
    rest = text.removeprefix(instruction)
    is_echo = len(instruction) >= _SHORTEST_ECHO and rest != text and rest.startswith("\n") and rest.strip()
    return rest if is_echo else text


def draft_fault(draft: Draft, *, min_words: int) -> Failure | None:
    """Why a draft must be dropped, or None: empty_paragraph, refusal, repetition, wrong_language or too_short."""
    for number, paragraph in enumerate(draft.paragraphs, 1):
        if not count_words(paragraph):
            return _failure(draft, "empty_paragraph", f"paragraph {number} holds no words after cleaning")
        if is_refusal(paragraph):
            return _failure(draft, "refusal", f"paragraph {number}: {' '.join(paragraph.split())[:120]}")
        if loop := find_loop(paragraph):
            return _failure(draft, "repetition", f"paragraph {number} repeats the same words: {loop[:80]}")
    if twice := _repeated_paragraph(draft):
        return _failure(draft, "repetition", twice)
    if wrong := _wrong_language(draft):
        return _failure(draft, "wrong_language", wrong)
    words = count_words(draft.text)
    if words < min_words:
        return _failure(draft, "too_short", f"{plural(words, 'word')}, generate.min_words={min_words:,}")
    return None


def _repeated_paragraph(draft: Draft) -> str | None:
    """The first paragraph above a minimum length that repeats an earlier one."""
    seen: dict[str, int] = {}
    for number, paragraph in enumerate(draft.paragraphs, 1):
        key = " ".join(paragraph.lower().split())
        if key in seen and count_words(paragraph) >= _PROSE_WORDS:
            return f"paragraph {number} repeats paragraph {seen[key]}"
        seen.setdefault(key, number)
    return None


def _wrong_language(draft: Draft) -> str | None:
    """Detail if over 30% of words are prose in the other language and the instruction names no language, else None.

    Only English and Chinese are distinguished, by their letters: a French draft counts as English.
    """
    wanted = draft.instruction.language
    if _OTHER_LANGUAGE.search(draft.instruction.text):
        return None
    total = wrong = 0
    for paragraph in draft.paragraphs:
        prose = _CODE.sub("", paragraph)
        words = count_words(prose)
        total += words
        if words >= _PROSE_WORDS and language_of(prose) != wanted:
            wrong += words
    return f"{wrong:,} of {total:,} words are not {wanted}" if wrong > _WRONG_SHARE * total else None


def _failure(draft: Draft, reason: str, detail: str) -> Failure:
    return Failure(id=draft.id, stage="clean", reason=reason, detail=detail, attempts=1)
