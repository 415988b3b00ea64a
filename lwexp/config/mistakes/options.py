"""Puts the options of a command line first, and refuses settings that Hydra accepts but lwexp does not honour.

A setting is ``key=value``; an option begins with a dash. Nothing here imports Hydra.
"""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from lwexp.config.fields import closest, known_keys
from lwexp.config.folders import CONF
from lwexp.config.mistakes.aliases import ALIASES
from lwexp.config.schema import Config
from lwexp.records import LwexpError

_FLAGS = ("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m",
          "--shell-completion", "-sc")  # fmt: skip
_WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--config-name", "-cn", "--config-dir", "-cd", "--info", "-i")
_VALUES = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
_LONG = {"-h": "--help", "-r": "--run", "-m": "--multirun", "-sc": "--shell-completion", "-c": "--cfg",
         "-p": "--package", "-cn": "--config-name", "-cd": "--config-dir", "-i": "--info"}  # fmt: skip
_ONE_OF = ("--run", "--multirun", "--cfg", "--info", "--shell-completion")

_NOT_OURS = {
    "--config-path": "would take the place of lwexp's own configs; add a folder of yours with --config-dir <folder>",
    "-cp": "would take the place of lwexp's own configs; add a folder of yours with --config-dir <folder>",
    "--experimental-rerun": "reads a file that lwexp does not write; repeat a run with lwexp rerun <run folder>",
}
_RUN_FOLDER = "a run's folder is <root>/<name>-<id>; set root=<folder> and name=<name>"
_FOLDERS = {
    "hydra.run.dir": _RUN_FOLDER,
    "hydra.sweep.dir": "a sweep's folder is <root>/sweep-<name>-<id>; set root=<folder>",
    "hydra.sweep.subdir": "a trial's runs lie beside those of the other trials; set root=<folder>",
    "hydra.output_subdir": "the config of a run is in its config.json; remove this setting",
    "hydra.job.chdir": "a command stays in the folder where it was started; remove this setting",
    "hydra.job.name": _RUN_FOLDER,
}
_SWEEP_GROUPS = {"launcher": ("basic", "subprocess", "slurm"), "sweeper": ("basic", "grid", "optuna")}
_OPEN_KEYS = ("hydra.launcher.sbatch", "hydra.launcher.setup_sbatch", "hydra.sweeper.params")
"""Sections that take any key, so that a key there needs no plus."""


def ordered(arguments: Sequence[str]) -> list[str]:
    """The words of a command line with the options first, as Hydra reads them.

    Raises:
        LwexpError: If an option does not exist, lacks its value or is of no use here, or if lwexp would only half
            honour a setting of Hydra's.
    """
    options, settings = _split(arguments)
    given = [_LONG.get(name, name) for name, _ in options]
    modes = [name for name in dict.fromkeys(given) if name in _ONE_OF]
    if len(modes) > 1:
        raise LwexpError(f"{' and '.join(modes)}: only one of them at a time")
    if "--resolve" in given and "--cfg" not in given:
        raise LwexpError("--resolve: belongs to --cfg; write --cfg job --resolve")
    for name, value in options:
        _check_value(_LONG.get(name, name), value, dict(options))
    is_sweep = "--multirun" in given or "hydra.mode=MULTIRUN" in settings
    settings = [_checked(word, is_sweep) for word in settings]
    return [word for name, value in options for word in ([name] if value is None else [name, value])] + settings


def _split(arguments: Sequence[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Options with their values, and settings."""
    options: list[tuple[str, str | None]] = []
    settings: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            settings.append(word)
        elif name in _FLAGS and not equals:
            options.append((name, None))
        elif name in _WITH_VALUE:
            if not equals:
                has_value = bool(waiting) and "=" not in waiting[0] and not waiting[0].startswith("-")
                if not has_value and name not in ("--info", "-i"):
                    raise LwexpError(f"{name}: needs a value, such as {name} {_example(_LONG.get(name, name))}")
                value = waiting.pop(0) if has_value else "all"
            options.append((name, value))
        else:
            raise LwexpError(f"{word}: {_unknown(name, value)}")
    return options, settings


def _example(name: str) -> str:
    return {"--cfg": "job", "--package": "model", "--config-name": "config", "--config-dir": "my_configs"}[name]


def _unknown(name: str, value: str) -> str:
    """Why a word with dashes is not an option, and what was meant."""
    if name in _NOT_OURS:
        return _NOT_OURS[name]
    near = difflib.get_close_matches(name, [*_FLAGS, *_WITH_VALUE], n=1, cutoff=0.8)
    if near:
        return f"no such option; did you mean {near[0]}?"
    key = name.lstrip("-").replace("-", "_")
    hint = ALIASES.get(key) or closest(key, known_keys(Config))
    if hint is None:
        return "no such option; settings are key=value without dashes, see --help"
    field = Config.model_fields.get(hint)
    shown = value or ("true" if field is not None and field.annotation is bool else "<value>")
    return f"no such option; settings have no dashes: {hint}={shown}"


def _check_value(name: str, value: str | None, options: dict[str, str | None]) -> None:
    if name in _VALUES and value not in _VALUES[name]:
        raise LwexpError(f"{name} {value}: no such value; there are {', '.join(_VALUES[name])}")
    if name == "--config-name":
        own = options.get("--config-dir") or options.get("-cd")
        folders = [CONF, *([Path(own)] if own else [])]
        names = sorted(path.stem for folder in folders for path in folder.glob("*.yaml"))
        if value is None or value.removesuffix(".yaml") not in names:
            raise LwexpError(f"--config-name {value}: no such config; there are {', '.join(names)}")


def _checked(word: str, is_sweep: bool) -> str:
    """A setting as Hydra should read it."""
    key, _, value = word.lstrip("+~").partition("=")
    if key in _FOLDERS and value not in ("null", "false"):
        raise LwexpError(f"{word}: is not used: {_FOLDERS[key]}")
    for group, (refused, *choices) in _SWEEP_GROUPS.items():
        if key == f"hydra/{group}" and value == refused:
            wanted = " or ".join(f"hydra/{group}={choice}" for choice in choices)
            raise LwexpError(f"{word}: it cannot start lwexp's trials; take {wanted}")
        if not is_sweep and (key == f"hydra/{group}" or key.startswith(f"hydra.{group}.")):
            raise LwexpError(f"{word}: only a sweep has a {group}; add -m")
    # A trial is the same command without -m; this variable tells it that a sweep has started it.
    if key == "sweeps" and not is_sweep and "LWEXP_TRIAL_RECORD" not in os.environ:
        raise LwexpError(f"{word}: a sweep starts with -m; add -m (and dry_run=true to see its trials first)")
    return f"++{word}" if key.startswith(_OPEN_KEYS) and not word.startswith("+") else word
