"""A sweep: setup commands, trials, and one comparison at the end."""

import logging
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lwexp.config import Config
from lwexp.config.cli import command_line
from lwexp.config.sweep_keys import Slurm, Subprocess
from lwexp.recipe.trial_plan import plan_trial, show_plans
from lwexp.records import LwexpError
from lwexp.runs import Run
from lwexp.runs.artifacts import REPORT
from lwexp.runs.logs import console_log, each_message_once, show
from lwexp.runs.ranks import require_one_process
from lwexp.runs.summaries import SweepSummary, varied_keys
from lwexp.runs.trial_runner import run_setup, run_trials
from lwexp.runs.trials import Trial, make_trials, sweep_directory, sweep_lock, update_trials
from lwexp.text.plain import plural

_ENTRY_WORDS = 3  # -m lwexp <command>

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """A sweep before it runs.

    Args:
        entry: Arguments of Python that start a trial, before its overrides.
        root: Where runs live; ``{root}`` in a setup command.
        name: Readable part of its folder's name.
        where: The launcher's keys: where trials run, the setup commands, and the question.
        shared: Arguments that each setup command needs as well: config folders and plugins.
    """

    entry: Sequence[str]
    root: Path
    name: str
    where: Subprocess
    shared: Sequence[str] = ()

    @property
    def has_setup(self) -> bool:
        """Whether setup commands make runs before the trials."""
        return bool(self.where.setup_commands)

    @property
    def is_detached(self) -> bool:
        """Whether this process ends when all jobs are submitted."""
        return isinstance(self.where, Slurm) and self.where.detach

    @property
    def command(self) -> str:
        """generate, train or evaluate."""
        return self.entry[_ENTRY_WORDS - 1]

    def run(self, job_overrides: Sequence[Sequence[str]]) -> list[Trial]:
        """Run the setup commands and the unfinished trials, then compare. Returns all trials, failed ones included.

        Raises:
            LwexpError: If a setup command failed; no trial is then started.
            KeyboardInterrupt: After running trials were stopped and ``trials.json`` was written.
        """
        console_log()
        require_one_process("a sweep")
        folder = sweep_directory(self.root, self.name, job_overrides)
        trials = make_trials(folder, job_overrides)
        folder.mkdir(parents=True, exist_ok=True)
        with sweep_lock(folder):
            self.note(folder, varied_keys(job_overrides))
            self.run_setup_commands(folder)
            run_trials(self.entry, trials, self.where, folder)
        if self.is_detached:
            log.info(
                "%s submitted; watch them with: lwexp sweep status %s",
                plural(len(trials), "trial"),
                shlex.quote(str(folder)),
            )
        else:
            self.finish(trials, folder)
        return trials

    def note(self, folder: Path, varied: list[str]) -> None:
        """Write what the comparison and ``lwexp sweep`` need to know of the sweep."""
        minutes = self.where.unanswered_minutes if isinstance(self.where, Slurm) else None
        SweepSummary(name=self.name, question=self.where.question, varied=varied, unanswered_minutes=minutes).write(
            folder
        )

    def finish(self, trials: Sequence[Trial], folder: Path) -> None:
        """Print each trial's outcome and compare those that were evaluated."""
        show_trials(trials)
        compare_trials(trials, folder)

    def run_setup_commands(self, folder: Path) -> None:
        """Run the setup commands.

        Raises:
            LwexpError: If a command failed.
        """
        for number, command in enumerate(self._commands(), start=1):
            entry, overrides = command_line(command)[:_ENTRY_WORDS], command_line(command)[_ENTRY_WORDS:]
            words = [*entry, *self.shared, *overrides]
            log.info("setup command %d of %d: %s", number, len(self.where.setup_commands), command)
            done = run_setup(words, number, folder, self.where)
            if done.exit_code != 0:
                raise LwexpError(
                    f"sweep {self.name}: setup command {number} ({command}) failed with exit code {done.exit_code}: "
                    f"{done.reason}; its log is {done.log}, no trial was started"
                )

    def _commands(self) -> list[str]:
        return [command.replace("{root}", shlex.quote(str(self.root))) for command in self.where.setup_commands]

    def plan(self, job_overrides: Sequence[Sequence[str]], compose: Callable[[Sequence[str]], Config]) -> None:
        """Check every trial and print the sweep's plan; starts and writes nothing.

        Args:
            job_overrides: The overrides of each trial.
            compose: Returns a trial's config, or raises a LwexpError.

        Raises:
            LwexpError: If trials would fail, naming each.
        """
        console_log()
        folder = sweep_directory(self.root, self.name, job_overrides)
        trials = make_trials(folder, job_overrides)
        self.describe()
        print(f"{plural(len(trials), 'trial')}, {self.where.summary}; comparison: {folder / REPORT}")
        with each_message_once():
            plans = [
                plan_trial(trial.label, self.command, partial(compose, trial.overrides), has_setup=self.has_setup)
                for trial in trials
            ]
        show_plans(plans)

    def describe(self) -> None:
        """Print the question and what runs before the trials."""
        print(f"sweep {self.name}: {self.where.question}".rstrip(": "))
        for command in self._commands():
            print(f"  first: {command}")


def show_trials(trials: Sequence[Trial]) -> None:
    """Print one row per trial with its exit code and, if it failed, the reason."""
    from rich.table import Table

    table = Table("trial", "settings", "job", "status", "exit code", "seconds", "reason", title=None)
    for trial in trials:
        in_queue = trial.state if trial.status == "running" else ""
        status = "kept" if trial.kept else in_queue or trial.status
        seconds = "" if trial.seconds is None else f"{trial.seconds:.0f}"
        code = "" if trial.exit_code is None else str(trial.exit_code)
        reason = f"{trial.reason or ''} ({trial.log})" if trial.status == "failed" else ""
        table.add_row(str(trial.number + 1), trial.label, trial.job or "", status, code, seconds, reason)
    show(table, on_stderr=True)
    counts = {
        status: sum(trial.status == status for trial in trials)
        for status in ("finished", "running", "waiting", "failed", "interrupted")
    }
    parts = " + ".join(f"{count} {status}" for status, count in counts.items() if count)
    log.info("%s = %s", plural(len(trials), "trial"), parts)


def compare_trials(trials: Sequence[Trial], folder: Path) -> None:
    """One comparison over all trials of a sweep."""
    from lwexp.report import compare

    update_trials(folder, trials)
    report = compare([folder], folder / REPORT)
    evaluated = sum(_is_evaluated(trial) for trial in trials)
    if not evaluated:
        log.warning("no trial was evaluated: the report lists them, without scores; set evaluate_after=true")
    log.info("comparison of %s, %d of them evaluated: %s", plural(len(trials), "trial"), evaluated, report)
    if failed := sum(trial.status == "failed" for trial in trials):
        log.info("next: the same command again, after fixing what failed; it runs %s", plural(failed, "trial"))
    elif evaluated:
        log.info("next: lwexp report %s study=answer.md, for the answer as a Markdown page", folder)


def _is_evaluated(trial: Trial) -> bool:
    runs = (Run.at(Path(path)) for path in trial.runs)
    return any(run is not None and run.stage == "evaluate" for run in runs)
