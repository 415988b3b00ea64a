"""What went wrong with a call: which faults pass, which stay, which stop the run.

litellm's own retries repeat a wrong key and a full context as well (measured, 1.106), so they are switched
off and this table decides.
"""

import asyncio
import contextlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

# litellm 1.106 gives a connection that broke after sending the status 500, like a server's own error.
_CUT_OFF = ("server disconnected", "payload is not completed", "connection reset")

# litellm's message goes on with advice to drop such parameters silently; it is cut here.
_UNSUPPORTED = re.compile(r"To drop")

_FATAL = {401: "authentication", 403: "authentication", 404: "not_found"}

MAX_RETRY_AFTER = 300.0  # seconds; a provider that asks for more is treated as out of service

# Everything but faults of the request itself or of the answer: asked again, such a call may succeed.
_PASSING = frozenset(
    ("rate_limit", "server_error", "time_out", "connection", "garbage", "unexpected", "drained", "authentication",
     "quota", "not_found")
)  # fmt: skip


def is_transient(reason: str | None) -> bool:
    """Whether a call that failed for this reason may succeed later: the model was not reached, or not ready."""
    return reason in _PASSING


@dataclass(eq=False)
class Fault(Exception):  # noqa: N818 - the word of the docs: a fault is counted, not just raised
    """One failed try.

    Attributes:
        reason: Short stable word, as in ``records.Failure``.
        detail: One line for people, without secrets.
        is_repeatable: The same call may succeed later.
        is_fatal: Every other call will fail likewise: a wrong key, an unknown model, an empty account.
        may_have_cost: The provider may have worked, and charged, although no answer came.
        cost_usd: What the provider charged, where it said so.
        retry_after: Seconds that the provider asked to wait.
    """

    reason: str
    detail: str
    is_repeatable: bool = False
    is_fatal: bool = False
    may_have_cost: bool = False
    cost_usd: float | None = None
    retry_after: float | None = None


def classify(error: Exception, *, secret: str | None) -> Fault:
    """Turn whatever the network layer raised into a ``Fault``.

    Args:
        error: From litellm, or from the time-out around it.
        secret: The API key, which is cut out of the message.
    """
    detail = " ".join(str(error).split())
    detail = (detail.replace(secret, "***") if secret else detail)[:300]
    if isinstance(error, asyncio.TimeoutError):
        return Fault("time_out", detail or "no answer in time", is_repeatable=True, may_have_cost=True)
    text = str(error).lower()
    names = {base.__name__ for base in type(error).__mro__}
    status = getattr(error, "status_code", None)
    if "ContentPolicyViolationError" in names or "content management policy" in text:
        return Fault("content_filter", detail)
    if "ContextWindowExceededError" in names or "context_length_exceeded" in text:
        return Fault("context_length", detail)
    if "insufficient_quota" in text:
        return Fault("quota", detail, is_fatal=True)
    if status in _FATAL:
        return Fault(_FATAL[status], detail, is_fatal=True)
    if status == 429:
        return Fault("rate_limit", detail, is_repeatable=True, retry_after=_retry_after(error))
    if status == 408 or "Timeout" in names:
        return Fault("time_out", detail, is_repeatable=True, may_have_cost=True)
    if "APIConnectionError" in names or any(mark in text for mark in _CUT_OFF):
        return Fault("connection", detail, is_repeatable=True, may_have_cost=True)
    if isinstance(status, int) and status >= 500:
        return Fault("server_error", detail, is_repeatable=True, retry_after=_retry_after(error))
    if status == 200:
        return Fault("garbage", detail, is_repeatable=True, may_have_cost=True)
    if "UnsupportedParamsError" in names:
        return Fault("unsupported", _UNSUPPORTED.split(detail)[0].strip(" ."), is_fatal=True)
    # Fatal, because all requests of a run share such a mistake (an unsupported parameter).
    reason = "bad_request" if isinstance(status, int) else "unexpected"
    return Fault(reason, f"{type(error).__name__}: {detail}", is_fatal=True)


def _retry_after(error: Any) -> float | None:
    """Seconds until the time in the Retry-After header, given in seconds or as an HTTP date."""
    response = getattr(error, "response", None)
    for headers in (getattr(response, "headers", None), getattr(error, "litellm_response_headers", None)):
        value = headers.get("retry-after") if headers is not None else None
        if value is not None and (seconds := _seconds(str(value).strip())) is not None:
            return min(max(seconds, 0.0), MAX_RETRY_AFTER)
    return None


def _seconds(value: str) -> float | None:
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    with contextlib.suppress(ValueError):
        return (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    return None
