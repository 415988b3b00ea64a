"""A hard limit in dollars: the worst case of a call is set aside before it is sent."""

import asyncio

from lwexp.llm.errors import OutOfMoney


class Budget:
    """Dollars spent and set aside. With any number of calls in flight, spending never passes the limit.

    Args:
        limit: Dollars, or None for no limit.
        spent: What earlier starts of the same run have spent.
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
        """Set dollars aside; waits as long as calls in flight may still give enough back.

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
        """Replace what was set aside by what the call cost."""
        self.spent += actual
        if self.limit is None:
            return
        async with self._settled:
            self._reserved -= worst
            self._calls -= 1
            self._settled.notify_all()
