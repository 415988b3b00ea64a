"""Much text in a page, and a script that reads it: compressed blocks as base64, and hashes for the page's policy."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from typing import Any

from lwexp.text.plain import visible


def pack(value: Any) -> str:
    """JSON, deflated, as base64: nothing in it can end the element that holds it. Browsers unpack it by themselves."""
    return pack_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def pack_text(text: str) -> str:
    """A text that is JSON already."""
    return base64.b64encode(zlib.compress(text.encode("utf-8"), 6)).decode("ascii")


def hash_source(text: str) -> str:
    """What a Content-Security-Policy calls an inline script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def spelled_out(value: Any) -> Any:
    """Every text in a JSON value with its hidden characters spelled out."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list):
        return [spelled_out(item) for item in value]
    return {key: spelled_out(item) for key, item in value.items()} if isinstance(value, dict) else value
