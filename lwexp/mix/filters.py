"""Decides which imported rows are worth training on: takes a row and limits, returns a reason to drop it or None."""

from typing import NamedTuple

from lwexp.config.data import FilterConfig
from lwexp.records import Conversation
from lwexp.text.plain import plural
from lwexp.text.refusal import is_refusal
from lwexp.text.stated_lengths import stated_lengths
from lwexp.text.words import score_length


class FilterHit(NamedTuple):
    """Why a row is left out: a short stable word for counting, and a sentence."""

    reason: str
    detail: str


def stated_length(row: Conversation) -> int | None:
    """The one length, in words, that a row's first instruction states; None where it states none or several.

    Example:
        "Write a 2,000-word essay" gives 2,000; "two chapters, one of 500 and one of 800 words" gives None.
    """
    lengths = _stated(row)
    return lengths[0] if len(lengths) == 1 else None


def filter_hit(row: Conversation, limits: FilterConfig) -> FilterHit | None:
    """Why the limits leave a row out, or None.

    ``min_length_score`` is the filter that cut LongWriter-6k to 666 rows: the instruction states exactly one length,
    and the S_l of the longest answer against that length is at least this value.

    Source: arXiv 2410.10210; modelscope/evalscope third_party/longbench_write/tools/data_etl.py. lwexp recognises
    stated lengths in its own way (``lwexp.text.stated_lengths``), so its rows may differ from those 666.
    """
    words = row.actual_words
    if limits.drop_refusals:
        for message in row.messages:
            if message.role == "assistant" and is_refusal(message.content):
                return FilterHit("refusal", " ".join(message.content.split())[:120])
    if limits.min_words is not None and words < limits.min_words:
        return FilterHit("too_short", f"{plural(words, 'word')}, filter.min_words={limits.min_words:,}")
    if limits.max_words is not None and words > limits.max_words:
        return FilterHit("too_long", f"{words:,} words, filter.max_words={limits.max_words:,}")
    return None if limits.min_length_score is None else _off_length(row, limits.min_length_score)


def _off_length(row: Conversation, least: float) -> FilterHit | None:
    lengths = [row.required_words] if row.required_words else _stated(row)
    if not lengths:
        return FilterHit("no_stated_length", "the instruction states no length")
    if len(lengths) > 1:
        stated = ", ".join(f"{length:,}" for length in lengths)
        return FilterHit("several_stated_lengths", f"the instruction states {stated} words")
    score = score_length(lengths[0], row.actual_words)
    if score >= least:
        return None
    detail = f"{plural(row.actual_words, 'word')} where {lengths[0]:,} were asked for: S_l {score:.1f}"
    return FilterHit("off_length", f"{detail}, filter.min_length_score={least:g}")


def _stated(row: Conversation) -> list[int]:
    return stated_lengths(next((message.content for message in row.messages if message.role == "user"), ""))
