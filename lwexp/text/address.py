"""Server addresses that may stand in a config: scheme, host, port and path."""

import re
from urllib.parse import urlsplit

_ODD = re.compile(r"[\s\x00-\x1f\x7f?#;@&\\]")


def address_problem(address: str) -> str | None:
    """Why an address must not stand in a config; None if it may. The answer does not repeat the address.

    A config ends up in config.json, in the manifest and in published cards. Users, passwords, queries and fragments are
    where keys stand in addresses, under more names than a list could hold.
    """
    if _ODD.search(address):
        return "wanted scheme, host, port and path only: no user or password, no query, no fragment"
    try:
        parts = urlsplit(address)
        is_server = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_server = False
    return None if is_server else "is not the address of a server; wanted one such as http://127.0.0.1:8000/v1"
