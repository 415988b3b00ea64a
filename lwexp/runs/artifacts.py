"""The files of a run: their names, and a typed model for each JSON object.

Writers and readers in all rooms use these, so that each key has one spelling. Reading is lenient: unknown keys are
kept, and keys that older versions did not write have a default. Rows are in ``lwexp.records``.
"""

import math
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from lwexp.records import parse_json, write_json

CONFIG = "config.json"
LOG = "log.txt"
LOCK = "lock"
SET_ASIDE = ".before-"
"""Marks the folder of an earlier version of a repeated run: ``<id>.before-1``."""
LEDGER = "ledger.sqlite"
"""Paid answers of a teacher or judge."""
ENGINE_LEDGER = "answers.sqlite"
"""Paid answers of an engine behind an API."""
WORKERS_LOG = "workers.log"
"""What sampling workers print, if anything."""

INSTRUCTIONS = "instructions.jsonl"
DRAFTS = "drafts.jsonl"
TRACE = "trace.jsonl"
CONVERSATIONS = "conversations.jsonl"
PAIRS = "pairs.jsonl"
RESPONSES = "responses.jsonl"
VERDICTS = "verdicts.jsonl"
JUDGEMENTS = "judgements.jsonl"
CHECKS = "checks.jsonl"
POSITIONS = "positions.jsonl"
PAIR_JUDGEMENTS = "pairwise.jsonl"

DRAFT_FAILURES = "draft_failures.jsonl"
SELECT_FAILURES = "select_failures.jsonl"
IMPORT_FAILURES = "import_failures.jsonl"
ANSWER_FAILURES = "answer_failures.jsonl"
PAIR_FAILURES = "pair_failures.jsonl"
MIXTURE_FAILURES = "mixture_failures.jsonl"
_OLD_FAILURES = "failures.jsonl"

METRICS = "metrics.jsonl"
HELD_OUT_METRICS = "validation.jsonl"
PROBE_METRICS = "probe.jsonl"
NONFINITE = "nonfinite.jsonl"
MODEL = "model"
ADAPTER = "adapter"
CHECKPOINTS = "checkpoints"
PACKS = "packs"

REPORT = "report.html"
TRAINING_PAGE = "training.html"
VIEWER = "viewer.html"
CARD = "README.md"
HOW_MEASURED = "how_measured.md"
SUMMARY = "summary.json"
TRIALS = "trials.json"

Tree = dict[str, Any]


def failures_in(folder: Path, *names: str) -> Path | None:
    """The first of these failures files that exists, or the ``failures.jsonl`` of older versions, or None."""
    return next((folder / name for name in (*names, _OLD_FAILURES) if (folder / name).is_file()), None)


def read_object(path: Path) -> Tree:
    """The JSON object in a file; an empty one if there is none that can be read."""
    try:
        value: Any = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


class Artifact(BaseModel):
    """A JSON object of a run. ``FILE`` is the name of its file, if it has one.

    The validator is built at first use, because a command uses few of the types.
    """

    model_config = ConfigDict(extra="allow", defer_build=True)
    FILE: ClassVar[str] = ""

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The object in a run's folder; None if it is missing or cannot be read."""
        try:
            return cls.model_validate_json((folder / cls.FILE).read_bytes())
        except (OSError, ValueError):
            return None

    def write(self, folder: Path) -> None:
        """Write it into a run's folder atomically."""
        write_json(folder / self.FILE, self.model_dump(mode="json"))


class Parent(Artifact):
    """A run that another one was made from."""

    id: str
    path: str = ""


class Git(Artifact):
    """The git checkout that a run was made with; nulls outside a checkout."""

    commit: str | None = None
    dirty: bool | None = None


class Labels(Artifact):
    """Labels by which other steps find a run."""

    model: str | None = None
    objective: str | None = None
    bench: str | None = None
    teacher: str | None = None

    def get(self, name: str) -> str | None:
        """A label by its name; None if the run does not have it."""
        value = getattr(self, name, None)
        return None if value is None else str(value)

    def items(self) -> list[tuple[str, str]]:
        """Name and value of each label that the run has."""
        return [(name, str(value)) for name, value in self.model_dump().items() if value is not None]


