"""The only module that calls litellm, which it imports at the first call that the ledger cannot answer."""

import asyncio
import functools
import gc
import logging
import os
from collections.abc import Mapping
from typing import Any

from lwexp.extend.endpoint import Endpoint, Hosted
from lwexp.llm.answer import Reply
from lwexp.llm.errors import classify
from lwexp.llm.exchange import Request, make_request, read_reply
from lwexp.llm.health import Health
from lwexp.llm.key import scrubbed_reply

_prepared: set[type[Endpoint]] = set()


async def send(endpoint: Endpoint, request: Request, *, key: str | None) -> Reply:
    """Try a call once.

    Args:
        endpoint: Where to send it.
        request: model, base_url, messages and every parameter that shapes the answer.
        key: The API key.

    Raises:
        Fault: The classified error.
    """
    seconds = endpoint.limits.timeout_seconds
    litellm = _prepared_for(endpoint)  # before the clock starts: the first import takes about 3 s
    arguments = _arguments(endpoint, request, key)
    body = ""

    def keep_body(call: Mapping[str, Any]) -> None:
        nonlocal body
        body = received if isinstance(received := call.get("original_response"), str) else body

    # litellm does not enforce its own time-out for every provider class, so asyncio's does.
    arguments |= {"num_retries": 0, "max_retries": 0, "timeout": seconds + 5, "logger_fn": keep_body}
    try:
        async with asyncio.timeout(seconds):
            answer = await litellm.acompletion(**arguments)
    except Exception as error:  # the network boundary: whatever it raises becomes a typed fault
        raise classify(error, secret=key) from None
    reply = read_reply(answer, body)
    return reply._replace(text=scrubbed_reply(reply.text, key), reasoning=scrubbed_reply(reply.reasoning, key))


def require_parameters(endpoint: Endpoint) -> None:
    """Check that a hosted model takes its parameters, for dry runs: litellm prepares a call and sends nothing.

    Raises:
        LwexpError: The line with which the first call would stop the run; it names the override to set.
    """
    if not isinstance(endpoint, Hosted):
        return
    litellm, health = _prepared_for(endpoint), Health(endpoint)
    request = make_request(endpoint, [{"role": "user", "content": "Tea?"}], 0, None, None)
    try:
        litellm.completion(**_arguments(endpoint, request, "no key"), mock_response="not sent")
    except Exception as error:  # whatever it raises becomes a typed fault, as in ``send``
        fault = classify(error, secret=None)
        if fault.reason == "unsupported":
            health.failed(fault)
    if health.stop is not None:
        raise health.stop


def _prepared_for(endpoint: Endpoint) -> Any:
    """litellm, which knows the provider and a price of the endpoint's model."""
    litellm = _litellm()
    if type(endpoint) not in _prepared:
        endpoint.prepare(litellm)
        _prepared.add(type(endpoint))
    _price(endpoint.model)
    return litellm


def _arguments(endpoint: Endpoint, request: Request, key: str | None) -> dict[str, Any]:
    arguments = dict(request)
    if isinstance(endpoint, Hosted):
        arguments["api_key"] = key
        if not _takes_seed(endpoint.model):
            arguments.pop("seed", None)
        # 1 is the default, and newer Claude models refuse temperature and top_p together.
        if arguments.get("top_p") == 1:
            del arguments["top_p"]
    return arguments


def provider_of(model: str) -> str:
    """The provider to which litellm would send a model's calls; openai for a name that litellm does not know."""
    try:
        return str(_litellm().get_llm_provider(model)[1])
    except Exception:  # litellm raises its error of a bad request
        return "openai"


def load() -> None:
    """Import litellm now, which takes about 2 s, instead of within the first call."""
    _litellm()


async def close() -> None:
    """Close litellm's connections, which would otherwise warn when the event loop ends."""
    await _litellm().close_litellm_async_clients()


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
    """Register a price in litellm for a model that it does not list. This only saves time; costs come from
    ``price.rates_of``.

    Without a price, litellm searches for one in ten ways at every call and logs why it found none, which takes 1 of the
    5 ms of a call. The price is above 0, because litellm also logs an explanation for a cost of 0.
    """
    litellm = _litellm()
    if model not in litellm.model_cost:
        provider = model.split("/", 1)[0]
        row = {"input_cost_per_token": 1e-12, "output_cost_per_token": 1e-12}
        litellm.register_model({model: {"litellm_provider": provider, "mode": "chat", **row}})


@functools.cache
def _takes_seed(model: str) -> bool:
    return "seed" in (_litellm().get_supported_openai_params(model=model) or ())
