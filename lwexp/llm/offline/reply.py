"""What the offline stand-in teacher answers: pure functions from a prompt to a reply, without litellm.

It understands three requests, in our own prompts (sections in tags) and in the original's (sections under
headings): plan this instruction, write this line of the plan, and anything else, which it takes for a direct
question and answers in full. Unlike a language model it reads only a topic and a length out of an instruction.
Whether an instruction needs a long answer is answered in ``offline_select``.

Source of the original's format: THUDM/LongWriter agentwrite/prompts at 3fcfdff.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from lwexp.llm.offline.select import long_output_reply
from lwexp.llm.offline.text import BENCH_TOPICS, TOPICS, plan_points, write_paragraph
from lwexp.records import Language
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
_STATED_WORDS = re.compile(r"(\d[\d,]*)\s*(?:-\s*)?(?:words?\b|字)")
_TOPIC = {
    "en": re.compile(r"\b(?:about|on|describing|titled)\s+(?:the topic of\s+)?([^.,;:?!\n]+)"),
    "zh": re.compile(r"(?:关于|介绍|以|围绕)([^，。；：？！\n]+?)(?:的文章|的文字|为题|[，。；：？！\n]|$)"),
}
_TOKEN = re.compile(r"[\u4e00-\u9fff]|\b[a-zA-Z]+\b")


class Reply(NamedTuple):
    """An answer as a provider would give it; the stand-in's token is a word or a Chinese character."""

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


def teacher_reply(
    messages: Sequence[Mapping[str, str]], *, seed: int, paragraph_words: int, miss: float, max_tokens: int
) -> Reply:
    """Answer the last message.

    Args:
        messages: Chat messages with ``role`` and ``content``.
        seed: The same seed and messages give the same answer.
        paragraph_words: Words planned for a paragraph.
        miss: Plans add up to the required length times 1 + u, u uniform in [-miss, +miss].
        max_tokens: Longer answers are cut here, with finish reason ``length``.
    """
    prompt = messages[-1]["content"]
    if (judged := long_output_reply(prompt)) is not None:
        return Reply(judged, "stop", count_words(prompt), count_words(judged))
    instruction = _first_group(_INSTRUCTION, prompt)
    if instruction is None and len(messages) > 1:
        # A plan that is asked for once more: the instruction stands in the first message.
        instruction = _first_group(_INSTRUCTION, messages[0]["content"])
    step = _first_group(_STEP, prompt)
    plan = _first_group(_PLAN, prompt)
    brief = _read_brief(instruction if instruction is not None else prompt)
    if instruction is not None and step is not None and plan is not None:
        text = _paragraph(brief, plan, step, seed)
    else:
        points = plan_points(
            topic=brief.topic, words=brief.words, paragraph_words=paragraph_words, miss=miss,
            language=brief.language, seed=seed,
        )  # fmt: skip
        if instruction is not None:
            text = _plan_text(points, brief.language)
        else:
            text = _whole_text(brief, [words for _, words in points], seed)
    prompt_tokens = sum(count_words(message["content"]) for message in messages)
    completion_tokens = count_words(text)
    if completion_tokens > max_tokens:
        return Reply(_first_tokens(text, max_tokens), "length", prompt_tokens, max_tokens)
    return Reply(text, "stop", prompt_tokens, completion_tokens)


class _Brief(NamedTuple):
    topic: str
    words: int
    language: Language


def _read_brief(instruction: str) -> _Brief:
    """Topic, required length and language of an instruction: a known topic, or the words after "about"."""
    language = language_of(instruction)
    known = [topic for topic in (*TOPICS[language], *BENCH_TOPICS[language]) if topic in instruction]
    stated = _STATED_WORDS.search(instruction)
    words = stated_words(instruction) or (int(stated[1].replace(",", "")) if stated else 0)
    if known:
        topic = max(known, key=len)
    else:
        named = _TOPIC[language].search(instruction)
        phrase = (named[1] if named else instruction).strip()
        topic = phrase[:12] if language == "zh" else " ".join(phrase.split()[:6])
    return _Brief(topic, words or _DEFAULT_WORDS, language)


def _plan_text(points: Sequence[tuple[str, int]], language: Language) -> str:
    """The paper's plan format: one line a paragraph, with its main point and word count."""
    if language == "zh":
        lines = [f"段落{i} - 主要内容：{point} - 字数：{words}字" for i, (point, words) in enumerate(points, 1)]
    else:
        lines = [
            f"Paragraph {i} - Main Point: {point} - Word Count: {words} words"
            for i, (point, words) in enumerate(points, 1)
        ]
    return "\n".join(lines)


def _paragraph(brief: _Brief, plan: str, step: str, seed: int) -> str:
    """The paragraph for one line of a plan; its place is where the plan holds the line."""
    lines = [line.strip() for line in plan.splitlines() if _STEP_WORDS.search(line)]
    number = re.search(r"\d+", step)
    part = int(number[0]) if number else 1
    if step.strip() in lines:
        part = lines.index(step.strip()) + 1
    stated = _STEP_WORDS.search(step)
    return write_paragraph(
        topic=brief.topic,
        part=part,
        parts=max(part, len(lines)),
        words=int(stated[1].replace(",", "")) if stated else brief.words,
        language=brief.language,
        seed=seed,
    )


def _whole_text(brief: _Brief, words: Sequence[int], seed: int) -> str:
    """All parts at once, as an answer to a direct question."""
    return "\n\n".join(
        write_paragraph(topic=brief.topic, part=i, parts=len(words), words=count, language=brief.language, seed=seed)
        for i, count in enumerate(words, 1)
    )


def _first_tokens(text: str, count: int) -> str:
    for number, token in enumerate(_TOKEN.finditer(text), 1):
        if number == count:
            return text[: token.end()]
    return text


def _first_group(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return next((group for group in found.groups() if group is not None), "") if found else None
