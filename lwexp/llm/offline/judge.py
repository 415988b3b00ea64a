"""The offline judge: six scores from counting. They must not be compared with published numbers.

It does not measure quality. It rewards features of the offline teacher's texts (the requested topic, parts in order, no
repeated sentences, an ending, enough words), so that the miniature recipe has a signal to follow:

| dimension | 5 if |
|---|---|
| relevance | every content word of the request (every pair of Chinese characters) occurs in the response |
| accuracy | "Part i of k" statements agree on k, and no i is outside 1..k |
| coherence | the parts are in the order 1, 2, ..., k |
| clarity | no sentence repeats one of the three before it (far apart, simple sentences may recur) |
| breadth_and_depth | the sentences that are not repeated have as many words as the request asks for |
| reading_experience | the text ends with a closing sentence, and no words are repeated over and over |
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lwexp.llm.answer import Reply
from lwexp.llm.offline.teacher import first_length
from lwexp.text.words import count_words

DIMENSIONS = ("relevance", "accuracy", "coherence", "clarity", "breadth_and_depth", "reading_experience")

_ASKED = r"request|instruction|question|prompt|task"
_GIVEN = r"response|answer|reply"
_PART = re.compile(r"[Pp]art (\d+) of (\d+)|共\s*(\d+)\s*段，第\s*(\d+)\s*段")
_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？]?")
_CLOSING = re.compile(r"\b(?:end|ends|conclusion|finally|in short)\b|全文|总之|结束|写到这里", re.IGNORECASE)
_STUCK = re.compile(r"(.{2,40}?)\1{3,}", re.DOTALL)
_WORD = re.compile(r"[a-zA-Z]{3,}")
_HAN_PAIR = re.compile(r"(?=([\u4e00-\u9fff]{2}))")
_ASKING = frozenset(("about", "and", "article", "for", "need", "please", "text", "the", "word", "words", "write"))
# Words of a Chinese request that do not belong to its topic; removed before pairs of characters are taken.
_ZH_ASKING = re.compile(r"请写一篇|写一篇|请用|左右的|左右|大约|关于|的文章|文章|介绍|为题|请|字|写|以")


def judge_reply(messages: Sequence[Mapping[str, str]], *, schema: Mapping[str, Any] | None) -> Reply:
    """Score the response that the last message holds.

    Args:
        messages: Chat messages. Request and response are in tags, such as <response>...</response>; tag names may have
            a suffix.
        schema: The provider's ``response_format``; its property names are used if they name the dimensions.
    """
    prompt = messages[-1]["content"]
    request, end = _tagged(_ASKED, prompt, 0)
    response, end = _tagged(_GIVEN, prompt, end)  # after the request, which may contain such tags itself
    names = (schema or {}).get("json_schema", {}).get("schema", {}).get("properties", {})
    if "better" in names:
        other = _tagged(_GIVEN, prompt, end)[0]
        texts = request or "", response or "", other or ""
        a, b = (sum(judge(texts[0], text).values()) for text in texts[1:])
        better = "first" if a > b else "second" if b > a else "tie"
        return Reply(json.dumps({"better": better}), "stop", count_words("".join(texts)), 4)
    scores = judge(request or "", prompt if response is None else response)
    named = {re.sub(r"[^a-z]+", "_", name.lower()).strip("_"): name for name in names}
    text = json.dumps({named.get(dimension, dimension): score for dimension, score in scores.items()})
    return Reply(text, "stop", sum(count_words(message["content"]) for message in messages), len(DIMENSIONS) * 4)


def judge(request: str, response: str) -> dict[str, int]:
    """Six integers from 1 to 5, each a share in [0, 1] put on that scale."""
    if not response.strip():
        return dict.fromkeys(DIMENSIONS, 1)
    sentences = [sentence.strip() for sentence in _SENTENCE.findall(response) if count_words(sentence)]
    fresh = [sentence for i, sentence in enumerate(sentences) if sentence not in sentences[max(0, i - 3) : i]]
    shares = (
        _overlap(request, response),
        _consistent_parts(response),
        _ordered_parts(response),
        len(fresh) / max(1, len(sentences)),
        _filled(request, fresh),
        _readable(sentences, response),
    )
    return {name: 1 + round(4 * share) for name, share in zip(DIMENSIONS, shares, strict=True)}


def _overlap(request: str, response: str) -> float:
    topic = _ZH_ASKING.sub(" ", request)
    wanted = {word.lower() for word in _WORD.findall(topic)} - _ASKING | set(_HAN_PAIR.findall(topic))
    present = response.lower()
    return sum(word in present for word in wanted) / len(wanted) if wanted else 0.5


def _parts(response: str) -> list[tuple[int, int]]:
    """(i, k) of every "Part i of k", in the order of the text."""
    found = _PART.findall(response)
    return [(int(i or zh_i), int(k or zh_k)) for i, k, zh_k, zh_i in found]


def _consistent_parts(response: str) -> float:
    parts = _parts(response)
    if not parts:
        return 0.5
    counts = [k for _, k in parts]
    usual = max(set(counts), key=counts.count)
    return sum(k == usual and 1 <= i <= k for i, k in parts) / len(parts)


def _ordered_parts(response: str) -> float:
    """Share of the expected steps 0 -> 1 -> 2 ... -> k that the text takes, whichever list is longer."""
    parts = [i for i, _ in _parts(response)]
    if not parts:
        return 0.5
    expected = max(len(parts), max(k for _, k in _parts(response)))
    return sum(here == before + 1 for before, here in zip([0, *parts], parts, strict=False)) / expected


def _filled(request: str, fresh: Sequence[str]) -> float:
    wanted = first_length(request)
    return min(1.0, sum(count_words(sentence) for sentence in fresh) / max(1, 400 if wanted is None else wanted))


def _readable(sentences: Sequence[str], response: str) -> float:
    if not sentences:
        return 0.0
    ends = response.rstrip()[-1] in '.!?。！？"”'
    return 0.4 * ends + 0.4 * bool(_CLOSING.search(sentences[-1])) + 0.2 * (not _STUCK.search(response))


def _tagged(names: str, prompt: str, start: int) -> tuple[str | None, int]:
    """Content of the first tag with one of the names, and its end: the LAST closing tag of that name."""
    opening = re.compile(rf"<([^<>/\n]*(?:{names})[^<>/\n]*)>", re.IGNORECASE).search(prompt, start)
    if opening is None:
        return None, start
    closing = prompt.rfind(f"</{opening[1]}>", opening.end())
    end = closing if closing > 0 else len(prompt)
    return prompt[opening.end() : end].strip(), end
