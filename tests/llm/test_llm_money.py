"""Prices without the network, and a budget that is never exceeded."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from lwexp.config import compose
from lwexp.extend import AskedJudge
from lwexp.llm.budget import Budget
from lwexp.llm.price import FREE, rates_of, takes_schema
from lwexp.records import LwexpError


def test_the_table_that_litellm_ships_prices_known_models() -> None:
    """OpenAI's list price of gpt-4o-2024-08-06: $2.50, $1.25 cached and $10 per million tokens."""
    rates = rates_of(compose("teacher=gpt4o").teacher)
    assert rates is not None
    assert tuple(rate * 1e6 for rate in rates) == pytest.approx((2.5, 1.25, 10.0))


@pytest.mark.parametrize("teacher", ["gpt4o", "claude", "deepseek"])
def test_every_teacher_behind_a_paid_api_has_a_price(teacher: str) -> None:
    rates = rates_of(compose(f"teacher={teacher}").teacher)
    assert rates is not None
    assert rates.completion > rates.prompt > rates.cached_prompt > 0


def test_a_price_in_the_config_wins() -> None:
    override = "teacher.price={input_per_mtok: 3.0, output_per_mtok: 7.0}"
    rates = rates_of(compose("teacher=gpt4o", override).teacher)
    assert rates is not None
    assert rates.cost(1_000_000, 1_000_000) == pytest.approx(10.0)


def test_a_server_of_ones_own_has_no_price_and_the_offline_teacher_is_free() -> None:
    assert rates_of(compose("teacher=local_openai").teacher) is None
    assert rates_of(compose("teacher=offline").teacher) == FREE


def test_cached_tokens_are_cheaper() -> None:
    rates = rates_of(compose("teacher=gpt4o").teacher)
    assert rates is not None
    # 600 fresh at 2.50, 400 cached at 1.25, 100 written at 10.00: 1,500 + 500 + 1,000 millionths of a dollar
    assert rates.cost(1000, 100, cached_tokens=400) == pytest.approx(0.003)


def test_prices_are_read_without_importing_litellm() -> None:
    script = (
        "import sys; from lwexp.config import compose; from lwexp.llm.price import rates_of;"
        "assert rates_of(compose('teacher=gpt4o').teacher); sys.exit('litellm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_call_waits_until_others_give_back_what_they_had_set_aside() -> None:
    async def run() -> list[str]:
        budget = Budget(10.0, spent=0.0, key="k")
        events = []

        async def call(name: str, worst: float, actual: float) -> None:
            await budget.reserve(worst)
            events.append(f"{name} sent")
            await asyncio.sleep(0.01)
            events.append(f"{name} settled")
            await budget.settle(worst, actual)

        await asyncio.gather(call("a", 6.0, 1.0), call("b", 6.0, 1.0))
        assert budget.spent == 2.0
        return events

    assert asyncio.run(run()) == ["a sent", "a settled", "b sent", "b settled"]


def test_a_call_that_can_never_fit_stops_the_run() -> None:
    async def run() -> None:
        budget = Budget(10.0, spent=9.5, key="teacher.limits.budget_usd")
        await budget.reserve(0.4)
        await budget.settle(0.4, 0.4)
        await budget.reserve(0.2)

    with pytest.raises(LwexpError, match=r"budget_usd=10 is reached: \$9\.9000 spent"):
        asyncio.run(run())


def judge(*overrides: str) -> AskedJudge:
    found = compose(*overrides).judge
    assert isinstance(found, AskedJudge)
    return found


def test_a_schema_goes_only_to_models_that_take_one() -> None:
    """OpenAI takes JSON schemas since gpt-4o-2024-08-06; the model of May 2024 answers 400 to one."""
    assert not takes_schema(judge("judge=gpt4o"))
    assert takes_schema(judge("judge=gpt4o", "judge.model=openai/gpt-4o-2024-08-06"))
    assert takes_schema(judge("judge=offline"))
    assert takes_schema(judge("judge=gpt4o", "judge.base_url=http://127.0.0.1:1/v1"))
