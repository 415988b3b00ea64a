"""Writes the documents of a run: many at once, each step by step, resumable from the ledger."""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lwexp.config.schema import Config
from lwexp.generate.estimate import expected_steps
from lwexp.generate.export import Outcome, summarise, write_files
from lwexp.generate.planning import PlanCall, plan_form, plan_schema
from lwexp.generate.progress import Progress
from lwexp.generate.prompts import Templates
from lwexp.generate.write import Rules, Written, write_document
from lwexp.llm.client import Client
from lwexp.llm.errors import OutOfMoney, is_transient
from lwexp.llm.ledger import Ledger, open_ledger
from lwexp.llm.pool import DRAINED, ask_all
from lwexp.records import Failure, Instruction, Language, LwexpError
from lwexp.runs import RunDirectory
from lwexp.runs.artifacts import DRAFT_FAILURES, LEDGER, DataResults
from lwexp.runs.progress import shown
from lwexp.text.plain import plural

log = logging.getLogger(__name__)


class WrittenRun(NamedTuple):
    """The outcome of a generation.

    Attributes:
        results: For the manifest.
        missing: Number of documents, by reason, that another start may still write.
        stop: Error to raise after closing the run, because the money has run out; None after a complete run.
    """

    results: DataResults
    missing: Counter[str]
    stop: OutOfMoney | None = None


def write_all(
    config: Config, run: RunDirectory, instructions: Sequence[Instruction], templates: Mapping[Language, Templates]
) -> WrittenRun:
    """Write every draft of a run and the run's files.

    If the run is stopped, finished documents are written first; the next start continues from the ledger.

    Raises:
        LwexpError: If the run had to stop: no key, no money before the first draft, or a fault in every call.
        KeyboardInterrupt: After Ctrl-C, when the calls in flight have ended.
        Preempted: After SIGTERM, likewise.
    """
    started = time.monotonic()
    with open_ledger(run.path / LEDGER, config.teacher, root=Path(config.root)) as ledger:
        before = ledger.totals().answers
        outcomes: dict[int, Outcome] = {}
        stop: OutOfMoney | None = None
        try:
            _write_documents(config, instructions, templates, ledger, outcomes)
        except OutOfMoney as error:
            if not any(isinstance(item, Written) for item in outcomes.values()):
                raise
            stop = error
        except BaseException:
            done, of = len(outcomes), plural(len(instructions), "document")
            if outcomes:
                counts = write_files(run.path, instructions, outcomes)
                log.info("stopped after %d of %s; exported to %s: %s", done, of, run.path, counts)
            else:
                log.info("stopped after %d of %s: nothing to export yet", done, of)
            raise
        totals = ledger.totals()
    counts = write_files(run.path, instructions, outcomes)
    log.info("generate: %s", counts)
    if not counts.kept:
        raise LwexpError(f"no draft was kept ({counts}); the reasons are in {run.path / DRAFT_FAILURES}")
    log.info(
        "calls: %s sent, %s already in the ledger, $%.4f in all, %.1f s",
        f"{totals.answers - before:,}", f"{before:,}", totals.cost_usd, time.monotonic() - started,
    )  # fmt: skip
    reasons = (item.reason for item in outcomes.values() if isinstance(item, Failure))
    missing = Counter(reason for reason in reasons if is_transient(reason))
    if stop is not None:
        missing["not_asked"] = len(instructions) - len(outcomes)
    results = DataResults(
        tally=str(counts),
        cut_and_asked_again=sum(item.retried for item in outcomes.values() if isinstance(item, Written)),
        conversations=counts.kept,
        calls=totals.answers,
        prompt_tokens=totals.prompt_tokens,
        completion_tokens=totals.completion_tokens,
        cost_usd=totals.cost_usd,
        lost_usd_at_most=totals.lost_usd,
        **summarise(outcomes.values()),
    )
    return WrittenRun(results, missing, stop)


def _write_documents(
    config: Config,
    instructions: Sequence[Instruction],
    templates: Mapping[Language, Templates],
    ledger: Ledger,
    outcomes: dict[int, Outcome],
) -> None:
    """Fill ``outcomes``, by position in ``instructions``. Raises as ``write_all`` does."""
    generate, teacher = config.generate, config.teacher
    factor = generate.retry_max_tokens_factor
    more_room = None if factor is None else round(factor * teacher.max_tokens)
    schema = plan_schema(generate.plan) if plan_form(generate.plan, teacher) == "schema" else None
    rules = Rules(
        mode=generate.mode,
        plan=PlanCall(generate.plan, schema, more_room),
        min_words=generate.min_words,
        seed=config.seed,
        teacher=teacher.model,
        more_room=more_room,
    )
    # Longest first, so that no long document runs alone at the end.
    order = sorted(range(len(instructions)), key=lambda i: instructions[i].required_words or 1 << 30, reverse=True)
    progress = Progress([1 + expected_steps(config, row) for row in instructions])

    async def work(client: Client, index: int) -> str | None:
        row = instructions[index]
        outcome = await write_document(progress.count_calls(client, index), templates[row.language], row, rules)
        reason = outcome.reason if isinstance(outcome, Failure) else None
        if reason != DRAINED:
            outcomes[index] = outcome
            progress.ended(index, outcome)
        return reason

    with shown("generate", progress):
        ask_all(order, teacher, ledger, work)
