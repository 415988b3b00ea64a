"""Configs beyond what the readers can hold: one line with the limit, and never a traceback or a hang.

The inputs are the smallest that ``python -m benchmarks.fuzz overrides`` has found, each with two variations.
"""

import logging
import sys
from pathlib import Path

import pytest

from lwexp.config import cli
from lwexp.config.compose import compose_tree
from lwexp.config.mistakes.limits import MAX_ALIASES, MAX_DEPTH, MAX_DIGITS, read_yaml_text, refuse_oversized
from lwexp.records import LwexpError

logging.getLogger("hydra").setLevel(logging.ERROR)
WORDS = {
    "a number of 5,000 digits": (f"seed={'9' * 5_000}", "a number of more than 300 digits"),
    "such a number in a list": (f"generate.instructions.required_words=[1,{'9' * 301}]", "more than 300 digits"),
    "a negative one": (f"seed=-{'1' * 4_301}", "more than 300 digits"),
    "2,000 open brackets": (f"seed={'[' * 2_000}", "brackets 2,000 deep; wanted at most 40"),
    "41 pairs of brackets": (f"seed={'[' * 41}{']' * 41}", "brackets 41 deep"),
    "mappings in mappings": (f"teacher.options={'{a:' * 500}1{'}' * 500}", "brackets 500 deep"),
    "a key of 5,000 parts": (f"{'a.' * 5_000}a=1", "a key of 10,001 characters"),
    "a key of 42 parts": (f"{'a.' * 41}a=1", "a key of 42 parts; wanted at most 40"),
    "a key of 300 letters": (f"{'k' * 300}=1", "a key of 300 characters; wanted at most 250"),
    "a value of 30,000 characters": (f"name={'x' * 30_000}", "30,005 characters, longer values"),
    "no key at all": ("y" * 30_000, "30,000 characters"),
    "Chinese": (f"name={'字' * 20_001}", "20,006 characters"),
}
YAML = {
    "not UTF-8": (b"name: \xed\xa0\xbd\n", "is not UTF-8 text (byte 7)"),
    "Latin-1": ("name: é\n".encode("latin-1"), "is not UTF-8 text"),
    "UTF-16": ("name: x\n".encode("utf-16"), "is not UTF-8 text"),
    "5,000 digits": (f"seed: {'9' * 5_000}\n".encode(), "a number of more than 300 digits"),
    "deep brackets": (f"seed: {'[' * 3_000}{']' * 3_000}\n".encode(), "brackets 3,000 deep"),
    "an alias bomb": (
        b"a: &a [x]\n" + b"".join(b"b%d: [%s]\n" % (n, b",".join([b"*a"] * 9)) for n in range(12)),
        "108 uses of anchors",
    ),
    "only text": (b"a", "experiment"),
    "a list": (b"- seed\n", "experiment"),
    "a value in binary": (
        b"# @package _global_\nteacher: {model: !!binary aGk=}\n", "teacher.model: is of a type such as !!binary;"
    ),
    "half an emoji": (b'# @package _global_\nname: "\\ud83d"\n', "name: holds half a character"),
    "its own base": (b"# @package _global_\ndefaults: [fuzz]\n", "nested too deeply"),
}  # fmt: skip


def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["lwexp", *words])
    with pytest.raises(SystemExit) as left:
        cli.run_script("generate", lambda config: None)
    return int(left.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize("case", WORDS)
def test_words_beyond_a_limit_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    word, said = WORDS[case]
    code, errors = ended(monkeypatch, capsys, word)
    assert (code, errors.count("\n")) == (2, 1)
    assert said.split(",")[0] in errors
    assert len(errors) < 200


@pytest.mark.parametrize("case", YAML)
def test_a_yaml_file_beyond_a_limit_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, case: str
) -> None:
    content, said = YAML[case]
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "fuzz.yaml").write_bytes(content)
    code, errors = ended(monkeypatch, capsys, "--config-dir", str(tmp_path), "experiment=fuzz")
    assert (code, errors.count("\n")) == (2, 1), errors
    assert said in errors
    assert len(errors) < 1_000


def test_what_is_within_the_limits_is_read() -> None:
    """The control."""
    refuse_oversized([f"seed={'9' * MAX_DIGITS}", f"a={'[' * MAX_DEPTH}", "name=x"])
    aliases = "a: &a 1\n" + "".join(f"b{number}: *a\n" for number in range(MAX_ALIASES))
    assert read_yaml_text(aliases.encode(), "x") == aliases
    with pytest.raises(LwexpError, match=r"^x: 101 uses of anchors \(\*name\)"):
        read_yaml_text((aliases + "c: *a\n").encode(), "x")


@pytest.mark.parametrize("value", ["${oc.env:LWEXP_CANARY}", "${oc.env:LWEXP_CANARY,x}", "a-${ oc.env : LWEXP_CANARY}"])
def test_a_value_of_the_environment_is_refused_and_not_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    monkeypatch.setenv("LWEXP_CANARY", "c4n4ry-0123")
    code, errors = ended(monkeypatch, capsys, f"name={value}")
    assert (code, errors.count("\n")) == (2, 1), errors
    assert "values of the environment do not belong in a config" in errors
    assert "c4n4ry" not in errors
    with pytest.raises(LwexpError, match="do not belong in a config") as refused:
        compose_tree(f"name={value}")
    assert "c4n4ry" not in str(refused.value)


def test_an_indirect_name_of_the_environment_is_refused_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LWEXP_CANARY", "c4n4ry-0123")
    with pytest.raises(LwexpError) as refused:
        compose_tree("name='${oc.${root}:LWEXP_CANARY}'", "root=env")
    assert "c4n4ry" not in str(refused.value)


def test_elsewhere_omegaconf_reads_the_environment_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    from omegaconf import OmegaConf

    monkeypatch.setenv("LWEXP_CANARY", "c4n4ry-0123")
    compose_tree()
    assert OmegaConf.create({"a": "${oc.env:LWEXP_CANARY}"}).a == "c4n4ry-0123"
