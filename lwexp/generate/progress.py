"""Progress of a generation run: documents, calls in flight, dollars spent and projected, tokens per second, time left.

Work is measured in calls: a document of n steps takes 1 + n calls, as the dry run counts them. The projected cost
assumes that all calls cost the same, so it is too low at first: later steps send more of the text again.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lwexp.generate.planning import Ask
from lwexp.llm.answer import Answer, NoAnswer
from lwexp.llm.client import Client
from lwexp.records import Failure
from lwexp.runs.progress import Numbers, clock


class Progress:
    """Counts of one run.

    Args:
        expected_calls: Calls of each document, as the dry run expects them.
    """

    def __init__(self, expected_calls: Sequence[int]) -> None:
        self.expected = list(expected_calls)
        self.done = 0
        self.failed: Counter[str] = Counter()
        self.in_flight = 0
        self.tokens = 0
        self.spent_usd = 0.0
        self._made: Counter[int] = Counter()
        self._replayed = 0.0
        self._finished = 0
        self._started = time.monotonic()

    @property
    def total(self) -> int:
        """Documents in the run."""
        return len(self.expected)

    @property
    def share(self) -> float:
        """How much of the work is done, from 0 to 1."""
        underway = sum(min(made, self.expected[index]) for index, made in self._made.items())
        return min(1.0, (self._finished + underway) / max(1, sum(self.expected)))

    @property
    def projected_usd(self) -> float | None:
        """Cost of the whole run; None before a twentieth of it is done."""
        return self.spent_usd / self.share if self.share >= 0.05 else None

    @property
    def tokens_per_second(self) -> float:
        """Tokens written since this start, not counting answers from the ledger."""
        return self.tokens / max(1e-9, time.monotonic() - self._started)

    @property
    def seconds_left(self) -> float | None:
        """Seconds left at the rate since this start, not counting answers from the ledger; None without a rate."""
        fresh = self.share - min(self.share, self._replayed / max(1, sum(self.expected)))
        return (1 - self.share) / fresh * (time.monotonic() - self._started) if fresh > 0.01 else None

    def count_calls(self, client: Client, index: int) -> Ask:
        """``client.ask`` for document ``index``, with every call counted."""

        async def ask(messages: Sequence[Mapping[str, str]], **options: Any) -> Answer | NoAnswer:
            self.in_flight += 1
            try:
                answer = await client.ask(messages, **options)
            finally:
                self.in_flight -= 1
            self.called(index, answer, client.spent_usd)
            return answer

        return ask

    def called(self, index: int, answer: Answer | NoAnswer, spent_usd: float) -> None:
        """Count a call of document ``index``."""
        self._made[index] += 1
        self.spent_usd = spent_usd
        real = answer if isinstance(answer, Answer) else answer.partial
        if real is not None and real.from_ledger:
            self._replayed += 1
        elif real is not None:
            self.tokens += real.completion_tokens

    def ended(self, index: int, outcome: object) -> None:
        """Count a document as written or failed."""
        self.done += 1
        self._made.pop(index, None)
        self._finished += self.expected[index]
        if isinstance(outcome, Failure):
            self.failed[outcome.reason] += 1

    @property
    def numbers(self) -> Numbers:
        """Documents, calls in flight, dollars and speed."""
        return Numbers(
            done=self.done, total=self.total, failed=dict(self.failed), in_flight=self.in_flight,
            spent_usd=self.spent_usd, projected_usd=self.projected_usd, tokens_per_second=self.tokens_per_second,
            seconds_left=self.seconds_left,
        )  # fmt: skip

    def __str__(self) -> str:
        failed = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in Counter(self.failed).most_common())
        dollars = f"${self.spent_usd:,.2f}"
        if self.projected_usd:
            dollars += f" of about ${self.projected_usd:,.2f}"
        left = "" if self.seconds_left is None else f", {clock(self.seconds_left)} left"
        return (
            f"{self.done:,} of {self.total:,} done ({failed or 'none failed'}), {self.in_flight:,} in flight, "
            f"{dollars}, {self.tokens_per_second:,.0f} tokens/s{left}"
        )
