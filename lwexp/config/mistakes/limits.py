"""Limits of what a config may be, by name: beyond them the readers below do not answer, or with a traceback.

Python reads no number of more than 4,300 digits, Hydra's grammar recurses once a bracket and for each dot of a key, and
a file system takes no name beyond 255 bytes. A YAML alias is copied at each use: six levels of nine are 500,000 copies.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from lwexp.records import LwexpError

MAX_DIGITS = 300
MAX_DEPTH = 40
"""Of brackets in a value, and of the parts of a key."""
MAX_KEY_CHARACTERS = 250
MAX_WORD_CHARACTERS = 20_000
MAX_YAML_BYTES = 2_000_000
MAX_ALIASES = 100
"""Uses of anchors in a YAML file."""

_DIGITS = re.compile(rf"\d{{{MAX_DIGITS + 1}}}")
_ENVIRONMENT = re.compile(r"\$\{\s*oc\.env\b")
_NO_ENVIRONMENT = "values of the environment do not belong in a config; write the value itself"
HALF = re.compile("[\ud800-\udfff]")
"""A byte of the command line that is not UTF-8, and half an emoji."""
_ALIAS = re.compile(r"(?:^|[\s,\[{:-])\*[^\s,\]}*]+", re.MULTILINE)


def refuse_oversized(words: Iterable[str]) -> None:
    """Refuse words of a command line that are beyond a limit.

    Raises:
        LwexpError: Naming the limit, and the word by its start.
    """
    for word in words:
        key, equals, value = word.partition("=")
        problem = _text_problem(word)
        if len(word) > MAX_WORD_CHARACTERS:
            problem = f"{len(word):,} characters; wanted at most {MAX_WORD_CHARACTERS:,}, longer values go into a file"
        elif equals and len(key) > MAX_KEY_CHARACTERS:
            problem = f"a key of {len(key):,} characters; wanted at most {MAX_KEY_CHARACTERS}"
        elif key.count(".") > MAX_DEPTH:
            problem = f"a key of {key.count('.') + 1:,} parts; wanted at most {MAX_DEPTH}"
        elif _depth(value) > MAX_DEPTH:
            problem = f"brackets {_depth(value):,} deep; wanted at most {MAX_DEPTH}"
        if problem:
            raise LwexpError(f"{_start(word)}: {problem}")


def read_yaml_text(content: bytes, origin: str) -> str:
    """The text of a YAML file.

    Raises:
        LwexpError: If it is not UTF-8, or beyond a limit.
    """
    if len(content) > MAX_YAML_BYTES:
        raise LwexpError(f"{origin}: {len(content):,} bytes; wanted a config of at most {MAX_YAML_BYTES:,}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LwexpError(f"{origin}: is not UTF-8 text (byte {error.start + 1}); save it as UTF-8") from None
    uses = len(_ALIAS.findall(text))
    problem = _text_problem(text)
    if uses > MAX_ALIASES:
        problem = f"{uses:,} uses of anchors (*name); wanted at most {MAX_ALIASES}, write the values out"
    elif (depth := _depth(text)) > MAX_DEPTH:
        problem = f"brackets {depth:,} deep; wanted at most {MAX_DEPTH}"
    if problem:
        raise LwexpError(f"{origin}: {problem}")
    return text


@contextmanager
def within_limits() -> Iterator[None]:
    """Within this context, Hydra reads no YAML file beyond the limits, and no value comes from the environment.

    A config ends up in config.json, in manifests and in trackers, so ``${oc.env:NAME}`` would write down what the user
    keeps in the environment.
    """
    from hydra._internal.sources_registry import SourcesRegistry
    from hydra.core.plugins import Plugins
    from omegaconf import OmegaConf
    from omegaconf.resolvers import oc

    Plugins.instance()  # its first use makes the class that reads files
    files: Any = SourcesRegistry.instance().resolve("file")
    load = files.load_config

    def load_checked(source: Any, config_path: str) -> Any:
        name = source._normalize_file_name(config_path)
        path = f"{source.path}/{name}"
        try:
            with open(path, "rb") as file:
                read_yaml_text(file.read(MAX_YAML_BYTES + 1), path)
        except OSError:
            pass  # Hydra says what is wrong, and which choices there are
        return load(source, config_path)

    def refuse(*_: object) -> None:  # where the text above does not show it, such as ${oc.${name}:HOME}
        raise LwexpError(_NO_ENVIRONMENT)

    files.load_config = load_checked
    OmegaConf.register_new_resolver("oc.env", refuse, replace=True)
    try:
        yield
    finally:
        files.load_config = load
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


def _text_problem(text: str) -> str | None:
    if HALF.search(text):
        return "has bytes that are not UTF-8; rename the file, or set the terminal to UTF-8"
    if _DIGITS.search(text):
        return f"a number of more than {MAX_DIGITS} digits"
    return _NO_ENVIRONMENT if _ENVIRONMENT.search(text) else None


def _depth(text: str) -> int:
    """How deep brackets are open at most; those in quotes count too, which only makes the limit stricter."""
    depth = deepest = 0
    for mark in re.findall(r"[\[\](){}]", text):
        depth = depth + 1 if mark in "[({" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _start(word: str) -> str:
    return word if len(word) <= 60 else f"{word[:60]}..."
