"""What a judge is shown: lwexp's own prompt, or a file of the user's with the release's placeholders."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from lwexp.records import LwexpError

_OURS = Path(__file__).parent / "prompts"
_PART = (
    "The response is part {number} of {count} of a longer one, cut where paragraphs or sentences end. Judge this part "
    "as it stands: neither that it begins or ends in the middle nor what other parts may cover is a fault of it."
)


class JudgePrompt:
    """A prompt with slots, which are filled in one pass: a slot's name inside a text stays the text it is.

    Attributes:
        name: ``lwexp``, or the user's file name; tables show it beside the judge.
        is_ours: Ours asks for one JSON object and nothing else; another may ask for reasons first.
        sha256: Of the template.
    """

    def __init__(self, path: str | None) -> None:
        """Read the user's file, or ours where ``path`` is None.

        Raises:
            LwexpError: If the file cannot be read, or lacks $INST$ or $RESPONSE$.
        """
        self.is_ours = path is None
        self.name = "lwexp" if path is None else Path(path).name
        self._text = _read("judge.txt") if path is None else _users(Path(path))
        self.sha256 = hashlib.sha256(self._text.encode()).hexdigest()

    def message(self, request: str, response: str, part: tuple[int, int] | None = None) -> str:
        """The message that asks for six scores.

        Args:
            request: The bench's prompt.
            response: The answer, or a segment of it.
            part: Number (from 1) and count, where it is a segment.
        """
        note = "" if part is None else _PART.format(number=part[0], count=part[1])
        if not self.is_ours:
            return fill(self._text, {"INST": request, "RESPONSE": response})
        code = code_of(request, response)
        values = {"CODE": code, "REQUEST": request, "RESPONSE": response, "PART": note}
        # An empty note takes its blank line along.
        text = self._text if note else self._text.replace("$PART$\n\n", "")
        return fill(text, values)


def pair_message(request: str, first: str, second: str) -> str:
    """The message that asks which of two answers is better."""
    code = code_of(request, first, second)
    return fill(_read("pair.txt"), {"CODE": code, "REQUEST": request, "FIRST": first, "SECOND": second})


def code_of(*enclosed: str) -> str:
    """A code that the enclosed texts cannot contain: a hash of them.

    The same question so has the same text, which the ledger needs, and no answer can close its own quotation.
    """
    joined = "\0".join(enclosed)
    code = hashlib.sha256(joined.encode(errors="surrogatepass")).hexdigest()[:16]
    assert code not in joined, "an answer that contains the hash of itself"
    return code


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values into their slots, in one pass over the template."""
    slots = re.compile(r"\$(" + "|".join(values) + r")\$")
    return slots.sub(lambda slot: values[slot[1]], template)


@functools.cache
def _read(name: str) -> str:
    return (_OURS / name).read_text(encoding="utf-8")


def _users(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LwexpError(f"judge.prompt={path}: cannot be read ({error}); wanted a text file in UTF-8") from None
    missing = [slot for slot in ("$INST$", "$RESPONSE$") if slot not in text]
    if missing:
        raise LwexpError(
            f"judge.prompt={path}: {' and '.join(missing)} missing; the request goes to $INST$, the answer to "
            "$RESPONSE$"
        )
    return text
