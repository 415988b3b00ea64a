"""``--help`` of a command: what it does, examples to copy, its groups with their choices, and its keys."""

import re
from collections.abc import Sequence
from pathlib import Path

from lwexp.commands.key_texts import key_text
from lwexp.commands.reference import help_for
from lwexp.config.cli import where_configs_are
from lwexp.config.fields import is_section
from lwexp.config.folders import CONF, config_folders, first_comment, readers_of
from lwexp.config.schema import EVERY, Config
from lwexp.config.sweep_keys import CHOICES, keys_of
from lwexp.extend.settings import key_of

_NO_GROUPS = ("experiment", "sweeps")


def print_help(command: str, doc: str, arguments: Sequence[str] = ()) -> None:
    """Print the help of a command to standard output.

    Args:
        command: generate, train or evaluate.
        doc: What it does, with examples to copy.
        arguments: The rest of the command line: ``--config-dir`` adds choices, a launcher or sweeper its keys.
    """
    asked = [arguments[place + 1] for place, word in enumerate(arguments[:-1]) if word in ("--help", "-h")]
    if asked and re.fullmatch(r"[a-z_0-9.*]+", asked[0]):
        print(help_for(command, asked[0]))
        return
    folders = [*config_folders(), *own_folders(arguments)]
    print(doc.strip())
    print("\nGroups (choose a file: group=choice)")
    for group in [*groups_of(command, folders), "experiment"]:
        _print_choices(group, choices_in(group, folders))
    if command == "train":
        about = "sweeps (with -m: python train.py -m +sweeps=... ; scale=miniature for two CPU cores)"
        _print_choices(about, choices_in("sweeps", folders))
    print(
        f"\nKeys (set a value: key=value; those of a section: lwexp {command} --help <section>; all values: --cfg job)"
    )
    fields = {key: field for key, field in Config.model_fields.items() if command in key_of(field).read_by}
    own = [key for key, field in fields.items() if key_of(field).read_by != EVERY]
    for key in [*own, *(key for key in fields if key not in own)]:
        if not is_section(fields[key]):
            print(f"  {key:<18} {key_text(Config, key)}")
    print(f"  sections: {', '.join(key for key in fields if is_section(fields[key]))}")
    _print_sweep_keys(arguments)
    print("\nA run lives in runs/<name>-<id>; running the same command again resumes it, or says that it is finished.")


def own_folders(arguments: Sequence[str]) -> list[Path]:
    """The user's config folders on a command line."""
    words = where_configs_are(list(arguments))
    found = []
    for place, word in enumerate(words):
        key, equals, value = word.partition("=")
        if key.lstrip("+") == "hydra.searchpath":
            found += [Path(item.strip(" '\"").removeprefix("file://")) for item in value.strip("[]").split(",")]
        elif equals:
            found.append(Path(value))
        elif place + 1 < len(words):
            found.append(Path(words[place + 1]))
    return [folder for folder in found if folder.is_dir()]


def groups_of(command: str, folders: Sequence[Path] = (CONF,)) -> list[str]:
    """Config groups that a command reads, and groups that exist only in the user's folders."""
    names = sorted({path.name for folder in folders for path in folder.iterdir() if path.is_dir()} - {*_NO_GROUPS})
    ours = {path.name for path in CONF.iterdir()}
    own = [name for name in names if name not in ours and any(choices_in(name, folders))]
    return [name for name in names if command in readers_of(name) or name in own]


def choices_in(group: str, folders: Sequence[Path]) -> list[Path]:
    """The files of a group, lwexp's own first; each name once."""
    files = [path for folder in folders for path in sorted((folder / group).glob("*.yaml"))]
    return list({path.stem: path for path in reversed(files)}.values())[::-1]


def _print_choices(title: str, files: Sequence[Path]) -> None:
    print(f"  {title}")
    for path in files:
        print(f"    {path.stem:<20} {first_comment(path)}")


def _print_sweep_keys(arguments: Sequence[str]) -> None:
    """Print the keys of the chosen launcher and sweeper, and the other choices."""
    print("\nSweeps (with -m; docs/sweeps.md)")
    for group, choices in CHOICES.items():
        typed = [word.partition("=")[2] for word in arguments if word.startswith(f"hydra/{group}=")]
        if typed and typed[-1] in choices:
            print(f"  hydra/{group}={typed[-1]}: keys hydra.{group}.<key>=<value>")
            for key, text in keys_of(choices[typed[-1]]).items():
                print(f"    {key:<20} {text}")
        else:
            print(f"  hydra/{group}={'|'.join(choices)}   add --help to one for its keys")
