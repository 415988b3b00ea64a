"""Doors for configs: overrides and YAML files as a user types them, and addresses with secrets in them."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import strategies as st

from benchmarks.fuzz.fuzzing import Attempt, BadMessageError, Door
from benchmarks.fuzz.inputs import damaged, texts
from lwexp.config import run_script
from lwexp.config.base import validate
from lwexp.config.compose import compose_tree
from lwexp.config.schema import Config
from lwexp.config.secrets import refuse_arguments
from lwexp.records import LwexpError

_KEYS = (
    "seed", "name", "teacher", "teacher.temperature", "model", "model.path", "objective.optimizer.lr",
    "pack.max_tokens",
    "mixture", "mixture.sources.x", "bench", "bench.range", "judge", "sample.repeats", "generate.instructions.count",
    "generate.instructions.required_words", "plugins", "experiment", "hydra.searchpath", "hydra", "task", "root",
    "teacher.options", "teacher.price", "a.b.c", "training", "filter", "source", "tracking.tags",
)  # fmt: skip
_VALUES = (
    "null", "true", "-1", "1e400", "nan", "[]", "{}", "[1,2]", "{a:1}", "[[[[", "}", "'", '"', "${seed}", "${a.b}",
    "${oc.env:HOME}", "${oc.env:NOT_SET}", "${oc.env:NOT_SET,x}", "???", "${", "range(1,3)", "choice(1,2)", "1,2",
    "glm4", "smoke", "offline", "9" * 5_000, "[" * 500, "${oc.create:${x}}", "!!python/object:os.system", "\\", "a=b",
    "x" * 3_000, "文字", "a" * 300 + ".yaml", "~", "@", "@:", "/", "..",
)  # fmt: skip
_OPTIONS = (
    "--cfg",
    "--resolve",
    "--info",
    "-p",
    "--package",
    "--config-dir",
    "-cn",
    "--experimental-rerun",
    "--x",
    "-",
)
_COMMANDS = ("generate", "train", "evaluate")
_YAML = (
    b"# @package _global_\nseed: 1\npack:\n  max_tokens: 64\ndefaults:\n  - override /model: tiny_llama\nplugins: [a]\n"
    b"mixture: {sources: {x: {kind: file, path: f.jsonl, count: 3}}}\nname: &a x\nroot: *a\n"
)
_BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    f"{this}: &{this} [{','.join([f'*{last}'] * 9)}]\n".encode() for last, this in zip("abcdef", "bcdefg", strict=True)
)


@st.composite
def _words(draw: st.DrawFn) -> str:
    kind = draw(st.integers(0, 19))
    if kind == 0:
        return draw(st.sampled_from(_OPTIONS))
    if kind == 1:
        return draw(texts)
    sign = draw(st.sampled_from(("", "", "", "", "+", "++", "~")))
    key = draw(st.sampled_from(_KEYS))
    if draw(st.integers(0, 9)) == 0:
        key += draw(st.sampled_from((".x", "@y", "." * 50, ".a" * 3_000, "@a:b", "/x", "[0]", " ")))
    return f"{sign}{key}={draw(st.sampled_from(_VALUES) | texts)}"


@st.composite
def _config_cases(draw: st.DrawFn) -> tuple[str, list[str], bytes]:
    words = [word for word in draw(st.lists(_words(), max_size=3)) if not word.startswith(("-m", "--mu"))]
    yaml = b""
    if draw(st.booleans()):
        yaml = draw(damaged(st.sampled_from((_YAML, _BOMB + _YAML))) | texts.map(_encoded))
        words = words[:1]
    return draw(st.sampled_from(_COMMANDS)), words, yaml


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _overrides(folder: Path) -> Attempt:
    (folder / "experiment").mkdir()

    def attempt(case: tuple[str, list[str], bytes]) -> None:
        command, words, yaml = case
        if yaml:
            (folder / "experiment" / "fuzz.yaml").write_bytes(yaml)
            words = ["--config-dir", str(folder), "experiment=fuzz", *words]
        said = io.StringIO()
        sys.argv = ["lwexp", *(word.replace("\0", "") for word in words)]  # an operating system passes no NUL
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            try:
                run_script(command, lambda config: None)
            except SystemExit as left:
                if left.code not in (0, 2):
                    raise BadMessageError(f"exit code {left.code}") from None
                if "Traceback" in said.getvalue():
                    raise BadMessageError(said.getvalue()[-300:]) from None
                if left.code == 2:
                    raise LwexpError(said.getvalue()) from None

    return attempt


@contextmanager
def _own_argv() -> Iterator[None]:
    before, place = sys.argv, os.getcwd()
    try:
        yield
    finally:
        sys.argv = before
        os.chdir(place)


CANARY = "c4n4ry9x7q2"
_PARTS = ("http://", "https://", "host", ":8000", "/v1", "?", "&", ";", "#", "@", ":", "user", "/", "//", "%", "[::1]")
_HIDDEN = ("{c}", "token={c}", "?sig={c}", "#{c}", "{c}@", "u:{c}@", ";auth={c}", "&X-Amz-Signature={c}", "?{c}")


@st.composite
def _urls(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.sampled_from(_PARTS) | st.text(max_size=3), max_size=6))
    hidden = draw(st.sampled_from(_HIDDEN)).format(c=CANARY)
    place = draw(st.integers(0, len(parts)))
    return "".join([*parts[:place], hidden, *parts[place:]])


def _secrets(folder: Path) -> Attempt:
    tree = compose_tree("teacher=gpt4o", "judge=gpt4o")

    def attempt(url: str) -> None:
        for section in ("teacher", "judge"):
            try:
                refuse_arguments([f"{section}.base_url={url}"])
                validate({**tree, section: {**tree[section], "base_url": url}}, Config)
            except LwexpError as error:
                if CANARY in str(error):
                    raise BadMessageError("the message repeats the secret") from None
            else:
                # A path, a host and a port are allowed, and nothing tells a secret from them.
                if any(sign in url for sign in "?#@;&") or not url.startswith(("http://", "https://")):
                    raise BadMessageError("a secret was accepted")

    return attempt


CONFIG_DOORS: dict[str, Door] = {
    "overrides": Door(_config_cases(), _overrides, lines=True, around=_own_argv),
    "secrets": Door(_urls(), _secrets),
}
