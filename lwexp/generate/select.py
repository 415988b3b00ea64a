"""Selection: finds the first-turn instructions of a conversation set that need a long answer.

Rules decide first; a model answers yes or no last, and only while its language still has places. Rows are read one at a
time, so memory holds the rows that were kept, those in flight, and the sketches of the duplicate rule. Which rows are
asked about and kept depends on their order alone, never on timing: a language never has more calls in flight than
places left.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from lwexp.config.data import SelectConfig
from lwexp.config.schema import Config
from lwexp.extend.rows import RawRow
from lwexp.generate.candidates import Rejected, read_candidate
from lwexp.generate.instructions import seed_of
from lwexp.generate.needs_long import check_anchors, judge_prompt, needs_long_output
from lwexp.generate.select_rules import Duplicates, check
from lwexp.llm.client import Client
from lwexp.llm.errors import is_transient
from lwexp.llm.ledger import Ledger, open_ledger
from lwexp.llm.pool import DRAINED, NothingRead, ask_all
from lwexp.llm.price import rates_of
from lwexp.records import Failure, Instruction, Language, LwexpError, RowLog, Tally, tally, write_rows
from lwexp.runs import RunDirectory
from lwexp.runs.artifacts import INSTRUCTIONS, LEDGER, SELECT_FAILURES, SelectResults
from lwexp.runs.progress import Numbers, shown
from lwexp.text.words import LANGUAGES

log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 64
_REPLY_TOKENS = 12
_BYTES_PER_TOKEN = 3.5  # for English and Chinese; used to price a question before asking it

Outcome = Instruction | Failure


def select_instructions(
    config: Config, run: RunDirectory, rows: Iterable[RawRow], source: str
) -> tuple[SelectResults, dict[str, int]]:
    """Write instructions.jsonl and select_failures.jsonl (every rejected row, with its reason) into the run.

    Returns:
        The results for the manifest, and the number of rows, by reason, that another start may still judge.

    Raises:
        LwexpError: If nothing was kept, or the run had to stop.
        KeyboardInterrupt: After Ctrl-C, when the calls in flight have ended; the rows found until then are written.
    """
    failed = run.path / SELECT_FAILURES
    failed.unlink(missing_ok=True)
    with open_ledger(run.path / LEDGER, config.teacher, root=Path(config.root)) as ledger, RowLog(failed) as out:
        _check_teacher(config, ledger)
        selection = Selection(config, out)
        to_ask = selection.to_ask(screened(rows, config.select, source))
        try:
            with shown("select", selection):
                ask_all(to_ask, config.teacher, ledger, selection.ask)
        finally:
            write_rows(run.path / INSTRUCTIONS, selection.kept)
        totals = ledger.totals()
    counts = selection.tally
    log.info("select: %s", counts)
    for language, wanted in selection.wanted.items():
        if (accepted := selection.accepted[language]) < wanted:
            log.warning(
                "select.counts.%s=%s: the source ended after %s; add another source or lower it",
                language, f"{wanted:,}", f"{accepted:,}",
            )  # fmt: skip
    if not counts.kept:
        raise LwexpError(f"select: nothing was kept ({counts}); the reasons are in {failed}")
    results = SelectResults(
        tally=str(counts), instructions=counts.kept, languages=dict(selection.accepted), lost=counts.lost,
        asked=totals.answers, cost_usd=totals.cost_usd,
    )  # fmt: skip
    return results, {reason: count for reason, count in counts.lost.items() if is_transient(reason)}


class Selection:
    """Takes rows in order and settles them in the same order, while questions about them run concurrently."""

    def __init__(self, config: Config, out: RowLog) -> None:
        self.kept: list[Instruction] = []
        self.accepted: Counter[str] = Counter()
        self.wanted: dict[str, int] = {language: getattr(config.select.counts, language) for language in LANGUAGES}
        self._config = config
        self._out = out
        self._lost: Counter[str] = Counter()
        self._yes: Counter[str] = Counter()  # counted as answers arrive; ``accepted`` is counted in the order of rows
        self._in_flight: Counter[str] = Counter()
        self._answered = asyncio.Event()
        self._decided: dict[int, Outcome | None] = {}  # by row, until all rows before it are decided
        self._next = 0
        self._spent_usd = 0.0

    @property
    def tally(self) -> Tally:
        """Rows settled so far."""
        return tally(len(self.kept) + self._lost.total(), len(self.kept), self._lost.elements())

    @property
    def share(self) -> float:
        """Share of the places that are taken, from 0 to 1."""
        return len(self.kept) / max(1, sum(self.wanted.values()))

    @property
    def numbers(self) -> Numbers:
        """Instructions kept of those wanted, rows lost by reason, and dollars."""
        return Numbers(
            done=len(self.kept), total=sum(self.wanted.values()), failed=dict(self._lost),
            in_flight=self._in_flight.total(), spent_usd=self._spent_usd,
        )  # fmt: skip

    def __str__(self) -> str:
        found = ", ".join(f"{name} {self.accepted[name]:,} of {wanted:,}" for name, wanted in self.wanted.items())
        return f"rows: {self._next:,} read, {found}, {self._in_flight.total()} in flight, ${self._spent_usd:,.2f}"

    async def to_ask(self, rows: Iterator[Outcome]) -> AsyncIterator[tuple[int, Instruction]]:
        """Yield rows that a model must judge, with their positions, until every language is full or the rows end."""
        place = -1
        async for row in _in_a_thread(rows):
            place += 1
            if isinstance(row, Instruction):
                language, wanted = row.language, self.wanted[row.language]
                while self._yes[language] + self._in_flight[language] >= wanted and self._in_flight[language]:
                    self._answered.clear()
                    await self._answered.wait()
                if self._yes[language] < wanted:
                    self._in_flight[language] += 1
                    yield place, row
                    continue
                row = _failure(row.id, "language_full", f"select.counts.{language}={wanted}")
            self._settle(place, row)
            if self._is_full():
                return

    async def ask(self, client: Client, item: tuple[int, Instruction]) -> str | None:
        """Ask about a row from ``to_ask``. Return the reason if there was no verdict, else None."""
        place, row = item
        outcome: Outcome | None = None  # stays None if the run is being stopped
        try:
            seed = seed_of(self._config.seed, row)
            if await needs_long_output(client, row, min_words=self._config.select.min_words, seed=seed):
                self._yes[row.language] += 1
                outcome = row
            else:
                outcome = _failure(row.id, "needs_short_answer", "teacher: no")
        except NothingRead as error:
            if error.reason == DRAINED:
                return DRAINED
            outcome = _failure(row.id, error.reason, str(error))
        finally:
            self._in_flight[row.language] -= 1
            self._spent_usd = client.spent_usd
            self._settle(place, outcome)
            self._answered.set()
        return None

    def _settle(self, place: int, outcome: Outcome | None) -> None:
        """Store the outcome of a row; count and write all rows up to the first undecided one."""
        self._decided[place] = outcome
        while self._next in self._decided:
            first = self._decided.pop(self._next)
            self._next += 1
            if first is None or self._is_full():
                # Rows without an outcome after a stop, or read after the last place was taken, do not count.
                continue
            if isinstance(first, Failure):
                self._lost[first.reason] += 1
                self._out.append(first)
            else:
                self.accepted[first.language] += 1
                self.kept.append(first)

    def _is_full(self) -> bool:
        return all(self.accepted[language] >= wanted for language, wanted in self.wanted.items())


def screened(rows: Iterable[RawRow], config: SelectConfig, source: str) -> Iterator[Outcome]:
    """Apply the rules to each row: an instruction to ask about, or the reason for rejecting it."""
    seen = Duplicates(config.near_duplicate_threshold)
    ids: set[str] = set()
    for row in islice(rows, config.max_rows):
        candidate = read_candidate(row, source)
        if isinstance(candidate, Rejected):
            yield _failure(f"{source}-{row.number}", candidate.reason, f"row {row.number} {candidate.detail}")
            continue
        found = check(candidate, config, source)
        if isinstance(found, Rejected):
            yield _failure(candidate.id, *found)
            continue
        rejected = seen.check(found.id, found.text)
        if rejected is None and found.id in ids:
            # Two texts with the same id would later become one document.
            found = found.model_copy(update={"id": f"{found.id}-{row.number}"})
        ids.add(found.id)
        yield found if rejected is None else _failure(found.id, *rejected)


def _check_teacher(config: Config, ledger: Ledger) -> None:
    """Ask about instructions whose answer is plain, in the languages that are wanted.

    Raises:
        LwexpError: If an answer is wrong or missing and ``select.anchors=refuse``.
    """
    teacher, select = config.teacher, config.select
    languages = [language for language in LANGUAGES if getattr(select.counts, language)]
    if teacher.is_free or select.anchors == "off":
        return
    wrong: list[str] = []
    unasked: list[str] = []

    async def work(client: Client, wanted: Sequence[Language]) -> None:
        found = await check_anchors(client, wanted, min_words=select.min_words, seed=config.seed)
        wrong.extend(found.wrong)
        unasked.extend(found.unasked)

    ask_all([languages], teacher, ledger, work)
    plain = "about instructions whose answer is plain"
    for lines, said, advice in (
        (wrong, f"is wrong {plain}", "choose another teacher, or set select.anchors=warn to select with this one"),
        (unasked, f"could not be asked {plain}", "run the command again, or set select.anchors=warn to select anyway"),
    ):
        if lines and select.anchors == "refuse":
            raise LwexpError(f"teacher {teacher.model} {said}: {'; '.join(lines)}; {advice}")
        if lines:
            log.warning("teacher %s %s: %s (select.anchors=refuse stops here)", teacher.model, said, "; ".join(lines))


class Forecast(NamedTuple):
    """What a dry run finds: counts by rule, how many rows would be asked about, and the most that it would cost."""

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
            else f"at most ${self.cost_usd:,.2f}: questions about a language stop when it is full"
        )
        lost = "".join(f"\n  {n:>9,}  {reason.replace('_', ' ')}" for reason, n in sorted(self.tally.lost.items()))
        return (
            f"rows      {self.tally.received:,}\nby rule{lost}\n"
            f"to ask    {asked}, for en {config.select.counts.en:,} and zh {config.select.counts.zh:,}\n"
            f"teacher   {config.teacher.model}, about {self.prompt_tokens:,} prompt tokens\ncost      {price}"
        )


def forecast(config: Config, rows: Iterable[RawRow], source: str) -> Forecast:
    """Apply the rules to all rows, and price a question about each row that passes, without asking it."""
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
    """Read rows in a thread, a few at a time, so that a shard that downloads for a minute cannot time out calls."""
    while batch := await asyncio.to_thread(lambda: list(islice(rows, _ROWS_AT_ONCE))):
        for row in batch:
            yield row


def _failure(id: str, reason: str, detail: str) -> Failure:
    return Failure(id=id, stage="select", reason=reason, detail=detail, attempts=1)
