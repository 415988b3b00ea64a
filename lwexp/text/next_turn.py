"""Finds where a model did not stop after its answer and also wrote the next turns of the chat.

The next turn begins with a marker of a chat template that the server left in the text, or is another request and reply
in plain words. Markers at the very start of a text are left over from the prompt's template; the answer follows them.
"""

import re
from typing import NamedTuple

# A marker in quotation marks or backticks is mentioned, not used.
_NOT_QUOTED = r"(?<![\"'`\u201c\u2018])"

# Rule -> markers. The first marker after the start ends the answer. If two rules match there, the first rule counts.
_MARKERS = {
    "llama2": r"\[/?INST\]|<</?SYS>>|</s>",
    "llama3": r"<\|(?:start_header_id|end_header_id|eot_id|eom_id|begin_of_text|end_of_text)\|>",
    "chatml": r"<\|im_(?:start|end|sep)\|>",
    "glm": r"<\|(?:user|assistant|system|observation|endoftext)\|>|\[gMASK\]|<sop>",
    "gemma": r"<(?:start|end)_of_turn>|<eos>",
    "phi": r"<\|end\|>",
    "deepseek": "<\uff5c(?:User|Assistant|end\u2581of\u2581sentence|begin\u2581of\u2581sentence)\uff5c>",
    "alpaca": r"^### (?:Instruction|Input|Response|Human|Assistant|User):?[ \t]*$",
}
_COMPILED = re.compile(
    _NOT_QUOTED + "(?:" + "|".join(f"(?P<{name}>{pattern})" for name, pattern in _MARKERS.items()) + ")", re.MULTILINE
)
# Every marker has one of these. Looking for them first spares most texts the search, which takes 7 ms for 10,000 words.
_IN_MARKERS = ("<", "[INST]", "[/INST]", "[gMASK]", "### ")
_LEADING = re.compile(
    rf"(?:\s*(?:{'|'.join(_MARKERS.values())})\s*+(?:(?:user|assistant|system|model)\n)?)+", re.MULTILINE
)
_TEMPLATE = re.compile("|".join([*_MARKERS.values(), "<s>", "<bos>"]), re.MULTILINE)
_ROLE = re.compile(r"(?<!\s)(?:\s*(?:(?:user|assistant|system|model)(?:\n|\s*$)|Human:))+")
# A request and its reply in plain words. A text that begins with a speaker is a dialogue, which is not cut.
_ASKING = re.compile(r"^(?:Human|User):", re.MULTILINE)
_REPLYING = re.compile(r"^(?:Assistant|AI):", re.MULTILINE)
_DIALOGUE = re.compile(r"\s*\**(?:Human|User|Assistant|AI|System)\**:")


class NextTurn(NamedTuple):
    """Where the answer ends and the next turn begins, in characters, and the rule that says so."""

    start: int
    rule: str


def find_next_turn(text: str) -> NextTurn | None:
    """The first place at which a text is no longer the answer; None for most texts.

    Example:
        ``find_next_turn("Tea. [INST] More? [/INST] Rain.") == NextTurn(5, "llama2")`` and
        ``find_next_turn("[/INST] Tea.") is None``
    """
    leading = _LEADING.match(text)
    begin = leading.end() if leading else 0
    found = []
    if (marker := _COMPILED.search(text, begin) if _may_have_marker(text) else None) is not None:
        found.append(NextTurn(marker.start(), str(marker.lastgroup)))
    is_asking = "Human:" in text or "User:" in text
    asking = _ASKING.search(text, begin) if is_asking and not _DIALOGUE.match(text, begin) else None
    if asking and _REPLYING.search(text, asking.end()):
        found.append(NextTurn(asking.start(), "speakers"))
    return min(found, default=None)


def _may_have_marker(text: str) -> bool:
    return any(part in text for part in _IN_MARKERS)


def without_next_turn(text: str) -> str:
    """The answer alone: without leading markers of a template, and without next turns.

    A text without either is returned unchanged.
    """
    leading = _LEADING.match(text)
    turn = find_next_turn(text)
    if leading is None and turn is None:
        return text
    return text[leading.end() if leading else 0 : turn.start if turn else None].strip()


def turn_texts(text: str) -> list[str]:
    """The turns of a request in a chat template, without markers and roles.

    Example:
        ``turn_texts("<|im_start|>user\\nTea?<|im_end|>\\n<|im_start|>assistant\\n") == ["Tea?"]``
    """
    pieces = _TEMPLATE.split(text)
    return [turn for piece in pieces if (turn := _ROLE.sub("", piece).removesuffix("Assistant:").strip())]


def without_turn_markers(text: str) -> str:
    """The text with a blank in place of each marker, and of each speaker if there is a turn in plain words."""
    plain = _COMPILED.sub(" ", text) if _may_have_marker(text) else text
    turn = find_next_turn(plain)
    if turn is not None and turn.rule == "speakers":
        plain = plain[: turn.start] + re.sub(
            r"^(?:Human|User|Assistant|AI):", " ", plain[turn.start :], flags=re.MULTILINE
        )
    return plain
