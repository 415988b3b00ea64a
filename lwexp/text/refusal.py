"""Recognises refusals, in English and Chinese, that a model gave in place of a draft, plan or answer."""

import re

from lwexp.text.words import count_words

_REFUSAL = re.compile(
    r"^[\s*_#>]*(?:"
    r"(?:(?:i['’]?m|i am|we are)\s+(?:really |very |so )?sorry|sorry|i apologi[sz]e|unfortunately|regrettably)\b"
    r".{0,80}?\b(?:can['’]?t|cannot|can not|unable|not able|won['’]t|not comfortable)"
    r"|(?:i|we)\s+(?:can(?:['’]t|not|\s+not)|am unable to|am not able to|won['’]t|must decline)\b.{0,40}?"
    r"\b(?:help|assist|write|fulfil|fulfill|provide|create|comply|continue|generate|complete)"
    r"|as an ai\b|作为(?:一个|一名)?(?:ai|人工智能)"
    r"|(?:很抱歉|非常抱歉|抱歉|对不起).{0,20}?(?:无法|不能|不便)"
    r"|我(?:无法|不能)(?:完成|提供|协助|帮助|满足|为您|为你|继续|生成))",
    re.IGNORECASE | re.DOTALL,
)
_REFUSAL_WORDS = 120  # a longer text with such a start is a first-person story


def is_refusal(text: str) -> bool:
    """Whether a text is a refusal: it starts like one and is short."""
    return bool(_REFUSAL.match(text.lstrip())) and count_words(text) <= _REFUSAL_WORDS
