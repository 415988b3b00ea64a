"""The only place that talks to litellm. It is imported at the first call that the ledger cannot answer."""

import asyncio
import functools
import gc
import logging
import os
from typing import Any, NamedTuple

from lwexp.extend.endpoint import Endpoint, Hosted
from lwexp.llm.errors import Fault, classify

Request = dict[str, Any]

_prepared: set[type[Endpoint]] = set()


class Reply(NamedTuple):
    """A provider's answer before anyone has judged it; ``cached_tokens`` are part of ``prompt_tokens``."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


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
        # litellm's own time-out is not enforced by every provider class, so ours is the one that counts.
        async with asyncio.timeout(seconds):
            answer = await litellm.acompletion(**arguments, num_retries=0, max_retries=0, timeout=seconds + 5)
    except Exception as error:  # the network boundary: whatever it raises becomes a typed fault
        raise classify(error, secret=key) from None
    return _read(answer)


def load() -> None:
    """Import litellm now, about 2 s, and not within the first call."""
    _litellm()


async def close() -> None:
    """Close litellm's connections, which would otherwise complain when the event loop ends."""
    await _litellm().close_litellm_async_clients()


def _read(answer: Any) -> Reply:
    if not answer.choices:
        raise Fault("garbage", "an answer without choices", is_repeatable=True, may_have_cost=True)
    choice, usage = answer.choices[0], answer.usage
    details = getattr(usage, "prompt_tokens_details", None)
    return Reply(
        text=choice.message.content or "",
        finish_reason=str(choice.finish_reason),
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=getattr(details, "cached_tokens", None) or 0,
    )


@functools.cache
def _litellm() -> Any:
    # Without this, importing litellm fetches its price table from the network.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    # Its import makes objects by the hundred thousand that all stay. Not looking through them for garbage, now and
    # later, saves 0.7 s of 2.5 here and 0.16 s at each full collection.
    gc.disable()
    try:
        import litellm
    finally:
        gc.freeze()
        gc.enable()

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    # litellm logs each failed try, with parts of the request; our own failures are typed and counted.
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    return litellm


@functools.cache
def _price(model: str) -> None:
    """Give litellm a price for a model that it does not list; ours is in ``price.rates_of``, its own is not used.

    Without one it looks for a price in ten ways in every call and then works out why there is none: 1 ms of the 5 that
    a call takes. The price is not 0, because it explains a cost of 0, too.
    """
    litellm = _litellm()
    if model not in litellm.model_cost:
        provider = model.split("/", 1)[0]
        row = {
            "litellm_provider": provider,
            "mode": "chat",
            "input_cost_per_token": 1e-12,
            "output_cost_per_token": 1e-12,
        }
        litellm.register_model({model: row})


@functools.cache
def _takes_seed(model: str) -> bool:
    return "seed" in (_litellm().get_supported_openai_params(model=model) or ())
