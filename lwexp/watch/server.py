"""The server of the page: GET only, for browsers on this machine only.

A web page that the user visits can make a browser ask 127.0.0.1 for it (DNS rebinding). Such a request carries the
name of the page's own host, so requests for other hosts than this machine are refused. The port is not compared:
behind ssh -L it is another one.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from lwexp.records import LwexpError
from lwexp.watch.detail import Details, settings
from lwexp.watch.index import Index, Row
from lwexp.watch.page import live_page

log = logging.getLogger(__name__)

_HOSTS = ("127.0.0.1", "localhost", "::1")
_MOST_ROWS = 200
_IDLE_SECONDS = 60


class Reply(NamedTuple):
    """What is sent."""

    status: HTTPStatus
    kind: str
    body: bytes


class Watch:
    """What the page and its requests get.

    Args:
        index: The runs.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._details = Details(index)
        self._page = live_page(str(index.root))

    def reply(self, path: str, query: dict[str, list[str]]) -> Reply:
        """Answer a request.

        Args:
            path: Its decoded path.
            query: What follows the question mark.
        """
        if path == "/":
            return Reply(HTTPStatus.OK, "text/html; charset=utf-8", self._page.encode())
        if path == "/favicon.ico":
            return Reply(HTTPStatus.NO_CONTENT, "image/x-icon", b"")
        if path == "/api/runs":
            return _json(self._list(query))
        for prefix, read in (("/api/runs/", self._run), ("/api/settings/", self._settings)):
            if path.startswith(prefix):
                found = read(path.removeprefix(prefix))
                return _error(HTTPStatus.NOT_FOUND, "no such run") if found is None else _json(found)
        return _error(HTTPStatus.NOT_FOUND, "no such page")

    def _list(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """Counts of all runs, and the first rows that fit ``text`` and ``state``."""
        rows = self._index.rows()
        text, state = (query.get(name, [""])[0] for name in ("text", "state"))
        words = text.lower().split()
        fitting = [row for row in rows if state in ("", row.state) and all(_has(row, word) for word in words)]
        states = [row.state for row in rows]
        return {
            "root": str(self._index.root),
            "counts": {name: states.count(name) for name in dict.fromkeys(sorted(states))},
            "fitting": len(fitting),
            "rows": [row._asdict() for row in fitting[:_MOST_ROWS]],
        }

    def _run(self, key: str) -> dict[str, Any] | None:
        run = self._index.get(key)
        row = next((row for row in self._index.rows() if row.key == key), None)
        return None if run is None or row is None else self._details.of(row, run)

    def _settings(self, key: str) -> list[tuple[str, str]] | None:
        run = self._index.get(key)
        return None if run is None else settings(run)


def _has(row: Row, word: str) -> bool:
    return any(word in value.lower() for value in (row.key, row.kind, row.state, row.labels, *row.parents))


def _json(value: Any) -> Reply:
    return Reply(HTTPStatus.OK, "application/json", json.dumps(value, ensure_ascii=False).encode())


def _error(status: HTTPStatus, message: str) -> Reply:
    return Reply(status, "application/json", json.dumps({"error": message}).encode())


def open_server(watch: Watch, port: int) -> ThreadingHTTPServer:
    """A server on 127.0.0.1 that is not yet serving.

    Args:
        watch: What it serves.
        port: 0 takes a free one.

    Raises:
        LwexpError: If the port is taken.
    """
    handler: Callable[..., BaseHTTPRequestHandler] = type("Handler", (_Handler,), {"watch": watch})
    try:
        return _Server(("127.0.0.1", port), handler)
    except OSError as error:
        raise LwexpError(f"watch: port={port}: {error.strerror}; choose another, or leave port= out") from None


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print a traceback, as always, but not because a browser has closed its connection."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    watch: ClassVar[Watch]
    protocol_version = "HTTP/1.1"
    server_version = "lwexp"
    sys_version = ""
    timeout = _IDLE_SECONDS  # of a connection that sends nothing

    def do_GET(self) -> None:
        if not self._is_for_this_machine():
            self._send(_error(HTTPStatus.FORBIDDEN, "the page is at 127.0.0.1 or localhost"))
            return
        try:
            address = urlsplit(self.path)
            found = self.watch.reply(unquote(address.path), parse_qs(address.query))
        except Exception as error:
            log.exception("a request failed")
            found = _error(HTTPStatus.INTERNAL_SERVER_ERROR, type(error).__name__)
        self._send(found)

    def _refuse(self) -> None:
        self.close_connection = True  # a body may follow
        self._send(_error(HTTPStatus.METHOD_NOT_ALLOWED, "the page only reads"), Allow="GET")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = _refuse  # noqa: N815

    def _is_for_this_machine(self) -> bool:
        hosts = self.headers.get_all("Host") or []
        try:
            return len(hosts) == 1 and urlsplit(f"//{hosts[0]}").hostname in _HOSTS
        except ValueError:
            return False

    def _send(self, reply: Reply, **headers: str) -> None:
        tag = f'"{hashlib.sha256(reply.body).hexdigest()[:16]}"'
        is_known = reply.status == HTTPStatus.OK and self.headers.get("If-None-Match") == tag
        self.send_response(HTTPStatus.NOT_MODIFIED if is_known else reply.status)
        headers |= {
            "Content-Type": reply.kind,
            "Cache-Control": "no-cache",  # the browser asks each time, and gets the body only if it has changed
            "ETag": tag,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
        }
        has_body = not is_known and reply.status != HTTPStatus.NO_CONTENT
        if has_body:
            headers["Content-Length"] = str(len(reply.body))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if has_body and self.command != "HEAD":
            self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: the page sends one every few seconds."""
