"""Text put into prompts: slots filled in one pass, and codes that a quoted text cannot contain."""

import hashlib
import re
from collections.abc import Mapping

_SLOT = re.compile(r"\$([A-Z]+)\$")


def slots_of(template: str) -> set[str]:
    """Names of the slots of a template, such as INST for ``$INST$``."""
    return set(_SLOT.findall(template))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values into their slots, each exactly as it is; other text between dollar signs stays.

    One pass matters: with chained replacing, an instruction that holds the text "$PLAN$" pulls the plan into itself.

    Example:
        ``fill("$INST$/$STEP$", {"INST": "$STEP$", "STEP": "x"}) == "$STEP$/x"``
    """
    return _SLOT.sub(lambda slot: values.get(slot[1], slot[0]), template)


def code_of(*enclosed: str) -> str:
    """A code that the enclosed texts cannot contain: a hash of them. So no text can close its own quotation.

    The same question has the same code, which the ledger's key needs.
    """
    joined = "\0".join(enclosed)
    code = hashlib.sha256(joined.encode(errors="surrogatepass")).hexdigest()[:16]
    assert code not in joined, "a text that contains the hash of itself"
    return code
