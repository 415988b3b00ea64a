"""Trials of a sweep: each a fresh process, started by submitit, watched here, and done only once.

``trials.json`` in the sweep's folder says at any time what became of each trial. Running the same sweep again
starts only those that have not finished.
"""

import hashlib
import json
import logging
import re
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from lwexp.records import LwexpError, write_json
from lwexp.runs.artifacts import TRIALS
from lwexp.runs.progress import counted
from lwexp.runs.run import Run
from lwexp.runs.trial_process import TrialProcess, read_pid, share_of_cores, stop

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_WEEK_MINUTES = 7 * 24 * 60

Status = Literal["waiting", "running", "finished", "failed", "interrupted"]


@dataclass
class Trial:
    """One point of a sweep and what became of it."""

    number: int
    overrides: list[str]
    log: str
    label: str = ""
    """What sets it apart from the other trials, as typed."""
    status: Status = "waiting"
    exit_code: int | None = None
    """Minus the signal where one killed it."""
    reason: str | None = None
    """Why it failed, in its own last words."""
    seconds: float | None = None
    runs: list[str] = field(default_factory=list)
    kept: bool = False
    """Finished by an earlier start of the sweep and not run again."""

    @property
    def settings(self) -> dict[str, str]:
        """Key -> value of its overrides, as typed."""
        pairs = (item.lstrip("+~").partition("=") for item in self.overrides)
        return {key: value for key, equals, value in pairs if equals}

    @property
    def record(self) -> str:
        """File in which the trial notes its run directories."""
        return str(Path(self.log).with_suffix(".runs"))


@dataclass(frozen=True)
class Machine:
    """Where and how trials run.

    ``cluster`` is submitit's executor, "local" or "slurm"; ``slots`` trials run at once locally (SLURM queues by
    itself); each sees ``gpus`` GPUs of its own. ``processes`` and ``nodes`` are those of ``TrialProcess``.
    ``parameters`` go to submitit.
    """

    cluster: str = "local"
    slots: int = 1
    gpus: int = 0
    processes: int = 0
    nodes: int = 1
    parameters: dict[str, Any] = field(default_factory=dict)


def sweep_directory(root: Path, name: str, job_overrides: Sequence[Sequence[str]]) -> Path:
    """``<root>/sweep-<name>-<hash of all trials>``: the same sweep again finds its folder."""
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


def run_trials(
    entry: Sequence[str], trials: Sequence[Trial], machine: Machine, folder: Path, others: Sequence[Trial] = ()
) -> None:
    """Run every trial that an earlier start has not finished, and keep ``trials.json`` up to date.

    A trial that fails does not stop the others.

    Args:
        entry: Arguments of Python that start a trial, before its overrides: a script, or ``-m lwexp train``.
        trials: Changed in place.
        machine: Where they run.
        folder: The sweep's directory.
        others: Trials of the same sweep that are not to be run now, for ``trials.json``.

    Raises:
        KeyboardInterrupt: After the running trials were stopped (SIGTERM first, so that they can save).
    """
    folder.mkdir(parents=True, exist_ok=True)
    _recall(trials, folder)
    commands = {trial.number: (*entry, *trial.overrides) for trial in trials}
    _Runner(trials, commands, machine, folder, others).run()


def run_once(command: Sequence[str], log_path: Path, machine: Machine) -> Trial:
    """Run one command that trials build on, such as making their data, by the same means as a trial."""
    log_path.parent.mkdir(parents=True, exist_ok=True)
    trial = Trial(0, list(command), str(log_path), label=" ".join(command))
    _Runner([trial], {0: tuple(command)}, machine, None, ()).run()
    return trial


def write_trials(folder: Path, trials: Sequence[Trial]) -> None:
    """What became of each trial, for people, the report and the next start."""
    write_json(folder / TRIALS, [asdict(trial) for trial in trials])


