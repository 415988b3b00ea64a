"""Replies of the offline stand-in teacher: pure functions from a prompt to a reply, without litellm.

It understands four requests, in lwexp's prompts (sections in tags) and in the original's (sections under headings):
plan this instruction; write this line of the plan; say if this instruction needs a long answer; anything else is a
direct question, which it answers in full. It reads only a topic and a length from an instruction, so it can show that a
path works, but nothing about quality.

Source of the original's format: THUDM/LongWriter agentwrite/prompts at 3fcfdff.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lwexp.llm.answer import Reply
from lwexp.llm.offline.grammar import BENCH_TOPICS, TOPICS, plan_points, write_paragraph
from lwexp.records import Language
from lwexp.text.plan_text import plan_line
from lwexp.text.stated_lengths import stated_words
from lwexp.text.words import count_words, language_of

_DEFAULT_WORDS = 400  # for an instruction that states no length

_INSTRUCTION = re.compile(
    r"<instruction>\n(.*?)\n</instruction>"
    r"|instruction is as follows:\s*\n(.*?)\n\s*Please break it down"
    r"|Writing instruction:\s*\n(.*?)\n\s*Writing steps:",
    re.DOTALL,
)
_PLAN = re.compile(r"<plan>\n(.*?)\n</plan>|Writing steps:\s*\n(.*?)\n\s*Already written text:", re.DOTALL)
_STEP = re.compile(r"<step>\n(.*?)\n</step>\s*$|now continue writing (.*?)\. If needed", re.DOTALL)
_STEP_WORDS = re.compile(r"(?:Word Count|字数)\s*[:：]\s*(\d[\d,]*)")
_WORDS = re.compile(r"(?<!\d)(?<!\d,)(\d[\d,]*)\s*(?:-\s*)?(?:words?\b|字)")
_TOPIC = {
    "en": re.compile(r"\b(?:about|on|describing|titled)\s+(?:the topic of\s+)?([^.,;:?!\n]+)"),
    "zh": re.compile(r"(?:关于|介绍|以|围绕)([^，。；：？！\n]+?)(?:的文章|的文字|为题|[，。；：？！\n]|$)"),
}
_TOKEN = re.compile(r"[\u4e00-\u9fff]|\b[a-zA-Z]+\b")

_NEEDS_LONG = re.compile(
    r"(?:at least|至少需要)\s*(?P<words>[\d,]+)\s*(?:words|字).*?\n(?P<code>[0-9a-f]{16})\n(?P<text>.*)\n(?P=code)\n"
    r'.*"needs_long_output"',
    re.DOTALL,
)
_LONG_FORMS = re.compile(
    r"\b(?:novel|novella|story|thesis|dissertation|report|essay|screenplay|script|memoir|handbook|guide|book|chapters?)\b"
    r"|小说|故事|论文|报告|剧本|教程|指南|综述|自传|长文",
    re.IGNORECASE,
)


class _Brief(NamedTuple):
    topic: str
    words: int
    language: Language


def teacher_reply(
    messages: Sequence[Mapping[str, str]], *, seed: int, paragraph_words: int, length_noise: float, max_tokens: int
) -> Reply:
    """Answer the last message. A token of the stand-in is a word or a Chinese character.

    Args:
        messages: Chat messages with ``role`` and ``content``.
        seed: The same seed and messages give the same answer.
        paragraph_words: Words planned per paragraph.
        length_noise: Plans add up to the required length times 1 + u, u uniform in [-length_noise, +length_noise].
        max_tokens: Longer answers are cut here, with finish reason ``length``.
    """
    prompt = messages[-1]["content"]
    if (judged := long_output_reply(prompt)) is not None:
        return Reply(judged, "stop", count_words(prompt), count_words(judged))
    # When a plan is asked for again, the instruction is in the first message.
    instruction = _first_group(_INSTRUCTION, prompt) or _first_group(_INSTRUCTION, messages[0]["content"])
    plan, step = _first_group(_PLAN, prompt), _first_group(_STEP, prompt)
    brief = _read_brief(prompt if instruction is None else instruction)
    if instruction is not None and step is not None and plan is not None:
        text = _paragraph(brief, plan, step, seed)
    else:
        points = plan_points(
            topic=brief.topic, words=brief.words, paragraph_words=paragraph_words, length_noise=length_noise,
            language=brief.language, seed=seed,
        )  # fmt: skip
        if instruction is not None and '"word_count"' in prompt:
            steps = [{"main_point": point, "word_count": words} for point, words in points]
            text = json.dumps({"steps": steps}, ensure_ascii=False)
        elif instruction is not None:
            text = "\n".join(plan_line(i, *point, brief.language) for i, point in enumerate(points, 1))
        else:
            parts = len(points)
            text = "\n\n".join(_part(brief, i, parts, words, seed) for i, (_, words) in enumerate(points, 1))
    prompt_tokens = sum(count_words(message["content"]) for message in messages)
    completion_tokens = count_words(text)
    if completion_tokens > max_tokens:
        *_, last = (token for _, token in zip(range(max_tokens), _TOKEN.finditer(text), strict=False))
        return Reply(text[: last.end()], "length", prompt_tokens, max_tokens)
    return Reply(text, "stop", prompt_tokens, completion_tokens)


def long_output_reply(prompt: str) -> str | None:
    """Whether an instruction needs a long answer, by its stated length, else by a few words; None for other prompts."""
    asked = _NEEDS_LONG.search(prompt)
    if asked is None:
        return None
    stated = stated_words(asked["text"])
    needed = bool(_LONG_FORMS.search(asked["text"])) if stated is None else stated >= _int(asked["words"])
    return json.dumps({"needs_long_output": needed})


def first_length(text: str) -> int | None:
    """The first word count in a text, or None."""
    found = _WORDS.search(text)
    return _int(found[1]) if found else None


def _read_brief(instruction: str) -> _Brief:
    """Topic, required length and language of an instruction: a known topic, or the words after "about"."""
    language = language_of(instruction)
    known = [topic for topic in (*TOPICS[language], *BENCH_TOPICS[language]) if topic in instruction]
    if known:
        topic = max(known, key=len)
    else:
        named = _TOPIC[language].search(instruction)
        phrase = (named[1] if named else instruction).strip()
        topic = phrase[:12] if language == "zh" else " ".join(phrase.split()[:6])
    return _Brief(topic, stated_words(instruction) or first_length(instruction) or _DEFAULT_WORDS, language)


def _paragraph(brief: _Brief, plan: str, step: str, seed: int) -> str:
    """The paragraph for one line of a plan; the line's position in the plan gives its number."""
    lines = [line.strip() for line in plan.splitlines() if _STEP_WORDS.search(line)]
    if step.strip() in lines:
        part = lines.index(step.strip()) + 1
    else:
        number = re.search(r"\d+", step)
        part = int(number[0]) if number else 1
    stated = _STEP_WORDS.search(step)
    return _part(brief, part, max(part, len(lines)), _int(stated[1]) if stated else brief.words, seed)


def _part(brief: _Brief, part: int, parts: int, words: int, seed: int) -> str:
    return write_paragraph(topic=brief.topic, part=part, parts=parts, words=words, language=brief.language, seed=seed)


def _first_group(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return next((group for group in found.groups() if group is not None), "") if found else None


def _int(digits: str) -> int:
    return int(digits.replace(",", ""))
