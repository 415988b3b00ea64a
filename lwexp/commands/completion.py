"""Completion in bash: choices, and the keys that a command reads.

    eval "$(lwexp -sc install=bash)"                 for lwexp
    eval "$(python train.py -sc install=bash)"       for python train.py and the other scripts

Bash runs this at each TAB, so nothing heavy is imported.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from lwexp.commands.help import choices_in, groups_of, own_folders
from lwexp.config.cli import SCRIPTS
from lwexp.config.compose import compose_tree, plugins_named
from lwexp.config.fields import walk
from lwexp.config.folders import config_folders, readers_of
from lwexp.config.schema import Config
from lwexp.config.sweep_keys import CHOICES, keys_of
from lwexp.extend import load_plugins
from lwexp.records import LwexpError

_SCRIPT = r"""
_lwexp_complete() {
    local line="${COMP_LINE:0:$COMP_POINT}" words
    read -r -a words <<< "$line"
    local program=("${words[0]}")
    case "${words[0]##*/}" in python*)
        case "${words[1]##*/}" in
            train.py|generate_data.py|evaluate.py) program=("${words[0]}" "${words[1]}") ;;
            -m) [ "${words[2]}" = lwexp ] || return; program=("${words[0]}" -m lwexp) ;;
            *) return ;;
        esac ;;
    esac
    local IFS=$'\n'
    COMPREPLY=($(COMP_LINE="$line" "${program[@]}" -sc query=bash 2> /dev/null))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o bashdefault -F _lwexp_complete """
_OPTIONS = ("--help", "--multirun", "--cfg", "--info", "--config-dir", "--resolve", "--version")


def answer_shell(arguments: Sequence[str], programs: str, commands: Sequence[str]) -> None:
    """Print what ``-sc`` asks for.

    Args:
        arguments: After ``-sc``: install=bash, uninstall=bash or query=bash.
        programs: Programs to complete, such as ``lwexp``.
        commands: Commands of the program; empty for a script.

    Raises:
        LwexpError: If the shell is not bash, or the word is unknown.
    """
    asked = arguments[0] if arguments else ""
    if asked == "install=bash":
        print(_SCRIPT.strip("\n") + programs)
    elif asked == "uninstall=bash":
        print(f"complete -r {programs}; unset -f _lwexp_complete")
    elif asked == "query=bash":
        print("\n".join(suggest(os.environ.get("COMP_LINE", ""), commands)))
    else:
        raise LwexpError(f"-sc {asked}: wanted install=bash, uninstall=bash or query=bash")


def suggest(line: str, commands: Sequence[str]) -> list[str]:
    """The possible completions of the last word of a command line.

    Args:
        line: As typed so far.
        commands: The commands of the program; empty for a script.
    """
    words = line.split()
    last = "" if not words or line.endswith(" ") else words.pop()
    command, typed = _command(words)
    if command is None:
        return [f"{name} " for name in commands if name.startswith(last)]
    if command not in SCRIPTS:
        return _files(last)
    if last.startswith("-"):
        return [f"{option} " for option in _OPTIONS if option.startswith(last)]
    load_plugins(plugins_named(typed))
    folders = [*config_folders(), *own_folders(typed)]
    key, equals, value = last.partition("=")
    found = _values(command, key, value, folders) if equals else _keys(command, last, typed, folders)
    return sorted(dict.fromkeys(found))


def _command(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The command that a line runs, and the words after it."""
    scripts = {script: name for name, script in SCRIPTS.items()}
    for place, word in enumerate(words):
        if Path(word).name in scripts:
            return scripts[Path(word).name], list(words[place + 1 :])
        if place and Path(words[place - 1]).name == "lwexp":
            return word, list(words[place + 1 :])
    return None, []


def _keys(command: str, last: str, typed: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Groups and keys that begin with ``last``; a section ends with a dot, because more must follow."""
    plus = last[: len(last) - len(last.lstrip("+~"))]
    start = last[len(plus) :]
    groups = [*groups_of(command, folders), "experiment", *(["sweeps"] if command == "train" else [])]
    wanted = [f"{group}=" for group in groups if (group == "sweeps") == (plus == "+")]
    wanted += [f"hydra/{group}=" for group in CHOICES]
    for group, choices in CHOICES.items():
        chosen = [word.partition("=")[2] for word in typed if word.startswith(f"hydra/{group}=")]
        keys = keys_of(choices[chosen[-1]]) if chosen and chosen[-1] in choices else {}
        wanted += [f"hydra.{group}.{key}=" for key in keys]
    parent, _, _ = start.rpartition(".")
    node: Any = _tree(typed, folders)
    if parent.split(".")[0] in node and command in readers_of(parent.split(".")[0]):
        for part in parent.split("."):
            node = node.get(part, {}) if isinstance(node, dict) else {}
        if isinstance(node, dict):
            wanted += [f"{parent}.{key}{'.' if isinstance(value, dict) else '='}" for key, value in node.items()]
    elif not parent:
        mine = {key: value for key, value in node.items() if command in readers_of(key)}
        wanted += [f"{key}{'.' if isinstance(value, dict) else '='}" for key, value in mine.items()]
    return [plus + word for word in wanted if word.startswith(start)]


def _tree(typed: Sequence[str], folders: Sequence[Path]) -> dict[str, Any]:
    """The config as chosen so far, or the default one if the typed words do not compose."""
    settings = [word for word in typed if "=" in word and not word.startswith(("-", "hydra", "+hydra"))]
    own = [folder for folder in folders if folder not in config_folders()]
    try:
        return compose_tree(*settings, config_dir=own[-1] if own else None)
    except LwexpError:
        return compose_tree()


def _values(command: str, key: str, value: str, folders: Sequence[Path]) -> list[str]:
    """Choices of a group, values of a key with a fixed set of them, files for a key that takes a path."""
    name = key.lstrip("+~")
    if name.startswith("hydra/"):
        found = list(CHOICES.get(name.removeprefix("hydra/"), {}))
    elif "/" not in name and (files := choices_in(name, folders)) and (command in readers_of(name) or "." not in name):
        found = [path.stem for path in files]
    else:
        found = _literals(name)
        if not found and (name in ("source", "responses") or name.endswith(("path", "prompt", "prompts"))):
            return [f"{key}={path}" for path in _files(value)]
    return [f"{key}={choice} " for choice in found if choice.startswith(value)]


def _literals(key: str) -> list[str]:
    """The values of a key with a Literal type."""
    for name, field in walk(Config):
        if name == key:
            if field.annotation is bool:
                return ["true", "false"]
            if get_origin(field.annotation) is Literal:
                return [str(item) for item in get_args(field.annotation)]
    return []


def _files(start: str) -> list[str]:
    """Files and folders whose path begins with ``start``."""
    folder, _, name = start.rpartition("/")
    place = Path(folder or ("/" if start.startswith("/") else ".")).expanduser()
    if not place.is_dir():
        return []
    prefix = start[: len(start) - len(name)]
    return [f"{prefix}{item.name}{'/' if item.is_dir() else ' '}" for item in sorted(place.glob(f"{name}*"))]
