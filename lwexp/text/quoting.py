"""Puts text into prompts: fills slots in one pass, and makes codes that a quoted text cannot contain."""

import hashlib
import re
from collections.abc import Mapping

_SLOT = re.compile(r"\$([A-Z]+)\$")


def slots_of(template: str) -> set[str]:
    """Names of the slots of a template, such as INST for ``$INST$``."""
    return set(_SLOT.findall(template))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values into their slots unchanged; other text between dollar signs stays.

    One pass matters: with chained replacements, the plan would be inserted into an instruction that contains "$PLAN$".

    Example:
        ``fill("$INST$/$STEP$", {"INST": "$STEP$", "STEP": "x"}) == "$STEP$/x"``
    """
    return _SLOT.sub(lambda slot: values.get(slot[1], slot[0]), template)


def code_of(*enclosed: str) -> str:
    """A hash of the enclosed texts. They cannot contain it, so no text can close its own quotation.

    The same question always gets the same code, so its key in the ledger stays the same.
    """
    joined = "\0".join(enclosed)
    code = hashlib.sha256(joined.encode(errors="surrogatepass")).hexdigest()[:16]
    assert code not in joined, "a text that contains the hash of itself"
    return code
