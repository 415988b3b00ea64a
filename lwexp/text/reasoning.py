"""Separates a model's reasoning from its answer.

Servers without a reasoning parser leave the reasoning in the text. With chat templates that open the block themselves,
only the closing tag is left. gpt-oss marks channels instead of tags.
"""

import re
from typing import NamedTuple

# By line: DeepSeek, Qwen, GLM and MiniMax; Seed-OSS; Claude and LongWriter-Zero; Magistral; Kimi.
_TAGS = (
    *((f"<{name}>", f"</{name}>") for name in ("think", "seed:think", "thinking", "thought", "reasoning")),
    ("[THINK]", "[/THINK]"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
)
_OPENING = re.compile(r"\s*(" + "|".join(re.escape(start) for start, _ in _TAGS) + ")", re.IGNORECASE)
# A tag in quotation marks or backticks is mentioned, not used.
_CLOSING = re.compile(
    r"(?<![\"'`\u201c\u2018])(" + "|".join(re.escape(end) for _, end in _TAGS) + r")(?![\"'`\u201d\u2019])",
    re.IGNORECASE,
)
_IN_CLOSING = ("</", "[/", "\u25c1/")  # looking for these first spares most texts the search
_CHANNELS = re.compile(r"\s*(?:<\|start\|>\w+)?<\|channel\|>")
_CHANNEL = re.compile(
    r"(?<!\s)(?:<\|(?:end|return|call)\|>|\s)*(?:<\|start\|>\w+)?<\|channel\|>\s*(\w++)"
    r"(?:[^<\n]*+(?:<\|constrain\|>\s*\w++\s*)?<\|message\|>|(?=\s))"
)
_CUT_CHANNEL = re.compile(r"<\|channel\|>\s*\w*$")
_END_OF_CHANNEL = re.compile(r"(?<!\s)(?:\s*<\|(?:end|return|call)\|>)+\s*$")
# The same channels when the tokenizer has dropped special tokens: "analysisThe user wants ...assistantfinalOnce ...".
_BARE_CHANNELS = re.compile(r"\s*analysis(?=[^a-z\s])(.*?)assistant\s*final(?=[^a-z])", re.DOTALL)
_ANSWER = re.compile(r"\s*<answer>(.*?)(?:</answer>\s*)?$", re.DOTALL | re.IGNORECASE)

UNFINISHED = "unfinished_reasoning"
"""Failure reason: the text ends before its answer begins."""

REASONING_MARKS = re.compile(
    "|".join(re.escape(tag) for pair in _TAGS for tag in pair) + r"|<\|channel\|>|assistant\s*final", re.IGNORECASE
)
"""All markers at which ``split_reasoning`` may cut."""


class Reasoned(NamedTuple):
    """The answer and the reasoning of a text. The answer is empty if the text ends within its reasoning."""

    answer: str
    reasoning: str = ""
    is_finished: bool = True


def split_reasoning(text: str) -> Reasoned:
    """Separate the reasoning at the start of a text from the answer after it; a text without reasoning is unchanged.

    Example:
        ``split_reasoning("<think>Short.</think>Tea.") == Reasoned("Tea.", "Short.")`` and
        ``split_reasoning("Short.\\n</think>\\nTea.") == Reasoned("Tea.", "Short.")``
    """
    if _CHANNELS.match(text):
        return _of_channels(text)
    if bare := _BARE_CHANNELS.match(text):
        return Reasoned(text[bare.end() :].strip(), bare[1].strip())
    thoughts: list[str] = []
    rest = text
    while opening := _OPENING.match(rest):
        start = opening[1]
        end = next(end for begin, end in _TAGS if begin.lower() == start.lower())
        at = rest.lower().find(end.lower(), opening.end())
        if at < 0:
            return Reasoned("", _joined([*thoughts, rest[opening.end() :]]), is_finished=False)
        thoughts.append(rest[opening.end() : at])
        rest = rest[at + len(end) :]
    may_close = not thoughts and any(part in rest for part in _IN_CLOSING)
    if may_close and (closing := _CLOSING.search(rest)) and not _is_written_about(rest, closing):
        thoughts.append(rest[: closing.start()])
        rest = rest[closing.end() :]
    if not thoughts:
        return Reasoned(text)
    if answer := _ANSWER.match(rest):
        rest = answer[1]
    return Reasoned(rest.strip(), _joined(thoughts))


def with_reasoning(beside: str, split: Reasoned) -> str:
    """All reasoning of an answer: what the server sent in a separate field, then what its text held."""
    return _joined([beside, split.reasoning])


def _is_written_about(text: str, closing: re.Match[str]) -> bool:
    """Whether the opening tag occurs earlier in the text, as in a text that explains such tags."""
    start = next(start for start, end in _TAGS if end.lower() == closing[1].lower())
    return start.lower() in text[: closing.start()].lower()


def _of_channels(text: str) -> Reasoned:
    """Split gpt-oss channels (analysis, commentary, final, each after a marker); the answer is the final channel."""
    starts = list(_CHANNEL.finditer(text))
    if not starts:  # cut inside its first marker, or not a channel of gpt-oss
        is_cut = _CUT_CHANNEL.search(text) is not None
        return Reasoned("" if is_cut else text, "", is_finished=not is_cut)
    answer: list[str] = []
    thoughts: list[str] = []
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        part = text[start.end() : following.start() if following else len(text)]
        (answer if start[1] == "final" else thoughts).append(_END_OF_CHANNEL.sub("", part))
    return Reasoned(_joined(answer), _joined(thoughts), is_finished=bool(answer))


def _joined(parts: list[str]) -> str:
    return "\n\n".join(part.strip() for part in parts if part.strip())
