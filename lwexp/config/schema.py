"""The whole config: one tree for the whole recipe; each entry script reads its part of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from lwexp.config.data import (
    ExportConfig,
    FilterConfig,
    GenerateConfig,
    MixtureConfig,
    PackConfig,
    PairsConfig,
    SelectConfig,
)
from lwexp.config.evaluate import Engine, SampleConfig, ScoreConfig, api_of
from lwexp.config.train import HardwareChoice, ModelConfig, Tracking, TrainingConfig
from lwexp.extend import BENCHES, OBJECTIVES, Bench, Key, Objective, OneOf, Strict
from lwexp.extend.endpoint import JUDGES, TEACHERS, Judge, Teacher

EVERY = ("generate", "train", "evaluate")
"""Every command."""
STAGES = ("data", "select", "import", "pairs", "train", "evaluate")
"""Every kind of run."""

SCHEMA_VERSION = 2
"""Version of stored configs; grows when a key is renamed or changes its meaning. Version 1 did not write its number."""


class Config(Strict):
    """All settings of a run. It has more than twelve keys because it holds the settings of all rooms."""

    schema_version: Annotated[Literal[2], Key("label")] = 2
    """Written by lwexp, so that later versions can read the config of a run."""
    name: Annotated[str | None, Key("label", read_by=EVERY)] = None
    """Readable part of the run directory's name; null derives one. Letters, digits, dot, dash, underscore."""
    root: Annotated[str, Key("label", read_by=EVERY)] = "runs"
    """Folder under which run directories live."""
    seed: Annotated[int, Key(read_by=EVERY, shapes=STAGES)] = Field(0, ge=0)
    """Determines everything random: instructions, draws, weights, order, sampling."""
    dry_run: Annotated[bool, Key("label", read_by=EVERY)] = False
    """Check everything, print the plan, compute and spend nothing."""
    rerun: Annotated[bool, Key("label", neutral=False, read_by=EVERY)] = False
    """Repeat a finished run; the earlier one is kept beside it as <id>.before-1, and its paid answers are reused."""
    resume_changed_code: Annotated[bool, Key("label", neutral=False, read_by=("train",))] = False
    """train.py: resume from a checkpoint although the training code has changed since; noted in the manifest."""
    plugins: Annotated[tuple[str, ...], Key("label", neutral=(), read_by=EVERY)] = ()
    """Your own modules or .py files, which add model families, objectives, metrics and the like (docs/extend.md)."""

    task: Annotated[
        Literal["select", "agentwrite", "import", "pairs", "export"],
        Key(read_by=("generate",), shapes=("data", "select", "import")),
    ] = "agentwrite"
    """generate_data.py: select instructions, write drafts, import a set, build preference pairs, or export a run."""
    source: Annotated[str | None, Key(read_by=("generate",))] = None
    """generate_data.py task=import or select: a file, a local folder or a hub id such as THUDM/LongWriter-6k."""
    split: Annotated[str, Key(read_by=("generate",), shapes=("select", "import"))] = "train"
    """generate_data.py task=import or select: which split of a folder or hub set."""
    on_bad_row: Annotated[Literal["skip", "error"], Key(read_by=("generate",), shapes=("import",))] = "skip"
    """generate_data.py task=import: a broken row is named and counted, or stops the import."""
    init_from: Annotated[str, Key("label", read_by=("generate", "train"))] = "newest"
    """SFT run to sample pairs from or to start DPO from: a run directory, a run name, or "newest"."""
    run: Annotated[str, Key("label", read_by=("evaluate",))] = "newest"
    """evaluate.py: the training run to evaluate: a run directory, a run name, or "newest"."""
    responses: Annotated[str | None, Key(read_by=("evaluate",))] = None
    """evaluate.py: score the answers in this file or folder instead of sampling; formats: docs/evaluation.md."""
    baseline_run: Annotated[str | None, Key(read_by=("evaluate",), formerly="against")] = None
    """evaluate.py: an evaluation run of the same bench (directory or name) to compare with, prompt by prompt."""
    evaluate_after: Annotated[bool, Key("label", read_by=("train",), formerly="then_evaluate")] = False
    """train.py: evaluate the run when it has finished (sweeps set this)."""
    inspect_batch: Annotated[int | None, Key(read_by=("train",))] = Field(None, ge=1)
    """train.py: print this many packs as they are trained on (targets, boundaries, loss weights), and stop."""

    teacher: Annotated[Teacher, OneOf(TEACHERS), Key(read_by=("generate",), shapes=("data", "select"))]
    judge: Annotated[Judge, OneOf(JUDGES), Key(read_by=EVERY, shapes=("pairs", "evaluate"))]
    select: Annotated[SelectConfig, Key(read_by=("generate",), shapes=("select",))]
    generate: Annotated[GenerateConfig, Key(read_by=("generate",), shapes=("data",))]
    pairs: Annotated[PairsConfig, Key(read_by=("generate",), shapes=("pairs",))]
    filter: Annotated[FilterConfig, Key(read_by=("generate",), shapes=("import",))] = Field(
        default_factory=FilterConfig
    )
    export: Annotated[ExportConfig, Key(read_by=("generate",))] = Field(default_factory=ExportConfig)
    mixture: Annotated[MixtureConfig, Key(read_by=("train",), shapes=("train",))]
    pack: Annotated[PackConfig, Key(read_by=("train",), shapes=("train",))]
    model: Annotated[ModelConfig, Key(read_by=EVERY, shapes=("train",))]
    objective: Annotated[Objective, OneOf(OBJECTIVES), Key(read_by=("train",), shapes=("train",))]
    training: Annotated[TrainingConfig, Key(read_by=("train",), shapes=("train",))] = Field(
        default_factory=TrainingConfig
    )
    hardware: Annotated[HardwareChoice, Key(read_by=EVERY, shapes=("train",))]
    bench: Annotated[Bench, OneOf(BENCHES), Key(read_by=("train", "evaluate"), shapes=("evaluate",))]
    engine: Annotated[Engine, Key(read_by=EVERY, shapes=("pairs", "evaluate"))]
    sample: Annotated[SampleConfig, Key(read_by=EVERY, shapes=("pairs", "evaluate"))]
    score: Annotated[ScoreConfig, Key(read_by=("train", "evaluate"), shapes=("evaluate",))] = Field(
        default_factory=ScoreConfig
    )
    tracking: Annotated[Tracking, Key("label", read_by=("train", "evaluate"))]

    @field_validator("name")
    @classmethod
    def name_is_a_plain_folder_name(cls, name: str | None) -> str | None:
        """A name becomes part of a path: no separators, no leading dot, at most 60 characters."""
        import re

        if name is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,59}", name):
            raise ValueError(f"name: {name!r} must be 1 to 60 of A-Z a-z 0-9 . _ - and not start with a dot or dash")
        return name

    @model_validator(mode="after")
    def import_needs_a_source(self) -> Config:
        """task=import and task=select need a source."""
        if self.task == "import" and self.source is None:
            raise ValueError(
                "source: task=import needs a file; add source=<file.json|.jsonl|.parquet>, or a folder or hub id"
            )
        if self.task == "select" and self.source is None:
            raise ValueError(
                "source: task=select needs conversations; add source=<file, folder or hub id>, such as "
                "source=allenai/WildChat-1M"
            )
        return self

    @model_validator(mode="after")
    def weights_in_4_bits_stay_in_one_process(self) -> Config:
        """ZeRO flattens weights and shares them out, and bitsandbytes keeps the scales of 4-bit weights beside them."""
        if self.model.quantize != "none" and self.hardware.kind == "zero":
            raise ValueError(
                f"model.quantize: {self.model.quantize} works in one process, and hardware is ZeRO with "
                f"{self.hardware.devices} ranks a node; set hardware=gpu1 (or cpu), or model.quantize=none"
            )
        return self

    @model_validator(mode="after")
    def every_sampling_parameter_reaches_the_model(self) -> Config:
        """A parameter that is stored with an answer but never sent would be a false record."""
        engine, sample = api_of(self.engine), self.sample
        if sample.stop_after_repeats and self.engine.kind != "checkpoint":
            raise ValueError(
                f"sample.stop_after_repeats={sample.stop_after_repeats}: a server does not stop loops; set "
                f"sample.stop_after_repeats=0, or engine=checkpoint"
            )
        if engine is not None and not engine.supports_top_k:
            for key, value, off in (("top_k", sample.top_k, 0), ("repetition_penalty", sample.repetition_penalty, 1.0)):
                if value != off:
                    raise ValueError(
                        f"sample.{key}={value} is not sent to {engine.model}; set sample.{key}={off}, or "
                        f"engine.supports_top_k=true where the server takes it"
                    )
        return self
