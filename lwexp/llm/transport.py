"""The only place that talks to litellm. It is imported at the first call that the ledger cannot answer."""

import asyncio
import functools
import gc
import logging
import os
from typing import Any

from lwexp.extend.endpoint import Endpoint, Hosted
from lwexp.llm.answer import Reply
from lwexp.llm.errors import Fault, classify
from lwexp.text.encodable import encodable

Request = dict[str, Any]

_MOST_TOKENS = 1 << 40

_prepared: set[type[Endpoint]] = set()


async def send(endpoint: Endpoint, request: Request, *, key: str | None) -> Reply:
    """Try a call once.

    Args:
        endpoint: Where to.
        request: model, base_url, messages and every parameter that shapes the answer.
        key: The API key.

    Raises:
        Fault: Whatever went wrong, classified.
    """
    arguments = dict(request)
    if isinstance(endpoint, Hosted):
        arguments["api_key"] = key
        if not _takes_seed(endpoint.model):
            del arguments["seed"]
        # 1 changes nothing, and newer Claude models refuse temperature and top_p together.
        if arguments["top_p"] == 1:
            del arguments["top_p"]
    seconds = endpoint.limits.timeout_seconds
    litellm = _litellm()  # before the clock starts: the first import takes about 3 s
    if type(endpoint) not in _prepared:
        endpoint.prepare(litellm)
        _prepared.add(type(endpoint))
    _price(endpoint.model)
    try:
        # litellm does not enforce its own time-out for every provider class; this one counts.
        async with asyncio.timeout(seconds):
            answer = await litellm.acompletion(**arguments, num_retries=0, max_retries=0, timeout=seconds + 5)
    except Exception as error:  # the network boundary: whatever it raises becomes a typed fault
        raise classify(error, secret=key) from None
    return _read(answer)


def load() -> None:
    """Import litellm now, which takes about 2 s, rather than within the first call."""
    _litellm()


async def close() -> None:
    """Close litellm's connections, which would otherwise complain when the event loop ends."""
    await _litellm().close_litellm_async_clients()


def _read(answer: Any) -> Reply:
    """litellm's answer as a ``Reply``; raises a ``Fault`` if it is none, whatever is wrong with it."""
    try:
        if not answer.choices:
            raise Fault("garbage", "an answer without choices", is_repeatable=True, may_have_cost=True)
        choice, usage = answer.choices[0], getattr(answer, "usage", None)
        details = getattr(usage, "prompt_tokens_details", None)
        text, replaced = encodable(choice.message.content or "")
        return Reply(
            text=text,
            finish_reason=str(choice.finish_reason),
            prompt_tokens=_count(usage, "prompt_tokens"),
            completion_tokens=_count(usage, "completion_tokens"),
            cached_tokens=_count(details, "cached_tokens"),
            replaced=replaced,
        )
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        detail = f"an answer that cannot be read: {error}"
        raise Fault("garbage", detail, is_repeatable=True, may_have_cost=True) from None


def _count(usage: Any, name: str) -> int:
    """A number of tokens as providers send it: missing, null, 100.0, or more than SQLite can hold."""
    return min(max(0, int(getattr(usage, name, None) or 0)), _MOST_TOKENS)


@functools.cache
def _litellm() -> Any:
    # Without this, importing litellm fetches its price table from the network.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    # The import makes hundreds of thousands of objects that all stay. Leaving them out of garbage collection saves
    # 0.7 s of 2.5 here and 0.16 s at each full collection later.
    gc.disable()
    try:
        import litellm
    finally:
        gc.freeze()
        gc.enable()

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    # litellm logs each failed try, with parts of the request; here failures are typed and counted.
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    return litellm


@functools.cache
def _price(model: str) -> None:
    """Give litellm a price for a model that it does not list. Only its speed matters: ``price.rates_of`` counts.

    Without a price litellm searches for one in ten ways at every call and explains why it found none: 1 ms of the 5
    that a call takes. The price is above 0, because litellm explains a cost of 0, too.
    """
    litellm = _litellm()
    if model not in litellm.model_cost:
        provider = model.split("/", 1)[0]
        row = {"input_cost_per_token": 1e-12, "output_cost_per_token": 1e-12}
        litellm.register_model({model: {"litellm_provider": provider, "mode": "chat", **row}})


@functools.cache
def _takes_seed(model: str) -> bool:
    return "seed" in (_litellm().get_supported_openai_params(model=model) or ())