class Manifest(Artifact):
    """A run's kind, inputs, code and results."""

    FILE: ClassVar[str] = "manifest.json"

    id: str = ""
    name: str = ""
    stage: str = "missing"
    status: str = "missing"
    """new, running, finished, incomplete, failed, interrupted or preempted."""
    labels: Labels = Labels()
    seed: int | None = None
    inputs: dict[str, str] = {}
    """Name -> fingerprint or id of everything the run reads."""
    parents: list[Parent] = []
    command: str = ""
    created: str = ""
    starts: list[str] = []
    git: Git = Git()
    code: dict[str, str] = {}
    """Room -> fingerprint of the code that shapes the results; not recorded by older versions."""
    plugins: dict[str, str] = {}
    """Plugin -> fingerprint of its file."""
    code_changes: list[str] = []
    """The changes in the code at each resumption with different code."""
    python: str | None = None
    versions: dict[str, str | None] = {}
    results: Tree | None = None
    """One of the models in ``RESULTS``, once the run has finished."""
    end: str | None = None
    reason: str | None = None
    """Why it is not finished."""

    def write(self, folder: Path) -> None:
        """Write it without unset values."""
        tree = self.model_dump(mode="json")
        tree["labels"] = dict(self.labels.items())
        write_json(folder / self.FILE, {key: value for key, value in tree.items() if value is not None})


class WordStats(Artifact):
    """Lengths in words."""

    min: int
    median: float
    max: int


class DataResults(Artifact):
    """Results of a run that writes drafts."""

    tally: str
    conversations: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    lost_usd_at_most: float = 0.0
    cut_and_asked_again: int = 0
    words: WordStats | None = None
    cut_at_max_tokens: int = 0
    cleaned: dict[str, int] = {}
    """Cleaning rule -> paragraphs that it changed."""


class SelectResults(Artifact):
    """Results of a run that selects instructions."""

    tally: str
    instructions: int
    languages: dict[str, int]
    lost: dict[str, int]
    asked: int
    cost_usd: float


class ImportResults(Artifact):
    """Results of an import."""

    conversations: int
    pairs: int
    lost: dict[str, int]
    tally: str
    max_words: int
    with_reasoning: int = 0
    """Rows whose reasoning was separated from their answers."""


class EngineSummary(Artifact):
    """The server that answered: one of the user's, or one that lwexp started."""

    FILE: ClassVar[str] = "engine.json"

    model: str
    """Its name on the server."""
    url: str
    weights: str | None = None
    """Fingerprint of the folder it loaded; None if it is not known."""
    version: str | None = None
    """Of the program; this and what follows only for servers that lwexp started."""
    command: list[str] = []
    positions: int | None = None
    starts: int = 0


class PairsResults(Artifact):
    """Results of a run that samples preference pairs."""

    tally: str
    pairs: int
    answers: int
    by_required_words: list[Tree]
    """Rows of ``mix.pair_table.summarise``."""


class TrainResults(Artifact):
    """Results of a training run."""

    steps: int
    final_loss: float = math.nan
    target_tokens: int
    seconds: float
    max_train_words: int
    """Words of the longest training answer (for pairs, the longest chosen one) in the whole lineage."""
    model: str


class EvaluateResults(Artifact):
    """Results of an evaluation."""

    responses: int
    verdicts: int
    unscored: int
    template: str | None = None
    """How prompts were rendered: a chat format, "own" for the model's own template, or "server" for an API's. None if
    the answers come from a file, or in runs of older versions."""


RESULTS: dict[str, type[Artifact]] = {
    "data": DataResults,
    "select": SelectResults,
    "import": ImportResults,
    "pairs": PairsResults,
    "train": TrainResults,
    "evaluate": EvaluateResults,
}
"""Stage -> model of its results."""
