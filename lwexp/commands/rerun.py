"""Repeat a run from its folder, or make another one from its config.

    lwexp rerun runs/sft-glm4-1a2b3c4d                      resumes the run; says so if it is finished
    lwexp rerun runs/sft-glm4-1a2b3c4d rerun=true           repeats a finished run and keeps the earlier one
    lwexp rerun runs/sft-glm4-1a2b3c4d seed=1 name=second   a new run: the same config except for these settings

Where the config says "newest", the runs that the run was made from are used. Settings can only be values (key=value);
to choose another model or teacher, compose a new run with lwexp generate, train or evaluate.
"""

import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from lwexp.config.cli import exit_after
from lwexp.config.schema import Config
from lwexp.records import LwexpError
from lwexp.runs import Run

log = logging.getLogger(__name__)

_COMMANDS = {
    "data": "generate", "select": "generate", "import": "generate", "pairs": "generate",
    "train": "train", "evaluate": "evaluate",
}  # fmt: skip


def main(arguments: list[str]) -> NoReturn:
    """Entry point of ``lwexp rerun``; exits with the code of the run's own command."""
    exit_after(lambda: _rerun(arguments))


def _rerun(arguments: list[str]) -> None:
    if not arguments or any(word in ("--help", "-h") for word in arguments):
        print(__doc__)
        return
    folder, *overrides = arguments
    if "=" in folder or folder.startswith("-"):
        raise LwexpError(f"rerun: {folder}: the first word is a run's folder, such as runs/sft-glm4-1a2b3c4d")
    run = Run.load(Path(folder))
    if run.stage not in _COMMANDS:
        raise LwexpError(f"rerun: {folder} is of kind {run.stage}, which no command makes")
    if run.is_finished and not overrides:
        print(f"{run.id} is finished; add rerun=true to repeat it, or settings such as seed=1 for a new run")
        return
    config = stored_config(run, overrides)
    work: Callable[[Config], None] = importlib.import_module(f"lwexp.commands.{_COMMANDS[run.stage]}").run
    work(config)


def stored_config(run: Run, overrides: list[str]) -> Config:
    """The config of a run with other settings, checked.

    Raises:
        LwexpError: If this version cannot read it, or a setting is wrong.
    """
    from lwexp.config.compose import gate, read_config
    from lwexp.config.overrides.stored import change_stored
    from lwexp.recipe.lineage import with_own_parents
    from lwexp.runs.logs import console_log

    console_log()
    config = read_config(run.config_tree)
    fresh = {"root": str(run.path.parent), "rerun": False, "resume_changed_code": False, "dry_run": False}
    config = with_own_parents(config.model_copy(update=fresh), run)
    return gate(change_stored(config.model_dump(mode="json"), overrides))
