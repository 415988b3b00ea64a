"""The whole config: one tree for the whole recipe, of which each entry script reads its part."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from lwexp.config.base import Strict
from lwexp.config.data import (
    ExportConfig,
    FilterConfig,
    GenerateConfig,
    MixtureConfig,
    PackConfig,
    PairsConfig,
    SelectConfig,
)
from lwexp.config.evaluate import ApiEngine, Bench, Engine, SampleConfig, ScoreConfig
from lwexp.config.llm import Judge, Teacher
from lwexp.config.train import HardwareChoice, ModelConfig, Objective, Tracking, TrainingConfig


class Config(Strict):
    """Everything a run can be told. More than twelve keys: it is the one place where all rooms meet."""

    name: str | None
    """Readable part of the run directory's name; null derives one. Letters, digits, dot, dash, underscore."""
    root: str
    """Folder under which run directories live."""
    seed: int = Field(ge=0)
    """Shapes everything random: instructions, draws, weights, order, sampling."""
    dry_run: bool
    """Check everything, print the plan, compute and spend nothing."""

    task: Literal["select", "agentwrite", "import", "pairs", "export"]
    """generate_data.py: select instructions, write drafts, import a set, build preference pairs, or export a run."""
    source: str | None
    """generate_data.py task=import or select: a file, a local folder or a hub id such as THUDM/LongWriter-6k."""
    split: str
    """generate_data.py task=import or select: which split of a folder or hub set."""
    on_bad_row: Literal["skip", "error"]
    """generate_data.py task=import: a broken row is named and counted, or stops the import."""
    init_from: str
    """SFT run to sample pairs from or to start DPO from: a run directory, a run name, or "newest"."""
    run: str
    """evaluate.py: the training run to evaluate: a run directory, a run name, or "newest"."""
    responses: str | None
    """evaluate.py: score this JSONL file of responses instead of sampling."""
    against: str | None
    """evaluate.py: an evaluation run of the same bench (directory or name) to compare with, prompt by prompt."""
    then_evaluate: bool
    """train.py: evaluate the run when it has finished (sweeps set this)."""
    inspect_batch: int | None = Field(ge=1)
    """train.py: print this many packs as they are trained on (targets, boundaries, loss weights), and stop."""

    teacher: Teacher
    judge: Judge
    select: SelectConfig
    generate: GenerateConfig
    pairs: PairsConfig
    filter: FilterConfig
    export: ExportConfig
    mixture: MixtureConfig
    pack: PackConfig
    model: ModelConfig
    objective: Objective
    training: TrainingConfig
    hardware: HardwareChoice
    bench: Bench
    engine: Engine
    sample: SampleConfig
    score: ScoreConfig
    tracking: Tracking

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
        """task=import and task=select read something."""
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
    def every_sampling_parameter_reaches_the_model(self) -> Config:
        """A parameter that is stored with an answer but never sent would be a false record."""
        engine, sample = self.engine, self.sample
        if isinstance(engine, ApiEngine) and not engine.sends_top_k:
            for key, value, off in (("top_k", sample.top_k, 0), ("repetition_penalty", sample.repetition_penalty, 1.0)):
                if value != off:
                    raise ValueError(
                        f"sample.{key}={value} is not sent to {engine.model}; set sample.{key}={off}, or "
                        f"engine.sends_top_k=true where the server takes it"
                    )
        return self


# What each entry script reads. The help shows these keys, and overriding any other is refused.
READS: dict[str, tuple[str, ...]] = {
    "generate_data": (
        "instructions", "task", "teacher", "select", "generate", "source", "split", "on_bad_row", "filter", "export",
        "pairs", "init_from", "judge", "model", "engine", "sample", "hardware",
    ),
    "train": (
        "model", "objective", "mixture", "pack", "training", "hardware", "tracking", "init_from",
        "then_evaluate", "inspect_batch", "bench", "judge", "sample", "score",
    ),
    "evaluate": (
        "run", "bench", "judge", "engine", "sample", "score", "responses", "against", "model", "hardware",
        "tracking",
    ),
}  # fmt: skip
EVERY_SCRIPT = ("name", "root", "seed", "dry_run", "experiment")