def read_trials(folder: Path) -> list[Trial]:
    """What an earlier start of the sweep has noted; nothing where there was none or it cannot be read."""
    try:
        return [Trial(**row) for row in json.loads((folder / TRIALS).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def last_words(log_path: Path) -> str | None:
    """Why a trial ended, by its log: the last ``error:`` line, an exception's last line, or the last line of all."""
    try:
        text = log_path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    for candidates in (said, raised, lines):
        if candidates:
            return candidates[-1][:500]
    return None


def _recall(trials: Sequence[Trial], folder: Path) -> None:
    """Take over what is already finished: the same overrides, exit code 0, and its runs still there."""
    earlier = {tuple(trial.overrides): trial for trial in read_trials(folder)}
    for trial in trials:
        old = earlier.get(tuple(trial.overrides))
        if old is not None and old.status == "finished" and old.runs and all(map(_is_finished, old.runs)):
            trial.status, trial.exit_code, trial.seconds = "finished", 0, old.seconds
            trial.runs, trial.log, trial.kept = old.runs, old.log, True
            log.info("trial %d was finished by an earlier start: %s", trial.number + 1, trial.label)


def _is_finished(path: str) -> bool:
    run = Run.at(Path(path))
    return run is not None and run.is_finished


class _Runner:
    """Keeps the slots filled until every trial has ended."""

    def __init__(
        self,
        trials: Sequence[Trial],
        commands: dict[int, tuple[str, ...]],
        machine: Machine,
        folder: Path | None,
        others: Sequence[Trial],
    ) -> None:
        self.trials = trials
        self.others = others
        self.commands = commands
        self.machine = machine
        self.folder = folder
        self.waiting = [trial for trial in trials if trial.status == "waiting"]
        self.running: dict[int, tuple[Trial, Any, float, int]] = {}

    def run(self) -> None:
        self._note()
        with ExitStack() as stack:
            stack.callback(self._note)
            done = len(self.trials) - len(self.waiting)
            count = stack.enter_context(counted("trials", len(self.trials), done))
            try:
                while self.waiting or self.running:
                    self._start_more()
                    for number in [n for n, (_, job, _, _) in self.running.items() if job.done()]:
                        self._settle(number)
                        count.advance()
                    time.sleep(_POLL_SECONDS)
            except KeyboardInterrupt:
                self._interrupt()
                raise

    def _start_more(self) -> None:
        room = self.machine.slots if self.machine.cluster == "local" else len(self.trials)
        free = [slot for slot in range(room) if slot not in {slot for *_, slot in self.running.values()}]
        for slot in free[: len(self.waiting)]:
            trial = self.waiting.pop(0)
            Path(trial.record).unlink(missing_ok=True)
            trial.status = "running"
            self.running[trial.number] = (trial, self._submit(trial, slot), time.time(), slot)
            if self.folder is not None:
                log.info("trial %d of %d started: %s", trial.number + 1, len(self.trials), trial.label)
            self._note()

    def _submit(self, trial: Trial, slot: int) -> Any:
        machine = self.machine
        is_local = machine.cluster == "local"
        executor = _executor(Path(trial.log).parent / "submitit", machine)
        if is_local and machine.gpus:
            executor.update_parameters(visible_gpus=list(range(slot * machine.gpus, (slot + 1) * machine.gpus)))
        return executor.submit(
            TrialProcess(
                self.commands[trial.number],
                trial.log,
                trial.record,
                cores=share_of_cores(slot, machine.slots) if is_local and machine.slots > 1 else (),
                processes=machine.processes,
                nodes=machine.nodes,
            )
        )

    def _settle(self, number: int) -> None:
        """Read a finished job's exit code; a job that died without one counts as killed."""
        trial, job, start, _ = self.running.pop(number)
        error = job.exception()
        trial.exit_code = -9 if error is not None else int(job.result())
        trial.status = "finished" if trial.exit_code == 0 else "failed"
        trial.seconds = round(time.time() - start, 1)
        record = Path(trial.record)
        trial.runs = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
        if trial.status == "failed":
            trial.reason = _reason(trial)
        self._note()
        if self.folder is not None:
            outcome = "finished" if trial.status == "finished" else f"FAILED (exit code {trial.exit_code})"
            log.info("trial %d %s after %.0f s: %s", trial.number + 1, outcome, trial.seconds, trial.label)

    def _interrupt(self) -> None:
        """Stop what runs: locally by signal to the trial itself, on SLURM through scancel."""
        log.warning("stopping %d trials; they may save first", len(self.running))
        for trial, job, _, _ in self.running.values():
            if self.machine.cluster != "local":
                job.cancel(check=False)
            elif (pid := read_pid(trial.log)) is not None:
                stop(pid)
            trial.status = "interrupted"

    def _note(self) -> None:
        if self.folder is not None:
            write_trials(self.folder, [*self.others, *self.trials])


def _reason(trial: Trial) -> str:
    said = last_words(Path(trial.log))
    assert trial.exit_code is not None
    if trial.exit_code < 0:
        try:
            name = signal.Signals(-trial.exit_code).name
        except ValueError:
            name = "unknown"
        return f"killed by signal {-trial.exit_code} ({name})" + (f", after: {said}" if said else "")
    return said or "it said nothing"


def _executor(folder: Path, machine: Machine) -> Any:
    import submitit

    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=machine.cluster)
        defaults = {"timeout_min": _WEEK_MINUTES, "gpus_per_node": machine.gpus, "nodes": machine.nodes}
        executor.update_parameters(**{**defaults, **machine.parameters})
    except (RuntimeError, ValueError, NameError) as error:
        first = str(error).splitlines()[0]
        raise LwexpError(
            f"hydra/launcher={machine.cluster}: {first}; run it where sbatch and srun exist, or check "
            f"hydra.launcher.parameters"
        ) from None
    return executor
