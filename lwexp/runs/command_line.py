"""Commands that take a few key=value options instead of a config, such as ``python -m lwexp.export run=newest``."""

from collections.abc import Callable, Mapping, Sequence

from lwexp.records import LwexpError, exit_code


def run_command(
    name: str, words: Sequence[str], usage: str, examples: Mapping[str, str], work: Callable[[dict[str, str]], None]
) -> int:
    """Run a command and return its exit code, as listed in records/endings.py.

    Args:
        name: Name of the command, for messages.
        words: The command line, as ``key=value`` or ``--key=value``.
        usage: Printed for ``--help`` and for an empty command line.
        examples: Option -> example value, for the message about a missing value.
        work: Called with the given options; its ``LwexpError`` is printed in one line.
    """

    def checked() -> int:
        if not words or {"--help", "-h"} & set(words):
            print(usage)
            return 0 if words else 2
        work(dict(_option(name, word, examples) for word in words))
        return 0

    return exit_code(checked, again="run the same command again", ctrl_c=None)


def _option(name: str, word: str, examples: Mapping[str, str]) -> tuple[str, str]:
    key, _, value = word.removeprefix("--").partition("=")
    if key not in examples:
        raise LwexpError(f"{name}: {word}: no such option; there are {', '.join(option + '=' for option in examples)}")
    if not value:
        raise LwexpError(f"{name}: {key} needs a value, such as {key}={examples[key]}")
    return key, value
