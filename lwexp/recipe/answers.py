"""Where the answers of an evaluation come from: a model, a server, or a file that another tool wrote."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lwexp.config import Config
from lwexp.config.evaluate import ApiEngine, CheckpointEngine, Engine, ServerEngine, api_of
from lwexp.extend.endpoint import AskedJudge
from lwexp.records import Failure, LwexpError, Prompt, Response, write_rows
from lwexp.runs import Run, RunDirectory
from lwexp.runs.artifacts import ANSWER_FAILURES, MODEL, RESPONSES

if TYPE_CHECKING:
    from lwexp.sample.pairing import Paired
    from lwexp.score.given_scores import GivenScores

log = logging.getLogger(__name__)


def collect_answers(
    config: Config, prompts: Sequence[Prompt], trained: Run | None, run: RunDirectory, scored: dict[str, GivenScores]
) -> list[Response]:
    """The answers; ``scored`` is filled with scores that came with them."""
    from lwexp.benches.select import is_part
    from lwexp.sample.collect import collect
    from lwexp.sample.external_responses import read_responses

    out = run.path / RESPONSES
    if config.responses:
        failures: list[Failure] = []
        found: list[tuple[str, Paired]] = []
        path = Path(config.responses)
        whole = config.bench.prompts() if is_part(config.bench) else None
        responses = read_responses(
            path, prompts, config.bench.counter, bench=config.bench.name, whole=whole, failures=failures, scored=found
        )
        ours = config.judge.model if isinstance(config.judge, AskedJudge) else None
        scored |= {id: _given(one, path, ours) for id, one in found}
        write_rows(out, responses)
        if failures:
            write_rows(run.path / ANSWER_FAILURES, failures)
        return responses
    engine, folder, api = config.engine, model_folder(config, trained), api_of(config.engine)
    model = folder if api is None else api
    assert model is not None
    return collect(
        prompts, model=model, model_name=subject(config, trained), sample=config.sample, seed=config.seed, out=out,
        chat=None if isinstance(engine, ApiEngine) else engine.chat, counter=config.bench.counter,
        root=Path(config.root), server=engine if isinstance(engine, ServerEngine) else None, expected=folder,
        workers=engine.workers if isinstance(engine, CheckpointEngine) else 1,
    )  # fmt: skip


def check_architecture(config: Config) -> None:
    """Compare decoding with transformers on a miniature of the folder in ``engine.path``.

    Folders of training runs passed such a check before they were trained.

    Raises:
        LwexpError: If the folder's answers would not be its model's.
    """
    engine = config.engine
    if config.responses or not isinstance(engine, CheckpointEngine) or engine.path is None:
        return
    from lwexp.sample.folder_check import decoding_problem
    from lwexp.train.model.admission import miniature
    from lwexp.train.model.folder_layout import read_config

    folder = Path(engine.path)
    try:
        small = miniature(read_config(json.loads((folder / "config.json").read_text(encoding="utf-8"))))
    except (AttributeError, TypeError) as error:
        # The config does not count layers, heads and widths as Llama's does.
        log.warning("%s: no miniature of this architecture can be made, so decoding is unchecked (%s)", folder, error)
        return
    if problem := decoding_problem(small):
        raise LwexpError(f"{folder}: {problem}")


def model_folder(config: Config, trained: Run | None) -> Path | None:
    """The folder of the model that answers; None for a model behind an API that is not known here."""
    if trained is not None:
        return trained.path / MODEL
    path = None if isinstance(config.engine, ApiEngine) else config.engine.path
    return None if path is None else Path(path)


def require_trained_model(engine: Engine) -> None:
    """Refuse an engine that cannot answer with the model of a training that has not begun, for ``evaluate_after``.

    Raises:
        LwexpError: If it is a folder, a running server or a hosted model.
    """
    if (api := api_of(engine)) is not None:
        other, instead = (
            f"engine.model={api.model}",
            "choose engine=checkpoint, vllm or sglang, without engine.base_url",
        )
    elif not isinstance(engine, ApiEngine) and engine.path is not None:
        other, instead = f"engine.path={engine.path}", "leave it out"
    else:
        return
    raise LwexpError(f"{other}: evaluate_after=true evaluates the model that this run trains; {instead}")


def _given(one: Paired, path: Path, ours: str | None) -> GivenScores:
    """Scores that came with an answer. Their scorer never has the name of the run's own judge, ``ours``."""
    from lwexp.score.given_scores import GivenScores

    judge = one.answer.judge or f"scores in {path.name}"
    if judge == ours:
        judge = f"{judge} in {path.name}"
    return GivenScores(f"{path} {one.place}", judge, one.answer.scores)


def subject(config: Config, trained: Run | None) -> str:
    """Name of the model, as recorded in each response."""
    if config.responses:
        return config.responses
    if (api := api_of(config.engine)) is not None:
        return api.model
    return str(model_folder(config, None)) if trained is None else trained.id


def chat_template(config: Config, trained: Run | None) -> str | None:
    """How prompts are rendered, for the report; None if the answers come from a file.

    Raises:
        LwexpError: If the model's folder has neither a chat format nor a template.
    """
    engine = config.engine
    if config.responses:
        return None
    if api_of(engine) is not None or isinstance(engine, ApiEngine):
        return "server"
    from lwexp.pack.chat import chat_of
    from lwexp.pack.tokenizer import load_tokenizer

    folder = str(model_folder(config, trained))
    format = chat_of(load_tokenizer(folder, None, engine.chat))
    changed = format.model_dump(exclude={"kind"}, exclude_defaults=True)
    return ", ".join([format.kind, *(f"{name}={value!r}" for name, value in changed.items())])


def template_for_report(config: Config, trained: Run | None) -> str | None:
    """As ``chat_template``; None if the model is gone, which all answers and scores can do without."""
    try:
        return chat_template(config, trained)
    except LwexpError as error:
        log.warning("the report does not name the chat template: %s", error)
        return None
