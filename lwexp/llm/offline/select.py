"""The offline stand-in's yes or no to "does this request need a long answer?": a stated length, else a few words.

It stands in for a model's judgement so that selection runs without a key. It shows that the path works, never
which instructions are worth having.
"""

import json
import re

from lwexp.text.stated_lengths import stated_words

_ASKED = re.compile(
    r"(?:at least|至少需要)\s*(?P<words>[\d,]+)\s*(?:words|字).*?\n(?P<code>[0-9a-f]{16})\n(?P<text>.*)\n(?P=code)\n"
    r'.*"needs_long_output"',
    re.DOTALL,
)
_LONG_FORMS = re.compile(
    r"\b(?:novel|novella|story|thesis|dissertation|report|essay|screenplay|script|memoir|handbook|guide|book|chapters?)\b"
    r"|小说|故事|论文|报告|剧本|教程|指南|综述|自传|长文",
    re.IGNORECASE,
)


def long_output_reply(prompt: str) -> str | None:
    """The JSON reply, or None where the prompt asks something else."""
    asked = _ASKED.search(prompt)
    if asked is None:
        return None
    stated = stated_words(asked["text"])
    if stated is not None:
        needs_long_output = stated >= int(asked["words"].replace(",", ""))
    else:
        needs_long_output = bool(_LONG_FORMS.search(asked["text"]))
    return json.dumps({"needs_long_output": needs_long_output})
