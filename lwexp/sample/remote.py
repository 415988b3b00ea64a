"""Answers prompts with a model behind an API: many at once, each under its own id, every paid call in a ledger."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import JsonValue

from lwexp.config.evaluate import ApiEngine, SampleConfig
from lwexp.llm import pool
from lwexp.llm.answer import NoAnswer
from lwexp.llm.client import Client
from lwexp.llm.endpoints.hosted import LiteLLMWriter
from lwexp.llm.ledger import open_ledger
from lwexp.llm.pool import DRAINED
from lwexp.records import Failure
from lwexp.sample.requests import SampleRequest, SampleResult
from lwexp.text.reasoning import UNFINISHED
from lwexp.text.words import count_words


def ask_all(
    requests: Sequence[SampleRequest],
    engine: ApiEngine,
    sample: SampleConfig,
    ledger_path: Path,
    root: Path | None,
    keep: Callable[[SampleResult | Failure], None],
    *,
    weights: str | None = None,
) -> None:
    """Ask for every answer, and pass each to ``keep`` as it arrives, in any order.

    Args:
        requests: In any order.
        engine: The model.
        sample: Its sampling.
        ledger_path: Where paid answers are stored.
        root: Folder of the runs that share their paid answers; None shares with no run.
        keep: Receives an answer, or why there is none.
        weights: Fingerprint of the model's weights, if known: answers of other weights are not used again.

    Raises:
        LwexpError: As in ``lwexp.llm.pool.ask_all``, which also raises KeyboardInterrupt and Preempted.
    """

    async def work(client: Client, request: SampleRequest) -> str | None:
        answer = await _ask(client, request)
        reason = answer.reason if isinstance(answer, Failure) else None
        if reason != DRAINED:
            keep(answer)
        return reason

    writer = writer_of(engine, sample, weights)
    with open_ledger(ledger_path, writer, root=root) as ledger:
        pool.ask_all(requests, writer, ledger, work)


def writer_of(engine: ApiEngine, sample: SampleConfig, weights: str | None = None) -> LiteLLMWriter:
    """The endpoint that receives every sampling parameter of ``sample``.

    A fingerprint of the weights is sent as a header, which the server ignores: the ledger's key holds all that is sent.

    vLLM and SGLang apply a model's generation_config.json to every parameter that a request omits. So engines that
    support top_k and repetition_penalty get both even when these are off.
    """
    options: dict[str, JsonValue] = {}
    if engine.supports_top_k:
        options["extra_body"] = {"top_k": sample.top_k or -1, "repetition_penalty": sample.repetition_penalty}
    if weights is not None:
        options["extra_headers"] = {"X-Lwexp-Weights": weights[:16]}
    return LiteLLMWriter(
        kind="litellm",
        model=engine.model,
        base_url=engine.base_url,
        api_key_env=engine.api_key_env,
        temperature=sample.temperature,
        top_p=sample.top_p,
        max_tokens=sample.max_new_tokens,
        price=engine.price,
        limits=engine.limits,
        options=options,
    )


async def _ask(client: Client, request: SampleRequest) -> SampleResult | Failure:
    """One answer. Truncated and empty outputs count as answers; an empty one scores 0."""
    outcome = await client.ask([{"role": "user", "content": request.prompt.text}], seed=request.seed)
    if not isinstance(outcome, NoAnswer):
        return SampleResult(request.id, outcome.text.strip(), "stop", outcome.reasoning)
    if outcome.reason == UNFINISHED and outcome.partial is not None:
        words = count_words(outcome.partial.reasoning)
        detail = f"{words:,} words of reasoning and no answer; raise sample.max_new_tokens"
        return Failure(id=request.id, stage="sample", reason=UNFINISHED, detail=detail, attempts=outcome.attempts)
    if outcome.partial is not None:
        return SampleResult(request.id, outcome.partial.text.strip(), "length", outcome.partial.reasoning)
    if outcome.reason == "empty":
        return SampleResult(request.id, "", "stop")
    return Failure(
        id=request.id, stage="sample", reason=outcome.reason, detail=outcome.detail, attempts=outcome.attempts
    )
