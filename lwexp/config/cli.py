"""The shell around every entry script: help, composition, the gate. ``records/endings.py`` lists the exit codes."""

import atexit
import gc
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self

from lwexp.config.compose import gate, plugins_named, to_tree
from lwexp.config.defaults import defaults_in_hydra
from lwexp.config.folders import CONF, readers_of
from lwexp.config.mistakes.limits import refuse_oversized
from lwexp.config.mistakes.options import ordered
from lwexp.config.overrides.groups import folders_of, refuse_half_undone
from lwexp.config.overrides.quoting import as_typed
from lwexp.config.schema import Config
from lwexp.config.secrets import refuse_arguments
from lwexp.extend import load_plugins
from lwexp.records import LwexpError, exit_code

_running: list[str] = []

SCRIPTS = {"generate": "generate_data.py", "train": "train.py", "evaluate": "evaluate.py"}
"""Each command's script, as messages name it."""


def run_script(
    command: str, main: Callable[[Config], None], instead: Mapping[str, Callable[[], None]] | None = None
) -> NoReturn:
    """Run a command: compose its config, validate it, call ``main`` and exit.

    Args:
        command: generate, train or evaluate.
        main: Gets the validated config. Heavy imports belong inside it.
        instead: Option -> what is done instead of the command, such as ``--help``.
    """
    # At its end Python would look through all objects once more: 2.5 s of CPU time after a training, and on busy cores
    # half a minute, after which srun kills a rank that ends later than another one.
    atexit.register(gc.freeze)
    _running[:] = [command]

    def work() -> None:
        refuse_oversized(sys.argv[1:])
        load_plugins(plugins_named(sys.argv[1:]))
        asked = [option for option in instead or {} if option in sys.argv[1:]]
        if instead is not None and asked:
            instead[asked[0]]()
        else:
            sys.argv[1:] = at_scale(ordered(sys.argv[1:]))
            _with_hydra(command, main)

    exit_after(work)


def exit_after(work: Callable[[], None]) -> NoReturn:
    """Run ``work`` and exit with the code of its outcome, as listed in records/endings.py.

    Args:
        work: Called without arguments, after the command line has been searched for API keys.
    """

    def checked() -> None:
        refuse_arguments(sys.argv[1:])
        work()

    sys.exit(exit_code(checked, again="run the same command again to go on"))


def running_command() -> str:
    """The command that this process runs: generate, train or evaluate."""
    return _running[0]


def command_line(typed: str) -> list[str]:
    """Turn ``generate_data.py seed=1`` or ``lwexp generate seed=1``, also after ``python``, into arguments for Python.

    Raises:
        LwexpError: If ``typed`` is not a command of lwexp.
    """
    words = shlex.split(typed)
    while words and words[0] in ("python", "-m", "lwexp"):
        words = words[1:]
    named = {**{name: name for name in SCRIPTS}, **{script: name for name, script in SCRIPTS.items()}}
    if not words or words[0] not in named:
        raise LwexpError(f"{typed!r} is not a command of lwexp; wanted lwexp {'|'.join(SCRIPTS)} and its overrides")
    return ["-m", "lwexp", named[words[0]], *words[1:]]


def where_configs_are(arguments: list[str]) -> list[str]:
    """The arguments that say where YAML files are: ``--config-dir`` and ``hydra.searchpath``, options first."""
    options, overrides = [], []
    for place, item in enumerate(arguments):
        if item in ("--config-dir", "-cd"):
            options += arguments[place : place + 2]
        elif item.startswith(("--config-dir=", "-cd=")):
            options.append(item)
        elif item.lstrip("+").startswith("hydra.searchpath="):
            overrides.append(item)
    return options + overrides


