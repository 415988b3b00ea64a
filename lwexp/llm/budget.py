"""A hard limit in dollars: a call's highest possible cost is reserved before it is sent, then replaced by its cost."""

import asyncio
from typing import NamedTuple

from lwexp.llm.answer import Reply
from lwexp.llm.errors import OutOfMoney
from lwexp.llm.exchange import Request, prompt_bytes
from lwexp.llm.price import FREE, Rates

BYTES_PER_TOKEN = 3
"""A lower bound for English and Chinese text, so that estimated token counts are too high rather than too low."""


class Budget:
    """Dollars spent and reserved. With any number of calls in flight, spending never exceeds the limit.

    Args:
        limit: Dollars, or None for no limit.
        spent: Dollars that earlier starts of the same run have spent.
        key: The config key of the limit, for the message.
    """

    def __init__(self, limit: float | None, *, spent: float, key: str) -> None:
        self.limit = limit
        self.spent = spent
        self._key = key
        self._reserved = 0.0
        self._calls = 0
        self._settled = asyncio.Condition()

    async def reserve(self, worst: float) -> None:
        """Reserve dollars; wait as long as calls in flight may still release enough.

        Raises:
            OutOfMoney: If the limit cannot cover the call even after all others are settled.
        """
        if self.limit is None:
            return
        async with self._settled:
            while self.spent + self._reserved + worst > self.limit:
                if self._calls == 0:
                    raise OutOfMoney(
                        f"{self._key}={self.limit:g} is reached: ${self.spent:.4f} spent, the next call may cost "
                        f"${worst:.4f}; raise it and run the same command again to go on"
                    )
                await self._settled.wait()
            self._reserved += worst
            self._calls += 1

    async def settle(self, worst: float, actual: float) -> None:
        """Replace a reservation by the actual cost."""
        self.spent += actual
        if self.limit is None:
            return
        async with self._settled:
            self._reserved -= worst
            self._calls -= 1
            self._settled.notify_all()


class Charge(NamedTuple):
    """The cost of a reply.

    Attributes:
        prompt_tokens: As the provider counted, else an estimate.
        completion_tokens: The same, reasoning included.
        cost_usd: The price of these tokens.
        is_estimate: The provider left ``usage`` out, or reported 0 tokens for a text that is not empty.
    """

    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    is_estimate: bool


def charge_of(request: Request, reply: Reply, rates: Rates) -> Charge:
    """Tokens and dollars of a reply, estimated from bytes if the provider reports no usage."""
    if reply.prompt_tokens and reply.completion_tokens:
        counted = reply.prompt_tokens, reply.completion_tokens
        return Charge(*counted, rates.cost(*counted, reply.cached_tokens), is_estimate=False)
    written = len(reply.text.encode()) + len(reply.reasoning.encode())
    prompt = reply.prompt_tokens or -(-prompt_bytes(request) // BYTES_PER_TOKEN)
    completion = reply.completion_tokens or -(-written // BYTES_PER_TOKEN)
    return Charge(prompt, completion, rates.cost(prompt, completion), is_estimate=True)


def worst_case(request: Request, rates: Rates) -> float:
    """The most dollars that a call can cost: a token is at least one byte, and each message adds a few tokens."""
    return 0.0 if rates == FREE else rates.cost(prompt_bytes(request), request["max_tokens"])
