"""Chooses the program that decodes a model whose folder is here, and says which and why."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from lwexp.config import Config
from lwexp.config.evaluate import CheckpointEngine
from lwexp.runs import Run, run_path

log = logging.getLogger(__name__)


def with_decoder(
    config: Config,
    model: Path | None,
    stage: str | None = None,
    *,
    name: str = "",
    inputs: Mapping[str, str] | None = None,
) -> Config:
    """The config with vLLM as its engine where that is chosen, else unchanged.

    A run that exists keeps its program, whatever is installed by now.

    Args:
        config: Its engine may leave the program open (``engine.decoder=auto``).
        model: The model's folder, if it is here.
        stage: Kind of the run; None if it is not opened (a dry run).
        name: The run's default name.
        inputs: Fingerprints of what the run reads.
    """
    engine = config.engine
    if config.responses or model is None or not isinstance(engine, CheckpointEngine) or engine.decoder != "auto":
        return config
    if config.sample.stop_after_repeats:
        log.info("decoder: transformers (vLLM cannot honour sample.stop_after_repeats)")
        return config
    from lwexp.sample.servers.choose_server import served_by_vllm, why_not_vllm

    served = config.model_copy(update={"engine": served_by_vllm(engine)})
    if stage is not None:
        begun = [
            choice
            for choice in (config, served)
            if Run.at(run_path(stage, choice, default_name=name, inputs=inputs or {})) is not None
        ]
        if len(begun) == 1:
            log.info("decoder: %s, with which this run began", "vLLM" if begun[0] is served else "transformers")
            return begun[0]
    if engine.workers is not None:
        log.info("decoder: transformers, in this process or several (engine.workers is set)")
        return config
    if (reason := why_not_vllm(model)) is not None:
        log.info("decoder: transformers, in this process (%s)", reason)
        return config
    log.info("decoder: vLLM, started on the model (engine.decoder=transformers decodes in this process)")
    return served
