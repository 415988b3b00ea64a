"""Common code of generate, train and evaluate: the options that lwexp handles itself."""

import sys
from collections.abc import Callable
from typing import NoReturn

from lwexp import __version__
from lwexp.commands.completion import answer_shell
from lwexp.commands.help import print_help
from lwexp.config import Config, run_script


def run_command(command: str, work: Callable[[Config], None], doc: str) -> NoReturn:
    """Compose, check and run a command, or print its help, and exit.

    Args:
        command: generate, train or evaluate.
        work: Called with the checked config.
        doc: What the command does, with examples to copy.
    """

    def show_help() -> None:
        print_help(command, doc, sys.argv[1:])

    def complete() -> None:
        place = next(place for place, word in enumerate(sys.argv) if word in ("-sc", "--shell-completion"))
        answer_shell(sys.argv[place + 1 :], programs="python", commands=())

    def show_version() -> None:
        print(f"lwexp {__version__}")

    run_script(
        command,
        work,
        {
            "--help": show_help,
            "-h": show_help,
            "--version": show_version,
            "-sc": complete,
            "--shell-completion": complete,
        },
    )
