"""A sweep: what its trials build on, the trials, and one comparison at the end."""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lwexp.config.cli import command_line
from lwexp.records import LwexpError
from lwexp.runs import Run
from lwexp.runs.logs import console_log, console_of
from lwexp.runs.summaries import SweepSummary, varied_keys
from lwexp.runs.trials import (
    Machine,
    Trial,
    make_trials,
    run_once,
    run_trials,
    sweep_directory,
    write_trials,
)

_ENTRY_WORDS = 3
"""-m lwexp <command>: options must come before the first override."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """What a sweep file and the command line say of it.

    ``entry`` are the arguments of Python that start a trial, before its overrides. ``prepare`` holds commands such as
    "lwexp generate experiment=miniature root={root}": each runs once, in order, before the trials, and is itself a run
    that is found finished the next time. {root} is the sweep's own. ``settings`` are further arguments of each
    preparation: where configs lie, and plugins.
    """

    entry: Sequence[str]
    root: Path
    name: str
    question: str
    machine: Machine
    prepare: Sequence[str]
    settings: Sequence[str] = ()

    def run(self, job_overrides: Sequence[Sequence[str]], *, dry_run: bool) -> list[Trial]:
        """Prepare, run what is not finished, compare. Gives every trial, the failed ones included.

        Raises:
            LwexpError: If a preparation failed: no trial was started.
            KeyboardInterrupt: After running trials were stopped and ``trials.json`` was written.
        """
        console_log()
        folder = sweep_directory(self.root, self.name, job_overrides)
        trials = make_trials(folder, job_overrides)
        if dry_run:
            self._describe(trials, folder)
            return [_as_finished(trial) for trial in trials]
        folder.mkdir(parents=True, exist_ok=True)
        keys = varied_keys(job_overrides)
        SweepSummary(name=self.name, question=self.question, varied=keys).write(folder)
        self.prepare_in(folder)
        run_trials(self.entry, trials, self.machine, folder)
        self.finish(trials, folder)
        return trials

    def finish(self, trials: Sequence[Trial], folder: Path) -> None:
        """Say what became of each trial and compare those that were evaluated."""
        show_trials(trials)
        compare_trials(trials, folder)

    def prepare_in(self, folder: Path) -> None:
        """Run what the trials build on.

        Raises:
            LwexpError: If a command failed.
        """
        for number, command in enumerate(self._commands(), start=1):
            entry, overrides = command_line(command)[:_ENTRY_WORDS], command_line(command)[_ENTRY_WORDS:]
            words = [*entry, *self.settings, *overrides]
            log.info("preparation %d of %d: %s", number, len(self.prepare), command)
            done = run_once(words, folder / f"prepare-{number}.log", self.machine)
            if done.exit_code != 0:
                raise LwexpError(
                    f"sweep {self.name}: preparation {number} of {len(self.prepare)} failed with exit code "
                    f"{done.exit_code} ({command}): {done.reason}; its log is {done.log}, no trial was started"
                )

    def _commands(self) -> list[str]:
        return [command.replace("{root}", shlex.quote(str(self.root))) for command in self.prepare]

    def _describe(self, trials: Sequence[Trial], folder: Path) -> None:
        print(f"sweep {self.name}: {self.question}".rstrip(": "))
        for command in self._commands():
            print(f"  first: {command}")
        for trial in trials:
            words = " ".join(["python", *self.entry, *trial.overrides])
            print(f"  trial {trial.number + 1} of {len(trials)}: {words}")
        where = "submitted to SLURM" if self.machine.cluster == "slurm" else f"{self.machine.slots} at once"
        print(f"{len(trials)} trials, {where}; comparison: {folder / 'report.html'}")


def show_trials(trials: Sequence[Trial]) -> None:
    """The sweep's tally: a row a trial with its exit code and, where it failed, why."""
    from rich.table import Table

    table = Table("trial", "settings", "status", "exit code", "seconds", "reason", title=None)
    for trial in trials:
        status = "kept" if trial.kept else trial.status
        seconds = "" if trial.seconds is None else f"{trial.seconds:.0f}"
        code = "" if trial.exit_code is None else str(trial.exit_code)
        reason = f"{trial.reason or ''} ({trial.log})" if trial.status == "failed" else ""
        table.add_row(str(trial.number + 1), trial.label, status, code, seconds, reason)
    console_of().print(table)
    counts = {
        status: sum(trial.status == status for trial in trials) for status in ("finished", "failed", "interrupted")
    }
    parts = " + ".join(f"{count} {status}" for status, count in counts.items() if count)
    log.info("%d trials = %s", len(trials), parts)


def compare_trials(trials: Sequence[Trial], folder: Path) -> None:
    """One comparison over all trials of a sweep."""
    from lwexp.report import compare

    write_trials(folder, trials)
    report = compare([folder], folder / "report.html")
    evaluated = sum(_is_evaluated(trial) for trial in trials)
    if not evaluated:
        log.warning("no trial was evaluated: the report lists them, without scores; set then_evaluate=true")
    log.info("comparison of %d trials, %d of them evaluated: %s", len(trials), evaluated, report)


def _is_evaluated(trial: Trial) -> bool:
    runs = (Run.at(Path(path)) for path in trial.runs)
    return any(run is not None and run.stage == "evaluate" for run in runs)


def _as_finished(trial: Trial) -> Trial:
    """A dry run fails no trial."""
    trial.exit_code = 0
    return trial
