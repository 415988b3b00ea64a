"""Commands that take a few key=value options instead of a config, such as ``python -m lwexp.export run=newest``."""

import sys
from collections.abc import Callable, Mapping, Sequence

from lwexp.records import LwexpError, Preempted, disk_problem, stops_raised


def run_command(
    name: str, words: Sequence[str], usage: str, examples: Mapping[str, str], work: Callable[[dict[str, str]], None]
) -> int:
    """Run a command and return its exit code: 0 done, 2 a mistake that the user can fix, 130 after Ctrl-C, 143
    after a stop signal.

    Args:
        name: Name of the command, for messages.
        words: The command line, as ``key=value`` or ``--key=value``.
        usage: Printed for ``--help`` and for an empty command line.
        examples: Option -> example value, for the message about a missing value.
        work: Called with the given options; its ``LwexpError`` is printed in one line.
    """
    if not words or {"--help", "-h"} & set(words):
        print(usage)
        return 0 if words else 2
    try:
        with stops_raised():
            work(dict(_option(name, word, examples) for word in words))
    except LwexpError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 2
    except Preempted as told:
        print(f"{told}; run the same command again", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if (problem := disk_problem(error)) is None:
            raise
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


def _option(name: str, word: str, examples: Mapping[str, str]) -> tuple[str, str]:
    key, _, value = word.removeprefix("--").partition("=")
    if key not in examples:
        raise LwexpError(f"{name}: {word}: no such option; there are {', '.join(option + '=' for option in examples)}")
    if not value:
        raise LwexpError(f"{name}: {key} needs a value, such as {key}={examples[key]}")
    return key, value
