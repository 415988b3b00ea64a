"""Classifies what went wrong with a call, and what to do about it.

litellm's own retries also repeat calls with a wrong key or a full context (measured, 1.106), and it raises the same
class of error for an empty account, a filtered prompt and an unknown parameter. So its retries are off, and the
providers' own words decide (``lwexp.llm.wordings``).
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from lwexp.llm import wordings
from lwexp.llm.key import scrubbed
from lwexp.records import LwexpError
from lwexp.text.encodable import encodable

Remedy = Literal["retry", "money", "document", "options", "address", "unknown"]
"""What to do: send the same call again; stop until the account is topped up; give up this document only; change a
parameter; stop until key, model or address are right; ask a neutral question to find out which."""

# litellm 1.106 gives status 500 to a connection that broke after sending, as to a server's own error.
_CUT_OFF = ("server disconnected", "payload is not completed", "connection reset")
_NOBODY_LISTENS = {"ConnectionRefusedError", "ConnectError", "ClientConnectorError", "gaierror"}

# litellm's message continues with advice to drop such parameters silently; it is cut here.
_UNSUPPORTED = re.compile(r"To drop")

_ADDRESS = {401: "authentication", 403: "authentication", 404: "not_found", 405: "not_found"}

MAX_RETRY_AFTER = 300.0  # seconds; a provider that asks for more is treated as out of service

# All reasons except faults of the request or of the answer: the same call may succeed later.
_PASSING = frozenset(
    ("rate_limit", "server_error", "time_out", "connection", "unreachable", "garbage", "unexpected", "drained",
     "authentication", "quota", "not_found")
)  # fmt: skip


def is_transient(reason: str | None) -> bool:
    """Whether a call that failed for this reason may succeed later, because the model was not reached or not ready."""
    return reason in _PASSING


class OutOfMoney(LwexpError):  # noqa: N818 - named for what it says, as Preempted is
    """The account or the budget is empty. Results so far are good, and the same command continues later."""


@dataclass(eq=False)
class Fault(Exception):  # noqa: N818 - the word of the docs: a fault is counted, not just raised
    """One failed try.

    Attributes:
        reason: Short stable word, as in ``records.Failure``.
        detail: One line for people, without secrets.
        remedy: What to do about it.
        may_have_cost: The provider may have charged for the call although no answer arrived.
        cost_usd: What the provider charged, if it said so.
        retry_after: Seconds that the provider asked to wait.
        option: The parameter that the server refuses, for the remedy ``options``.
    """

    reason: str
    detail: str
    remedy: Remedy = "unknown"
    may_have_cost: bool = False
    cost_usd: float | None = None
    retry_after: float | None = None
    option: wordings.Option | None = None

    @property
    def is_repeatable(self) -> bool:
        """The same call may succeed later."""
        return self.remedy == "retry"


def classify(error: Exception, *, secret: str | None) -> Fault:
    """Turn whatever the network layer raised into a ``Fault``.

    Args:
        error: From litellm, or from the time-out around it.
        secret: The API key, which is removed from the message.
    """
    detail = " ".join(_readable(str(error)).split())
    detail = scrubbed(detail, secret)[:300]
    if isinstance(error, TimeoutError):
        return Fault("time_out", detail or "no answer in time", "retry", may_have_cost=True)
    chain = list(_causes(error))
    names = {base.__name__ for cause in chain for base in type(cause).__mro__}
    if names & _NOBODY_LISTENS:
        return Fault("unreachable", _without_ssl(detail), "retry")
    # A library in between may hide the provider's code, which is then in the error that caused this one.
    text = _readable(" ".join(str(cause) for cause in chain))
    status = getattr(error, "status_code", None)
    if "UnsupportedParamsError" in names:  # litellm's own knowledge: nothing was sent
        return Fault("unsupported", _UNSUPPORTED.split(detail)[0].strip(" ."), "options")
    if isinstance(status, int) and 400 <= status < 500 and (found := _refused(text, names, status, detail)):
        return found
    if status == 429:
        return Fault("rate_limit", detail, "retry", retry_after=_retry_after(error))
    if status == 408 or "Timeout" in names:
        return Fault("time_out", detail, "retry", may_have_cost=True)
    if "APIConnectionError" in names or any(mark in text.lower() for mark in _CUT_OFF):
        return Fault("connection", detail, "retry", may_have_cost=True)
    if isinstance(status, int) and status >= 500:
        return Fault("server_error", detail, "retry", retry_after=_retry_after(error))
    if status == 200:
        return Fault("garbage", detail, "retry", may_have_cost=True)
    reason = "bad_request" if isinstance(status, int) else "unexpected"
    return Fault(reason, f"{type(error).__name__}: {detail}")


def _refused(text: str, names: set[str], status: int, detail: str) -> Fault | None:
    """The fault that the provider's words describe; None if only the status can explain it."""
    if "ContentPolicyViolationError" in names or (status not in (401, 429) and wordings.is_filter(text)):
        return Fault("content_filter", detail, "document")
    if status == 402 or wordings.is_money(text, is_rate_limit=status == 429):
        return Fault("quota", detail, "money")
    if "ContextWindowExceededError" in names or (status in (400, 413, 422) and wordings.is_too_long(text)):
        return Fault("context_length", detail, "document")
    if status in (400, 422) and (option := wordings.refused_option(text)):
        return Fault("bad_request", detail, "options", option=option)
    if status in (400, 404, 422) and wordings.is_unknown_model(text):
        return Fault("not_found", detail, "address")
    if status in _ADDRESS:
        return Fault(_ADDRESS[status], detail, "address")
    return None


def _readable(text: str) -> str:
    """Decode escapes: litellm quotes the JSON that it received, in which Chinese may be escaped (\\u6b20\\u8d39).

    A proxy quotes a quotation, and each adds a backslash.
    """
    return encodable(re.sub(r"\\+u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), text)).value  # type: ignore[no-any-return]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _without_ssl(detail: str) -> str:
    """The message of a refused connection, without the memory address of an SSL object."""
    return re.sub(r"ssl:<[^>]*>\s*", "", detail)


def _retry_after(error: Any) -> float | None:
    """Seconds until the time in the Retry-After header, given in seconds or as an HTTP date."""
    response = getattr(error, "response", None)
    for headers in (getattr(response, "headers", None), getattr(error, "litellm_response_headers", None)):
        for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
            value = headers.get(name) if headers is not None else None
            if value is not None and (seconds := _seconds(str(value).strip())) is not None:
                return min(max(seconds * unit, 0.0), MAX_RETRY_AFTER)
    return None


def _seconds(value: str) -> float | None:
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    with contextlib.suppress(ValueError):
        return (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    return None
