"""The trials of a sweep, recorded in its folder: ``trials.json`` always has the current state of each."""

import contextlib
import functools
import hashlib
import json
import logging
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import TypeAdapter

from lwexp.records import lock_file, one_at_a_time, parse_json, write_json
from lwexp.runs.artifacts import LOCK, TRIALS
from lwexp.runs.run import Run

log = logging.getLogger(__name__)
Status = Literal["waiting", "running", "finished", "failed", "interrupted"]


@dataclass
class Trial:
    """One point of a sweep and its outcome."""

    number: int
    overrides: list[str]
    log: str
    label: str = ""
    """The settings that distinguish it from the other trials, as typed."""
    status: Status = "waiting"
    exit_code: int | None = None
    """The negative number of the signal if one killed it."""
    reason: str | None = None
    """Why it failed, from its log."""
    seconds: float | None = None
    runs: list[str] = field(default_factory=list)
    job: str | None = None
    """Id of its SLURM job, the newest one."""
    state: str = ""
    """What SLURM said about the job last, such as PENDING (Priority)."""
    kept: bool = False
    """Whether an earlier start of the sweep finished it, so that it is not run again."""

    @property
    def settings(self) -> dict[str, str]:
        """Key -> value of its overrides, as typed."""
        pairs = (item.lstrip("+~").partition("=") for item in self.overrides)
        return {key: value for key, equals, value in pairs if equals}

    @property
    def record(self) -> str:
        """File in which the trial notes its run directories."""
        return str(Path(self.log).with_suffix(".runs"))


class Outcome(NamedTuple):
    """How a trial ended."""

    exit_code: int | None
    """None if its job ended without one, for example because it was cancelled while it waited."""
    seconds: float | None = None
    """How long it ran; None if that is not known."""
    reason: str | None = None
    """Why it ended, if more is known than its exit code and its log."""


def sweep_directory(root: Path, name: str, job_overrides: Sequence[Sequence[str]]) -> Path:
    """``<root>/sweep-<name>-<hash of all trials>``: starting the same sweep again finds its folder."""
    digest = hashlib.sha256(json.dumps([list(job) for job in job_overrides]).encode()).hexdigest()[:8]
    return root / f"sweep-{name}-{digest}"


def make_trials(folder: Path, job_overrides: Sequence[Sequence[str]], first: int = 0) -> list[Trial]:
    """The trials of a sweep, labelled by what differs between them."""
    shared = set.intersection(*(set(job) for job in job_overrides)) if len(job_overrides) > 1 else set()
    trials = []
    for number, job in enumerate(job_overrides, start=first):
        label = " ".join(item for item in job if item not in shared and not item.startswith("+sweeps="))
        trials.append(Trial(number, list(job), str(folder / f"trial-{number}.log"), label or "the only trial"))
    return trials


@contextmanager
def sweep_lock(folder: Path) -> Iterator[None]:
    """Inside this context no other process submits or watches the trials of the sweep in this folder.

    Raises:
        LwexpError: If another process does.
    """
    with closing(lock_file(folder / LOCK, what=folder)):
        yield


def write_trials(folder: Path, trials: Sequence[Trial]) -> None:
    """Write trials.json, which people, the report and the next start of the sweep read."""
    write_json(folder / TRIALS, [asdict(trial) for trial in trials])


def update_trials(folder: Path, trials: Sequence[Trial]) -> None:
    """Write these trials into trials.json. Other processes may work on the others, so those are kept as they are."""
    with one_at_a_time(folder / "trials.lock"):
        rows = {trial.number: trial for trial in [*read_trials(folder), *trials]}
        write_trials(folder, [rows[number] for number in sorted(rows)])


def read_trials(folder: Path) -> list[Trial]:
    """The trials recorded by an earlier start of the sweep; empty if there was none or the file cannot be read."""
    try:
        return _trials_type().validate_python(parse_json((folder / TRIALS).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return []


@functools.cache
def _trials_type() -> TypeAdapter[list[Trial]]:
    """Refuses values of other types, of which each reader of the trials would fail in its own way."""
    return TypeAdapter(list[Trial])


def last_words(log_path: Path) -> str | None:
    """Why a trial ended, from its log; None if the log is empty or cannot be read."""
    try:
        return reason_in(log_path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def reason_in(text: str) -> str | None:
    """The last ``error:`` line of a text, an exception's last line, or the text's last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    for candidates in (said, raised, lines):
        if candidates:
            return candidates[-1][:500]
    return None


def recall_finished(trials: Sequence[Trial], folder: Path) -> None:
    """Mark trials as finished if an earlier start finished them: same overrides, exit code 0, and their runs exist."""
    earlier = {tuple(trial.overrides): trial for trial in read_trials(folder)}
    for trial in trials:
        old = earlier.get(tuple(trial.overrides))
        if old is not None and old.status == "finished" and old.runs and all(map(_is_finished, old.runs)):
            trial.status, trial.exit_code, trial.seconds = "finished", 0, old.seconds
            trial.runs, trial.log, trial.kept = old.runs, old.log, True
            log.info("trial %d was finished by an earlier start: %s", trial.number + 1, trial.label)


def recall_jobs(trials: Sequence[Trial], folder: Path) -> None:
    """Take over the SLURM jobs that an earlier start has submitted for trials that are not finished."""
    earlier = {tuple(trial.overrides): trial for trial in read_trials(folder)}
    for trial in trials:
        old = earlier.get(tuple(trial.overrides))
        if old is not None and trial.status == "waiting" and old.job is not None:
            trial.job, trial.log = old.job, old.log


def read_runs(trial: Trial) -> list[str]:
    """The run directories that a trial has noted, each once: a trial that was queued again notes them again."""
    record = Path(trial.record)
    if not record.exists():
        return []
    noted = []
    for line in record.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):  # a kill may cut the last line
            noted.append(str(parse_json(line)))
    return list(dict.fromkeys(noted))


def settle_trial(trial: Trial, outcome: Outcome) -> None:
    """Record how a trial has ended, and which runs it has made."""
    trial.exit_code, trial.seconds = outcome.exit_code, outcome.seconds
    trial.status = "finished" if trial.exit_code == 0 else "failed"
    trial.runs = read_runs(trial)
    trial.reason = None if trial.status == "finished" else outcome.reason or _reason(trial)


def _reason(trial: Trial) -> str:
    said = last_words(Path(trial.log))
    if trial.exit_code is not None and trial.exit_code < 0:
        try:
            name = signal.Signals(-trial.exit_code).name
        except ValueError:
            name = "unknown"
        return f"killed by signal {-trial.exit_code} ({name})" + (f", after: {said}" if said else "")
    return said or "no output"


def _is_finished(path: str) -> bool:
    run = Run.at(Path(path))
    return run is not None and run.is_finished
