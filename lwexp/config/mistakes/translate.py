"""Hydra's and OmegaConf's composition errors, translated into one line with the fix."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue, OmegaConfBaseException
from yaml import YAMLError

from lwexp.config.mistakes.hints import no_such_key
from lwexp.config.mistakes.yaml_errors import yaml_in_one_line
from lwexp.config.overrides.quoting import shell_quoted
from lwexp.config.schema import Config
from lwexp.config.sweep_keys import unknown_key
from lwexp.records import LwexpError, disk_problem

_LONGEST = 2_000  # characters of a message


_COMPOSERS: tuple[type[Exception], ...] = (HydraException, OmegaConfBaseException, YAMLError)
_READERS: tuple[type[Exception], ...] = (OSError, ValueError, RecursionError)
"""What the composers let through from Python: of files that cannot be opened, numbers that are too long, bad bytes."""

_CHOOSERS = ("hydra._internal.defaults_list", "hydra.core.default_element", "hydra._internal.config_repository")


@contextmanager
def mistakes_in_one_line(*, is_sweep: bool = False) -> Iterator[None]:
    """Within this context, whatever Hydra, OmegaConf and YAML raise about the user's config becomes one line.

    Args:
        is_sweep: Trials run within the context, whose own errors are not about the config.

    Raises:
        LwexpError: With what ``in_one_line`` says, and for choices that are not names.
    """
    caught = _COMPOSERS if is_sweep else _COMPOSERS + _READERS
    try:
        yield
    except caught as error:
        if isinstance(error, BrokenPipeError) or disk_problem(error) is not None:
            raise  # the reader of the output has left, or the disk takes no more
        line = " ".join(in_one_line(error).split())
        cut = f"{line[:_LONGEST]}... ({len(line):,} characters)" if len(line) > _LONGEST else line
        raise LwexpError(cut) from None
    except (TypeError, AssertionError) as error:
        # Hydra does not check that what chooses files are names: it trips over model=[0].
        if _place_of(error) not in _CHOOSERS:
            raise
        raise LwexpError(
            "a choice that is not the name of a file, on the command line or in a defaults list; write <group>=<name>, "
            "or <group>=[<name>,<name>] for several"
        ) from None


def _place_of(error: BaseException) -> str:
    """The module in which an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))


def in_one_line(error: Exception) -> str:
    """What is wrong in what the user typed, and what to type instead."""
    if isinstance(error, MissingMandatoryValue | InterpolationToMissingValueError):
        return _missing(error)
    if isinstance(error, YAMLError):
        return yaml_in_one_line(error)
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    if isinstance(error, RecursionError):
        return "the config is nested too deeply"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    text = str(error).strip()
    if match := re.search(r"^LwexpError raised while resolving interpolation: (.+)", text):
        return f"{getattr(error, 'full_key', None) or 'a value'}: {match[1]}"
    if isinstance(error.__cause__, Exception):
        text = f"{text}\n{error.__cause__}"
    if match := re.search(r"Could not override '([^']+)'", text):
        key = match[1]
        return (
            unknown_key(key) if key.startswith(("hydra.launcher.", "hydra.sweeper.")) else no_such_key(key, {}, Config)
        )
    if match := re.search(r"Ambiguous value for argument '(.*)'", text):
        key, _, value = match[1].partition("=")
        return f"{match[1]}: several values are a sweep; add -m, or quote it as one text: '{key}=\"{value}\"'"
    if match := re.search(r"Error merging override (.+)\n(.+)", text):
        return f"{match[1]}: {match[2]}"
    if match := re.search(r"Could not find '([^']+)'", text):
        group, _, choice = match[1].rpartition("/")
        options = re.findall(r"^\t(\S+)$", text, flags=re.MULTILINE)
        if options:
            return f"{group}={choice}: no such choice; take one of: {', '.join(sorted(options))}"
        return f"{match[1]}: no such config"
    if match := re.search(r"You must specify '([^']+)'", text):
        return f"{match[1]}: must be chosen; add {match[1]}=<choice>"
    first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    return first.strip()


def _unreadable(override: str) -> str:
    """The message for an override that Hydra's grammar cannot parse."""
    key, equals, value = override.partition("=")
    if not equals:
        return f"{override}: cannot be read; write key=value"
    if value[:1] in ("[", "{", "'", '"'):
        return f"{override}: cannot be read; close its brackets and quotes, with quotes around it all for the shell"
    return f"{override}: cannot be read; type {shell_quoted(key, value)}"


def _missing(error: OmegaConfBaseException) -> str:
    """The message for a value that a file leaves to the user with ``???``, or for a value interpolated from it."""
    made_from = re.search(r"Missing mandatory value: (\S+)|'([^']+)' is set to '\?\?\?'", str(error))
    key = str(error.full_key)
    if isinstance(error, InterpolationToMissingValueError) and made_from:
        key = made_from[2] or made_from[1]
    return f"{key}: must be set; add {key}=<value>"