def _with_hydra(command: str, main: Callable[[Config], None]) -> None:
    """Let Hydra read argv. Hydra raises its errors instead of printing them, so that lwexp reports each in one line."""
    import hydra
    from omegaconf import DictConfig

    from lwexp.config.mistakes.limits import within_limits
    from lwexp.config.mistakes.translate import mistakes_in_one_line

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")

    # Hydra only composes. The work starts after Hydra has returned, so that errors of the work are reported by lwexp
    # and not by Hydra. Sweeps and --cfg leave this list empty.
    composed: list[Composed] = []

    @hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
    def entry(cfg: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        composed.append(Composed.of(cfg, HydraConfig.get()))

    is_sweep = any(option in sys.argv for option in ("-m", "--multirun"))
    sys.argv[1:] = [as_typed(word, is_sweep=is_sweep) for word in sys.argv[1:]]
    is_plain = not is_sweep and not where_configs_are(sys.argv[1:]) and not any("hydra." in word for word in sys.argv)
    with mistakes_in_one_line(is_sweep=is_sweep), within_limits():
        with defaults_in_hydra(), _without_looking_for_a_mode() if is_plain else nullcontext():
            entry()
        configs = [seen.checked(command) for seen in composed]
    for config in configs:
        main(config)


@contextmanager
def _without_looking_for_a_mode() -> Iterator[None]:
    """Within this context Hydra runs one job without composing the config a first time to read ``hydra.mode`` off it.

    None of lwexp's files sets that key, and composing takes 0.2 s.
    """
    from hydra._internal.hydra import Hydra
    from hydra.types import RunMode

    get_mode = Hydra.get_mode
    Hydra.get_mode = lambda *_, **__: RunMode.RUN  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.get_mode = get_mode  # type: ignore[method-assign]


class Composed(NamedTuple):
    """What Hydra has composed, and from which overrides."""

    cfg: Any
    """Not resolved yet: if it were resolved inside Hydra's job runner, Hydra would report mistakes as well."""
    overrides: list[str]
    choices: dict[str, str]
    folders: list[Path]
    """Folders that hold configs."""

    @classmethod
    def of(cls, cfg: Any, hydra: Any) -> Self:
        """Build this from Hydra's result: ``cfg`` is the config without Hydra's own part, ``hydra`` is that part."""
        folders = folders_of(hydra.runtime.config_sources)
        return cls(cfg, list(hydra.overrides.task), dict(hydra.runtime.choices), folders)

    def checked(self, command: str) -> Config:
        """The config, after every check."""
        refuse_foreign(command, self.overrides)
        refuse_half_undone(self.overrides, self.choices, self.folders)
        return gate(to_tree(self.cfg))


def trial_config(load: Callable[[], Any]) -> Config:
    """The config of one trial of a sweep, as its own process would have it.

    Args:
        load: Composes the trial; raises what Hydra raises.

    Raises:
        LwexpError: For every mistake, in one line.
    """
    from omegaconf import open_dict

    from lwexp.config.mistakes.translate import mistakes_in_one_line

    with mistakes_in_one_line():
        cfg = load()
        hydra = cfg.hydra
        with open_dict(cfg):
            del cfg["hydra"]
        return Composed.of(cfg, hydra).checked(running_command())


def at_scale(arguments: list[str]) -> list[str]:
    """``+sweeps=<name> scale=miniature`` means sweeps/miniature/<name>.yaml; ``scale=full`` is sweeps/<name>.yaml.

    Two files, because a sweep's sizes differ in groups (another experiment), which one file cannot choose between.

    Raises:
        LwexpError: If the scale is unknown, or there is no sweep.
    """
    scales = [item.partition("=")[2] for item in arguments if item.startswith("scale=")]
    if not scales:
        return arguments
    if scales[-1] not in ("full", "miniature"):
        raise LwexpError(f"scale={scales[-1]}: there are scale=full and scale=miniature")
    rest = [item for item in arguments if not item.startswith("scale=")]
    if not any(item.startswith("+sweeps=") for item in rest):
        raise LwexpError(
            f"scale={scales[-1]}: belongs to a sweep; add -m +sweeps=<name>, or choose experiment=miniature"
        )
    if scales[-1] == "full":
        return rest
    return [item.replace("+sweeps=", "+sweeps=miniature/", 1) if item.startswith("+sweeps=") else item for item in rest]


def refuse_foreign(command: str, overrides: list[str]) -> None:
    """Refuse an override that this command would ignore.

    Raises:
        LwexpError: Naming the command that reads the key.
    """
    for override in overrides:
        top = re.split(r"[.@/=]", override.lstrip("+~"))[0]
        owners = readers_of(top)
        if owners and command not in owners:
            raise LwexpError(f"{override}: {SCRIPTS[command]} does not read {top}; it belongs to {SCRIPTS[owners[0]]}")
