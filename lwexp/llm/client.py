"""The one way to ask a model: limits, retries, budget and ledger around one call.

with Ledger(run.path / "ledger.sqlite") as ledger:
    async with Client(config.teacher, ledger) as client:
        answer = await client.ask([{"role": "user", "content": "..."}], seed=7)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping, Sequence

from pydantic import BaseModel
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from lwexp.extend.endpoint import Endpoint
from lwexp.llm import transport
from lwexp.llm.adaptation import adaptation_of
from lwexp.llm.answer import DRAINED, FINISH_REASONS, Answer, NoAnswer, Reply, outcome_of, separate, with_cost_of
from lwexp.llm.budget import BYTES_PER_TOKEN, Budget, charge_of, worst_case
from lwexp.llm.errors import Fault
from lwexp.llm.exchange import Request, make_request, prompt_bytes
from lwexp.llm.health import Health
from lwexp.llm.key import require_key
from lwexp.llm.ledger import Entry, Ledger, request_key
from lwexp.llm.price import FREE, known_rates
from lwexp.llm.rate_limit import RateLimiter, Reservation, StaggeredStart
from lwexp.text.encodable import Replaced, encodable
from lwexp.text.plain import plural

log = logging.getLogger(__name__)

_MORE_ROOM = 2.0  # factor on the token limit, after an answer that was cut within its reasoning
_NEUTRAL = "Write one short sentence about tea."
_LONGEST_PAUSE = 60.0  # seconds between tries, if the provider names no time


class Client:
    """Asks one endpoint. Lives inside one event loop.

    Args:
        endpoint: The config's teacher, judge or engine.
        ledger: Stores the answers; several clients may share one.
    """

    def __init__(self, endpoint: Endpoint, ledger: Ledger) -> None:
        self.section = endpoint.section
        self._endpoint = endpoint
        self._ledger = ledger
        limits = endpoint.limits
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._rate_limiter = RateLimiter(limits)
        self._staggered_start = None if endpoint.is_free else StaggeredStart(limits.concurrency)
        self._rates = known_rates(endpoint)
        if endpoint.parameters().get("drop_params"):
            log.warning(
                "%s.options.drop_params: parameters that %s does not take are left out without a warning",
                self.section, endpoint.model,
            )  # fmt: skip
        totals = ledger.totals()
        if self._rates != FREE and totals.lost_usd:
            log.info(
                "%s: $%.4f spent so far, and at most $%.4f for calls that gave no answer or were cut off by a kill",
                self.section, totals.cost_usd, totals.lost_usd,
            )  # fmt: skip
        self._budget = Budget(
            limits.budget_usd,
            spent=totals.cost_usd + totals.lost_usd,
            key=f"{self.section}.limits.budget_usd",
        )
        self._drained = asyncio.Event()
        self._adaptation = adaptation_of(endpoint)
        self._health = Health(endpoint)
        self._probing = asyncio.Lock()
        self._has_sent = False
        self._replaced = Replaced()
        self._reasoned = 0
        self._has_said_uncounted = False
        self._retrying = AsyncRetrying(
            stop=lambda state: state.attempt_number >= limits.max_attempts or self._drained.is_set(),
            retry=retry_if_exception(lambda error: isinstance(error, Fault) and error.is_repeatable),
            wait=self._pause,
            sleep=self._sleep,
            reraise=True,
        )

    @property
    def spent_usd(self) -> float:
        """Dollars spent so far, including earlier starts of the run; lost calls count at their worst case."""
        return self._budget.spent

    def drain(self) -> None:
        """Send nothing more. Calls in flight end, the ledger still answers, other questions are ``drained``."""
        self._drained.set()

    async def ask(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        seed: int,
        max_tokens: int | None = None,
        response_schema: type[BaseModel] | None = None,
        raw: bool = False,
    ) -> Answer | NoAnswer:
        """Get an answer, from the ledger if it is there. If it is cut within its reasoning, ask once more, with a
        higher token limit.

        Args:
            messages: Chat messages with ``role`` and ``content``.
            seed: Distinguishes repeats of the same question; also sent to providers that accept a seed.
            max_tokens: Longest answer; None uses the endpoint's own limit.
            response_schema: Asks the provider for JSON of this shape. The text is returned unparsed.
            raw: Leave reasoning in the text, for ``lwexp.text.replies``: a judged text may contain such marks, so the
                reader of a verdict must see where they are.

        Raises:
            LwexpError: When the whole run has to stop: no key, budget reached, or repeated faults that all calls share.
        """
        mended = [self._mended(message) for message in messages]
        request = make_request(self._endpoint, mended, seed, max_tokens, response_schema)
        first = await self._ask(request, raw)
        if isinstance(first, Answer) or first.reason != "unfinished_reasoning":
            return first
        second = await self._ask({**request, "max_tokens": round(_MORE_ROOM * request["max_tokens"])}, raw)
        if isinstance(second, Answer) or second.partial is not None or second.reason == DRAINED:
            return with_cost_of(first, second)
        return first  # the model does not accept a higher limit

    async def _ask(self, request: Request, raw: bool) -> Answer | NoAnswer:
        key = request_key(request)
        if (stored := self._ledger.get(key)) is not None:
            return outcome_of(stored, from_ledger=True, raw=raw)
        attempts = 0

        async def once() -> Entry:
            nonlocal attempts
            attempts += 1
            try:
                return await self._send(request, key, attempts, raw)
            except Fault as fault:
                self._health.tried(fault)
                self._raise_if_stopped()
                raise

        try:
            entry: Entry = await self._retrying(once)
        except Fault as fault:
            if self._health.failed(fault):
                await self._probe(request)
            self._raise_if_stopped()
            reason = DRAINED if self._drained.is_set() and fault.is_repeatable else fault.reason
            return NoAnswer(reason, fault.detail, attempts)
        self._health.answered()
        return outcome_of(entry, from_ledger=False, raw=raw)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        for origin, count in self._ledger.copied.items():
            log.info("%s: %s copied from %s, not asked again", self.section, plural(count, "answer"), origin)
        if self._replaced:
            log.warning("%s: %s", self.section, self._replaced)
        if self._reasoned:
            log.info("%s: reasoning came with %s; the ledger holds it beside the text", self.section,
                     plural(self._reasoned, "answer"))  # fmt: skip
        if self._has_sent:
            await transport.close()

    def _mended(self, message: Mapping[str, str]) -> dict[str, str]:
        """The message, with characters that cannot be sent replaced."""
        content, replaced = encodable(message["content"])
        self._replaced.count(replaced, "prompts")
        return {**message, "content": content}

    async def _send(self, request: Request, key: str, attempts: int, raw: bool) -> Entry:
        """Try once. The answer is stored in the ledger before it is returned."""
        secret = require_key(self._endpoint)
        async with self._slots:
            if self._staggered_start is not None:
                transport.load()  # takes 2 s, which must not fall between the first calls
                await self._staggered_start.wait()
            reservation = await self._wait_for_turn(request)
            worst, cost, tokens = worst_case(request, self._rates), 0.0, 0
            await self._budget.reserve(worst)
            try:
                self._raise_if_stopped()
                if self._drained.is_set():
                    raise Fault(DRAINED, "not sent, because the run is stopping", "document")
                entry = None
                call = await self._ledger.open_call(key, worst)
                try:
                    entry, cost = await self._answer(request, secret, attempts, raw)
                except Fault as fault:
                    cost = fault.cost_usd if fault.cost_usd is not None else worst if fault.may_have_cost else 0.0
                    self._ledger.lose(key, fault.reason, cost, call=call)
                    raise
                except asyncio.CancelledError:
                    cost = worst  # the call may have been charged
                    self._ledger.lose(key, "cancelled", cost, call=call)
                    raise
                tokens = entry.prompt_tokens + entry.completion_tokens
                self._ledger.lose(key, "no_usage", cost - entry.cost_usd)
                return await self._ledger.settle(key, entry, model=self._endpoint.model, call=call)
            finally:
                self._rate_limiter.correct(reservation, tokens)
                await self._budget.settle(worst, cost)

    async def _answer(self, request: Request, secret: str | None, attempts: int, raw: bool) -> tuple[Entry, float]:
        """Send, and refuse an unusable answer. Return an entry and the dollars that count against the budget."""
        self._has_sent = True
        reply = await self._adapted(request, secret)
        prompt_tokens, completion_tokens, cost, is_estimate = charge_of(request, reply, self._rates)
        # A provider without token counts may have charged any amount, so the budget counts the worst case.
        spent = max(cost, worst_case(request, self._rates)) if is_estimate else cost
        self._say_uncounted(is_estimate)
        if reply.finish_reason not in FINISH_REASONS:
            said = f"the provider ended the answer with {reply.finish_reason!r}"
            raise Fault("server_error", said, "retry", cost_usd=spent)
        text, reasoning, finish_reason = separate(reply.text, reply.reasoning, reply.finish_reason, raw=raw)
        if not text.strip() and finish_reason == "stop":
            said = "the answer holds no text"
            if reasoning:
                said += f", only {len(reasoning):,} characters of reasoning; check the server's reasoning parser"
            raise Fault("empty", said, "retry", cost_usd=spent)
        self._replaced.count(reply.replaced, "answers")
        self._reasoned += bool(reasoning)
        return Entry(text, finish_reason, prompt_tokens, completion_tokens, cost, attempts, reasoning), spent

    def _say_uncounted(self, is_estimate: bool) -> None:
        if is_estimate and not self._has_said_uncounted and self._rates != FREE:
            self._has_said_uncounted = True
            log.warning(
                "%s: %s leaves out how many tokens it charges for: tokens and dollars are estimated from bytes, and "
                "the budget counts each such call at its worst case",
                self.section, self._endpoint.model,
            )  # fmt: skip

    async def _adapted(self, request: Request, secret: str | None) -> Reply:
        """Send the request in the form that this endpoint accepts; remember a parameter that it refuses."""
        while True:
            sent = self._adaptation.apply(request)
            try:
                return await transport.send(self._endpoint, sent, key=secret)
            except Fault as fault:
                if fault.option is None:
                    raise
                if not self._adaptation.learn(fault.option, request, sent):
                    # One document asks for more tokens than the model can write; the others may continue.
                    fault.remedy = "document" if fault.option.most is not None else "unknown"
                    raise

    async def _probe(self, request: Request) -> None:
        """Ask a neutral question with the same options, to find out if they or the documents are at fault."""
        async with self._probing:
            if self._health.stop is not None:
                return
            neutral = {**request, "messages": [{"role": "user", "content": _NEUTRAL}]}
            try:
                await self._send(neutral, request_key(neutral), 1, True)
            except Fault as fault:
                self._health.probed(fault)
            else:
                self._health.probed(None)

    def _raise_if_stopped(self) -> None:
        if self._health.stop is not None:
            raise self._health.stop

    async def _wait_for_turn(self, request: Request) -> Reservation | None:
        """Wait for the rate limits, unless the run is stopping."""
        if self._rate_limiter.is_unlimited:
            return None
        tokens = prompt_bytes(request) // BYTES_PER_TOKEN + request["max_tokens"]
        turn = asyncio.ensure_future(self._rate_limiter.take(tokens))
        stop = asyncio.ensure_future(self._drained.wait())
        try:
            await asyncio.wait((turn, stop), return_when=asyncio.FIRST_COMPLETED)
            return turn.result() if turn.done() else None
        finally:
            turn.cancel()
            stop.cancel()

    def _pause(self, state: RetryCallState) -> float:
        """Seconds to wait: the provider's Retry-After, or a pause that doubles each time, less up to half at random."""
        fault = state.outcome.exception() if state.outcome else None
        jitter = random.uniform(0.5, 1.0)  # calls that failed together should not be retried together
        if isinstance(fault, Fault) and fault.retry_after is not None:
            return fault.retry_after * (1.5 - 0.5 * jitter)
        doubled = self._endpoint.limits.initial_backoff_seconds * 2 ** (state.attempt_number - 1)
        return float(min(_LONGEST_PAUSE, doubled) * jitter)

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._drained.wait(), seconds)
