"""Selection: from any conversation set, the first-turn instructions that need a long answer.

Rules first, a model's yes or no last and only while its language is not full. Rows are read one at a time, so
memory holds what was kept, what is in flight and the sketches of the duplicate rule. Which rows are asked about
and kept depends on their order alone, never on timing: a language never has more calls in flight than places left.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from lwexp.config.data import SelectConfig
from lwexp.config.schema import Config
from lwexp.extend.rows import RawRow
from lwexp.generate.candidates import Unreadable, read_candidate
from lwexp.generate.instructions import stable_seed
from lwexp.generate.needs_long import Unjudged, judge_prompt, needs_long_output
from lwexp.generate.select_rules import Duplicates, check
from lwexp.llm import Client
from lwexp.llm.drain import Drain
from lwexp.llm.errors import is_transient
from lwexp.llm.ledger import Ledger
from lwexp.llm.price import rates_of
from lwexp.records import Failure, Instruction, LwexpError, RowLog, Tally, tally, write_rows
from lwexp.runs import RunDirectory
from lwexp.runs.artifacts import INSTRUCTIONS, LEDGER, SELECT_FAILURES, SelectResults

log = logging.getLogger(__name__)

_SAY_EVERY = 15.0  # seconds between lines of progress
_ROWS_AT_ONCE = 64
_REPLY_TOKENS = 12
_BYTES_PER_TOKEN = 3.5  # English and Chinese alike, for a price before asking

Outcome = Instruction | Failure


def select_instructions(
    config: Config, run: RunDirectory, rows: Iterable[RawRow], source: str
) -> tuple[SelectResults, dict[str, int]]:
    """Write instructions.jsonl and select_failures.jsonl (every row turned away, with its reason) into the run.

    Returns:
        The results for the manifest, and counts by reason of the rows that another start may still judge.

    Raises:
        LwexpError: If nothing was kept, or the run had to stop.
        KeyboardInterrupt: After Ctrl-C, when the calls in flight have ended; what was found is written.
    """
    kept: list[Instruction] = []
    failed = run.path / SELECT_FAILURES
    failed.unlink(missing_ok=True)
    with (
        Ledger(run.path / LEDGER, power_safe=not config.teacher.is_free) as ledger,
        RowLog(failed) as out,
    ):
        selection = Selection(config, source, kept, out)
        try:
            asyncio.run(selection.run(rows, ledger))
        finally:
            write_rows(run.path / INSTRUCTIONS, kept)
        totals = ledger.totals()
    counts = selection.tally
    log.info("select: %s", counts)
    _warn_of_gaps(config.select, selection.accepted)
    if not kept:
        raise LwexpError(f"select: nothing was kept ({counts}); the reasons are in {failed}")
    results = SelectResults(
        tally=str(counts), instructions=len(kept), languages=dict(selection.accepted), lost=counts.lost,
        asked=totals.answers, cost_usd=totals.cost_usd,
    )  # fmt: skip
    return results, {reason: count for reason, count in counts.lost.items() if is_transient(reason)}


class Selection:
    """Reads rows in order and settles them in order; the questions in between run at once."""

    def __init__(self, config: Config, source: str, kept: list[Instruction], out: RowLog) -> None:
        self.accepted: Counter[str] = Counter()
        self._config = config
        self._source = source
        self._kept = kept
        self._out = out
        self._lost: Counter[str] = Counter()
        self._yes: Counter[str] = Counter()  # as answers come in; ``accepted`` counts them in the order of rows
        self._in_flight: Counter[str] = Counter()
        self._answered = asyncio.Event()
        self._pending: deque[Outcome | asyncio.Task[Outcome]] = deque()
        self._said = time.monotonic()

    @property
    def tally(self) -> Tally:
        """Rows settled so far."""
        return tally(len(self._kept) + self._lost.total(), len(self._kept), self._lost.elements())

    async def run(self, rows: Iterable[RawRow], ledger: Ledger) -> None:
        """Go through the rows until every language has what it was to have, or the rows end."""
        async with Client(self._config.teacher, ledger) as client:
            drain = Drain(client)
            with drain.on_signals():
                async for row in _in_a_thread(screened(rows, self._config.select, self._source)):
                    if drain.reason is not None:
                        break
                    await self._take(row, client, drain)
                    await self._settle(wait=False)
                    self._say(client.spent_usd)
                    if self._is_full():
                        break
                await self._settle(wait=True)
        drain.raise_reason()

    async def _take(self, row: Outcome, client: Client, drain: Drain) -> None:
        if isinstance(row, Failure):
            self._pending.append(row)
            return
        wanted = getattr(self._config.select.counts, row.language)
        while self._yes[row.language] + self._in_flight[row.language] >= wanted and self._in_flight[row.language]:
            self._answered.clear()
            await self._answered.wait()
        if self._yes[row.language] >= wanted:
            self._pending.append(_failure(row.id, "language_full", f"select.counts.{row.language}={wanted}"))
            return
        while self._in_flight.total() >= self._config.teacher.limits.concurrency:
            self._answered.clear()
            await self._answered.wait()
        self._in_flight[row.language] += 1
        self._pending.append(asyncio.ensure_future(self._ask(row, client, drain)))

    async def _ask(self, row: Instruction, client: Client, drain: Drain) -> Outcome:
        select = self._config.select
        try:
            seed = stable_seed(self._config.seed, row.id)
            if await needs_long_output(client, row, min_words=select.min_words, seed=seed):
                self._yes[row.language] += 1
                return row
            return _failure(row.id, "short_answer_will_do", "so says the model")
        except Unjudged as error:
            return _failure(row.id, error.reason, str(error))
        except LwexpError as error:
            drain.stop(error)
            return _failure(row.id, "drained", str(error))
        finally:
            self._in_flight[row.language] -= 1
            self._answered.set()

    async def _settle(self, *, wait: bool) -> None:
        """Count and write what is decided, in the order of rows, up to the first that is not (or all of it)."""
        while self._pending:
            first = self._pending[0]
            if isinstance(first, asyncio.Task):
                if not wait and not first.done():
                    await asyncio.sleep(0)
                    if not first.done():
                        return
                first = await first
            self._pending.popleft()
            if self._is_full() or (isinstance(first, Failure) and first.reason == "drained"):
                # Rows read ahead of the last place taken, or cut off by a stop, were not received.
                continue
            if isinstance(first, Failure):
                self._lost[first.reason] += 1
                self._out.append(first)
            else:
                self.accepted[first.language] += 1
                self._kept.append(first)

    def _is_full(self) -> bool:
        counts = self._config.select.counts
        return self.accepted["en"] >= counts.en and self.accepted["zh"] >= counts.zh

    def _say(self, spent_usd: float) -> None:
        if time.monotonic() - self._said < _SAY_EVERY:
            return
        self._said = time.monotonic()
        counts = self._config.select.counts
        log.info(
            "select: %s rows read, en %s of %s, zh %s of %s, %s in flight, $%.2f",
            f"{self.tally.received:,}", f"{self.accepted['en']:,}", f"{counts.en:,}",
            f"{self.accepted['zh']:,}", f"{counts.zh:,}", self._in_flight.total(), spent_usd,
        )  # fmt: skip


def screened(rows: Iterable[RawRow], config: SelectConfig, source: str) -> Iterator[Outcome]:
    """Each row after the rules: an instruction to ask about, or why not."""
    seen = Duplicates(config.near_duplicate)
    ids: set[str] = set()
    for count, row in enumerate(rows):
        if config.max_rows is not None and count >= config.max_rows:
            return
        candidate = read_candidate(row, source)
        if isinstance(candidate, Unreadable):
            yield _failure(f"{source}-{row.number}", candidate.reason, f"row {row.number} {candidate.detail}")
            continue
        found = check(candidate, config, source)
        if isinstance(found, Instruction):
            fault = seen.check(found.id, found.text)
            if fault is None and found.id in ids:
                # Two texts under one id would be one document later.
                found = found.model_copy(update={"id": f"{found.id}-{row.number}"})
            ids.add(found.id)
            yield found if fault is None else _failure(found.id, *fault)
        else:
            yield _failure(candidate.id, *found)


class Forecast(NamedTuple):
    """What a dry run finds: the tally of the rules, how many would be asked about, and at most for how much."""

    tally: Tally
    askable: Counter[str]
    prompt_tokens: int
    cost_usd: float | None

    def describe(self, config: Config) -> str:
        """The lines that ``dry_run=true`` prints."""
        asked = ", ".join(f"{count:,} {language}" for language, count in sorted(self.askable.items())) or "none"
        price = (
            "unknown; set teacher.price='{input_per_mtok: <dollars>, output_per_mtok: <dollars>}'"
            if self.cost_usd is None
            else f"at most ${self.cost_usd:,.2f}: a language that is full is asked about no more"
        )
        lost = "".join(f"\n  {n:>9,}  {reason.replace('_', ' ')}" for reason, n in sorted(self.tally.lost.items()))
        return (
            f"rows      {self.tally.received:,}\nby rule{lost}\n"
            f"to ask    {asked}, for en {config.select.counts.en:,} and zh {config.select.counts.zh:,}\n"
            f"teacher   {config.teacher.model}, about {self.prompt_tokens:,} prompt tokens\ncost      {price}"
        )


def forecast(config: Config, rows: Iterable[RawRow], source: str) -> Forecast:
    """Apply the rules to all rows and price a question about each that passes; asks nobody."""
    askable: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    tokens = 0
    for row in screened(rows, config.select, source):
        if isinstance(row, Failure):
            lost[row.reason] += 1
            continue
        askable[row.language] += 1
        tokens += round(len(judge_prompt(row, config.select.min_words).encode()) / _BYTES_PER_TOKEN)
    rates = rates_of(config.teacher)
    cost = None if rates is None else rates.cost(tokens, _REPLY_TOKENS * askable.total())
    return Forecast(tally(askable.total() + lost.total(), askable.total(), lost.elements()), askable, tokens, cost)


async def _in_a_thread(rows: Iterator[Outcome]) -> AsyncIterator[Outcome]:
    """Rows read a few at a time beside the event loop: a shard that downloads for a minute must not time out calls."""
    while batch := await asyncio.to_thread(lambda: list(islice(rows, _ROWS_AT_ONCE))):
        for row in batch:
            yield row


def _failure(id: str, reason: str, detail: str) -> Failure:
    return Failure(id=id, stage="select", reason=reason, detail=detail, attempts=1)


def _warn_of_gaps(config: SelectConfig, accepted: Counter[str]) -> None:
    for language, wanted in (("en", config.counts.en), ("zh", config.counts.zh)):
        if accepted[language] < wanted:
            log.warning(
                "select.counts.%s=%s: the source ended after %s; add another source or lower it",
                language, f"{wanted:,}", f"{accepted[language]:,}",
            )  # fmt: skip
