"""How far sampling is: answers, tokens a second, and the time left."""

import time
from collections.abc import Sequence

from lwexp.records import Failure
from lwexp.runs.progress import Numbers, clock, per_second
from lwexp.sample.requests import SampleRequest, SampleResult


class AnswerProgress:
    """A measure for ``lwexp.runs.progress.shown``.

    Long answers are begun first, so the time left follows from words rather than from numbers of answers: the tokens
    that the finished answers took for each requested word. Without tokens, as behind an API, it follows from answers.

    Args:
        requests: All that will be answered.
    """

    def __init__(self, requests: Sequence[SampleRequest]) -> None:
        known = [words for request in requests if (words := request.prompt.required_words)]
        usual = sum(known) / len(known) if known else 1.0
        self._words = {request.id: request.prompt.required_words or usual for request in requests}
        self._total = len(requests)
        self._words_left = sum(self._words.values())
        self._tokens = 0  # of finished answers and of those that are being written
        self._finished_tokens = 0
        self._finished_words = 0.0
        self._started = time.monotonic()
        self._first_token: float | None = None

    def write(self, tokens: int) -> None:
        """Count tokens of answers that are being written."""
        if tokens and self._first_token is None:
            self._first_token = time.monotonic()
        self._tokens += tokens

    def finish(self, answer: SampleResult | Failure) -> None:
        """Count an answer."""
        words = self._words.pop(answer.id)
        self._finished_words += words
        self._words_left -= words
        self._finished_tokens += answer.num_tokens if isinstance(answer, SampleResult) else 0

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1."""
        return self._finished_words / (self._finished_words + self._words_left) if self._words else 1.0

    @property
    def numbers(self) -> Numbers:
        """Answers, speed and time left."""
        done, now = self._total - len(self._words), time.monotonic()
        known = Numbers(done=done, total=self._total)
        if self._tokens and self._first_token is not None:
            known.tokens_per_second = rate = self._tokens / max(now - self._first_token, 1e-9)
            if self._finished_tokens:
                each = self._finished_tokens / self._finished_words
                under_way = max(0, self._tokens - self._finished_tokens)
                known.seconds_left = max(0.0, self._words_left * each - under_way) / rate
        elif done:
            known.rate = done / max(now - self._started, 1e-9)
            known.seconds_left = len(self._words) / known.rate
        return known

    def __str__(self) -> str:
        known = self.numbers
        parts = [f"{known.done:,} of {known.total:,}"]
        if known.tokens_per_second is not None:
            parts.append(f"{known.tokens_per_second:,.0f} tokens/s")
        if known.rate is not None:
            parts.append(per_second(known.rate))
        if known.seconds_left is not None:
            parts.append(f"{clock(known.seconds_left)} left")
        return ", ".join(parts)
