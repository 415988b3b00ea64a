"""Recognises errors by providers' own words: no two use the same codes, and few use the HTTP status.

The comments name the providers. Sources: the providers' error pages, and threads quoted in tests/llm/providers.
"""

import re
from typing import NamedTuple

_MONEY = re.compile(
    r"insufficient[ _-]?(?:quota|balance|credits?|funds)"  # OpenAI, DeepSeek, MiniMax, OpenRouter
    r"|(?:balance|credits?|funds)\b.{0,30}\b(?:insufficient|too low|exhausted|not enough|used up)"
    r"|exceeded_current_quota|billing_(?:hard_limit|not_active)|billing hard limit|out of credits?"  # Moonshot, OpenAI
    r"|requires more credits|payment required|no resource package"  # OpenRouter, Zhipu
    r"|arrearage|arrears|account\w*overdue|overdue[ _-]?(?:balance|payment)"  # Alibaba, Volcengine
    r"|account.{0,40}good standing"
    r"|budget has been exceeded|\bbudget_exceeded\b|\bexceededbudget\b"  # litellm's proxy
    r"|usage limits?\b.{0,60}regain access"  # Anthropic
    r"|欠费|余额.{0,6}不足|余额已|请充值|请及时充值|额度.{0,6}(?:用尽|不足|耗尽)|资源包.{0,6}(?:用尽|耗尽|不足)",
    re.IGNORECASE | re.DOTALL,
)
# Gemini also says this about a limit per minute, and then names a time to try again.
_QUOTA = re.compile(r"exceeded your current quota|check your plan and billing", re.IGNORECASE)
_COMES_BACK = re.compile(r"retry in \d|retrydelay|per ?minute|retry after \d", re.IGNORECASE)

_FILTER = re.compile(
    r"content[ _-]?(?:management )?policy|content[ _-]?filter|filtering policy"  # Azure, OpenAI, Anthropic
    r"|usage policy|usage policies|\binvalid_prompt\b|safety system"  # OpenAI
    r"|data_?inspection_?failed|inappropriate content"  # Alibaba
    r"|content exists risk|considered high risk|high[ _-]risk"  # DeepSeek, Moonshot
    r"|new_sensitive|sensitive (?:content|information|words)|prohibited_content|unsafe content|content is unsafe"
    r"|requires moderation|flagged (?:as|by|for)|input was flagged|moderation"  # OpenRouter, Together
    r"|(?:不安全|敏感|违规|违法|不当).{0,6}(?:内容|信息|词)|内容.{0,8}(?:违规|敏感|安全审核)",  # Zhipu, Baidu
    re.IGNORECASE,
)

_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context[ _-](?:length|window|size)"  # OpenAI, vLLM, SGLang, llama.cpp
    r"|(?:prompt|input|request|message)s?\b.{0,20}\b(?:is |are )?too (?:long|large)"  # Anthropic
    r"|too many (?:input )?tokens"
    r"|range of input length|input length|reduce the length|request entity too large|string too long"  # Alibaba, vLLM
    r"|(?:输入|上下文|提示词?|请求).{0,10}(?:过长|超长|超出|超过)",
    re.IGNORECASE,
)

_UNKNOWN_MODEL = re.compile(
    r"invalid model name|\bmodel_not_found\b|模型不存在"
    r"|\bmodel\b[:=]?(?:\s+\S+)?\s+(?:does |is )?not (?:exist|found)\b",
    re.IGNORECASE,  # litellm's proxy; OpenAI; DeepSeek and others; Zhipu
)

_NOT_TAKEN = re.compile(
    r"unsupported|(?:not|n't) (?:be )?support|unrecognized|unknown|unexpected|not (?:permitted|allowed|available)"
    r"|extra (?:inputs?|fields?)|invalid|unavailable|only the default|must be|deprecated|no longer|not take|instead"
    r"|(?:不支持|无效|未知|不允许)",
    re.IGNORECASE,
)
_OPTIONS = {
    "response_format": re.compile(
        r"response_?format|json_?schema|structured[ _-]?outputs?|guided[ _-]?(?:json|decoding)|结构化输出",
        re.IGNORECASE,
    ),
    "max_completion_tokens": re.compile(r"max_tokens.{0,80}use.{0,5}max_completion_tokens", re.IGNORECASE | re.DOTALL),
    "enable_thinking": re.compile(r"enable_thinking.{0,40}(?:must be|should be).{0,20}false", re.IGNORECASE),
    "temperature": re.compile(r"\btemperature\b", re.IGNORECASE),
    "top_p": re.compile(r"\btop_p\b", re.IGNORECASE),
    "seed": re.compile(r"\bseed\b", re.IGNORECASE),
}
_MOST_TOKENS = re.compile(
    r"max_(?:completion_|new_|output_)?tokens.{0,80}?(?:at most|up to|<=|less than or equal to|maximum(?: of| is|:)?"
    r"|\[\s*\d+\s*,)\s*(\d[\d,]*)",
    re.IGNORECASE | re.DOTALL,
)


class Option(NamedTuple):
    """A parameter that a server refuses, and the largest value that it accepts, if it says so."""

    name: str
    most: int | None = None


def is_money(text: str, *, is_rate_limit: bool) -> bool:
    """Whether the account is empty or in arrears, as opposed to a rate limit."""
    if _MONEY.search(text):
        return True
    return bool(_QUOTA.search(text)) and not (is_rate_limit and _COMES_BACK.search(text))


def is_filter(text: str) -> bool:
    """Whether a content filter refused the prompt or the answer."""
    return bool(_FILTER.search(text))


def is_too_long(text: str) -> bool:
    """Whether prompt and answer do not fit into the model's context."""
    return bool(_TOO_LONG.search(text))


def is_unknown_model(text: str) -> bool:
    """Whether no model has the requested name; most providers say so with status 404, some with 400."""
    return bool(_UNKNOWN_MODEL.search(text))


def refused_option(text: str) -> Option | None:
    """The parameter that a server says it refuses; None if it names none of those that lwexp adds by itself."""
    if _OPTIONS["max_completion_tokens"].search(text):
        return Option("max_completion_tokens")
    if most := _MOST_TOKENS.search(text):
        return Option("max_tokens", int(most[1].replace(",", "")))
    if not _NOT_TAKEN.search(text):
        return None
    named = ((found.start(), name) for name, pattern in _OPTIONS.items() if (found := pattern.search(text)))
    first = min(named, default=None)
    return Option(first[1]) if first else None
