"""How a command ends: where the run is, what to look at there, and the command that usually comes next."""

import logging
import os
import shlex
import sys
from pathlib import Path
from typing import TypeVar

from lwexp.config.folders import CONF
from lwexp.runs import Run
from lwexp.runs.artifacts import CONVERSATIONS, HOW_MEASURED, INSTRUCTIONS, MODEL, PAIRS, REPORT, TRAINING_PAGE, VIEWER
from lwexp.runs.trial_process import RECORD_VARIABLE, note_run

R = TypeVar("R", bound=Run)
log = logging.getLogger(__name__)

_LOOK_AT = (REPORT, TRAINING_PAGE, VIEWER, MODEL, INSTRUCTIONS, CONVERSATIONS, PAIRS, HOW_MEASURED)
_GO_ON_WITH = {"select": ("teacher",)} | dict.fromkeys(("data", "import", "pairs"), ("model", "hardware"))
"""Sections of the config that the next command has to share, by the kind of run that has ended."""
_SCRIPTS = {"generate": "generate_data.py", "train": "train.py", "evaluate": "evaluate.py"}


def end(run: R, *, says_next: bool = True) -> R:
    """Log where the results are and what comes next, and report the run to the sweep that started it, if any.

    Args:
        run: As it is on disk.
        says_next: Whether the user types the next command; not if this one goes on by itself.
    """
    note_run(run.path)
    log.info("%s: %s", run.status, run.path)
    if RECORD_VARIABLE not in os.environ:  # the trials of a sweep end with one comparison
        if found := [name for name in _LOOK_AT if (run.path / name).exists()]:
            log.info("look at: %s", ", ".join(found))
        if says_next:
            log.info("next: %s", next_command(run, sys.argv))
    return run


def next_command(run: Run, typed: list[str]) -> str:
    """The command that usually follows, in the words of the one that ends.

    Args:
        run: As it is on disk.
        typed: The command line with its program. Its experiment, plugins, places, and its teacher or model are kept,
            because the next command needs them too.
    """
    if run.status != "finished":
        return "the same command again, which asks for what is missing"
    kept = _kept(typed, _GO_ON_WITH.get(run.stage, ()))
    if run.stage == "select":
        return _command("generate", typed, [*kept, "instructions=selected"])
    if run.stage == "pairs" or (run.stage == "import" and (run.path / PAIRS).is_file()):
        starts = [f"init_from={parent.path}" for parent in run.parent_runs("train")]
        return _command("train", typed, [*_with_dpo(kept), *starts])
    if run.stage == "train":
        return _command("evaluate", typed, [*kept, f"run={run.path}"])
    if run.stage == "evaluate":
        return _command("report", typed, [str(run.path.parent), "--out", "compare.html"])
    return _command("train", typed, kept)


def training_command(typed: list[str], model: str) -> str:
    """The command that trains what ``typed`` wants to evaluate, in its words; ``model`` if it names neither an
    experiment nor a model."""
    kept = _kept(typed, ("model",))
    is_named = any(word.partition("=")[0] in ("experiment", "model") for word in kept)
    return _command("train", typed, [*kept, *([] if is_named else [f"model={model}"])])


def _kept(typed: list[str], sections: tuple[str, ...]) -> list[str]:
    from lwexp.config.cli import where_configs_are

    places = where_configs_are(typed[1:])
    keys = {word: word.lstrip("+").partition("=")[0] for word in typed[1:]}
    wanted = {"experiment", "plugins", "root"}
    return [*places, *(word for word, key in keys.items() if key in wanted or key.split(".")[0] in sections)]


def _with_dpo(kept: list[str]) -> list[str]:
    """The experiment's own one for DPO, if there is one; an experiment for SFT refuses another objective."""
    experiment = next((word.partition("=")[2] for word in kept if word.startswith("experiment=")), None)
    if experiment and (CONF / "experiment" / f"{experiment}_dpo.yaml").is_file():
        return [f"{word}_dpo" if word.startswith("experiment=") else word for word in kept]
    return [*(word for word in kept if not word.startswith("experiment=")), "objective=dpo"]


def _command(name: str, typed: list[str], words: list[str]) -> str:
    """``python train.py ...`` after a script of the clone, else ``lwexp train ...``."""
    is_script = Path(typed[0]).name in _SCRIPTS.values() if typed else False
    if not is_script:
        program = f"lwexp {name}"
    else:
        program = f"python {_SCRIPTS[name]}" if name in _SCRIPTS else f"python -m lwexp.{name}"
    return " ".join([program, *(shlex.quote(word) for word in words)])
