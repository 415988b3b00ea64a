"""Prices of models, and which models accept a JSON schema: from the config or litellm's table, without its import."""

import functools
import importlib.util
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

from lwexp.extend.endpoint import Endpoint, Hosted
from lwexp.records import LwexpError

log = logging.getLogger(__name__)

_TABLE = "model_prices_and_context_window_backup.json"


_TAKE_NONE = ("deepseek/",)  # litellm's table says that they accept a JSON schema, but DeepSeek's own API answers 400


class Rates(NamedTuple):
    """Dollars per token."""

    prompt: float
    cached_prompt: float
    completion: float

    def cost(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """Dollars for one call; ``cached_tokens`` are the prompt tokens that the provider had cached."""
        fresh = prompt_tokens - cached_tokens
        return fresh * self.prompt + cached_tokens * self.cached_prompt + completion_tokens * self.completion


FREE = Rates(0.0, 0.0, 0.0)


def rates_of(endpoint: Endpoint) -> Rates | None:
    """Prices of an endpoint: the config's, or litellm's for a provider's own address; None if there is neither."""
    if endpoint.is_free:
        return FREE
    if not isinstance(endpoint, Hosted):
        return _listed(endpoint.model)
    if endpoint.price is not None:
        prompt = endpoint.price.input_per_mtok / 1e6
        return Rates(prompt, prompt, endpoint.price.output_per_mtok / 1e6)
    # A self-hosted server may serve any model under any name, so the table's price would be a guess.
    return None if endpoint.base_url is not None else _listed(endpoint.model)


def known_rates(endpoint: Endpoint) -> Rates:
    """Prices of an endpoint that is about to be asked. An unknown price counts as 0, and the log says so.

    Raises:
        LwexpError: If the price is unknown and a budget is set.
    """
    rates = rates_of(endpoint)
    if rates is not None:
        return rates
    section = endpoint.section
    if endpoint.limits.budget_usd is not None:
        raise LwexpError(
            f"{section}.limits.budget_usd needs a price, and none is known for {endpoint.model}; add "
            f"{section}.price='{{input_per_mtok: <dollars>, output_per_mtok: <dollars>}}'"
        )
    log.info("no price is known for %s, so its cost is counted as 0; set %s.price", endpoint.model, section)
    return FREE


def takes_schema(endpoint: Endpoint) -> bool:
    """Whether to send a JSON schema; litellm's table knows which hosted models refuse one with status 400.

    gpt-4o-2024-05-13, the judge of the published numbers, refuses one; only the prompt asks it for JSON.
    """
    if not isinstance(endpoint, Hosted):
        return True
    if not endpoint.json_schema:
        return False
    if endpoint.base_url is not None:
        return True
    if endpoint.model.startswith(_TAKE_NONE):
        return False
    row = _row(endpoint.model)
    return row is None or bool(row.get("supports_response_schema"))


def _row(model: str) -> dict[str, Any] | None:
    """litellm lists some models with the provider in front (deepseek/...), some without (gpt-4o)."""
    row: dict[str, Any] | None = _table().get(model) or _table().get(model.split("/", 1)[-1])
    return row


def _listed(model: str) -> Rates | None:
    row = _row(model)
    if not row or "input_cost_per_token" not in row or "output_cost_per_token" not in row:
        return None
    prompt = float(row["input_cost_per_token"])
    return Rates(prompt, float(row.get("cache_read_input_token_cost", prompt)), float(row["output_cost_per_token"]))


@functools.cache
def _table() -> dict[str, Any]:
    # find_spec locates the package without running it: reading the file takes 25 ms, importing litellm 3 s.
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        return {}
    table: dict[str, Any] = json.loads((Path(spec.submodule_search_locations[0]) / _TABLE).read_text("utf-8"))
    return table
