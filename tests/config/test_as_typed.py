"""File names and texts reach their keys as typed, whatever characters they contain, or the error says what to type."""

import shlex

import pytest

from lwexp.config import compose
from lwexp.config.overrides.quoting import as_typed, holds_text
from lwexp.records import LwexpError

NAMES = [
    "/data/a=b,c.jsonl", "/data/my rows 我的.jsonl", "数据.jsonl", "it's.jsonl", 'say "hi".jsonl',
    "a#b.jsonl", "@home.jsonl", "rows[1].jsonl", "{x}.jsonl", "(draft).jsonl", "a:b.jsonl", "50%.jsonl", "a&b;c.jsonl",
    "back\\slash\\", 'b\\"q.jsonl', "true", "2024", "1e-5", " leading.jsonl", "a*b?.jsonl", "$HOME.jsonl", "~/x.jsonl",
    "plain.jsonl", "é.jsonl", "a,b",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_file_name_arrives_as_typed(name):
    assert compose(f"source={name}", "task=import").source == name
    assert compose("mixture=file", f"mixture.path={name}").mixture.model_dump()["sources"]["mine"]["path"] == name
    config = compose("mixture=general", f"mixture.sources.general.path={name}", f"+bench.name={name}")
    assert config.mixture.model_dump()["sources"]["general"]["path"] == config.bench.name == name


@pytest.mark.parametrize("name", NAMES)
def test_a_name_quoted_for_hydra_means_the_same(name):
    quoted = as_typed(f"source={name}")

    assert as_typed(quoted) == quoted
    assert compose(quoted, "task=import").source == name


def test_only_keys_that_hold_one_text_are_quoted():
    assert holds_text("source")
    assert holds_text("mixture.sources.anything.path")
    assert not any(holds_text(key) for key in ("seed", "mixture.sources", "pack.overflow", "model.family", "plugins"))
    for word in ("seed=1", "source=null", "plugins=[a.py]", "model.chat=glm4", "mixture.sources={}", "source=${name}"):
        assert as_typed(word) == word


def test_in_a_sweep_commas_separate_values_unless_there_is_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert as_typed("source=a,b", is_sweep=True) == "source=a,b"
    assert as_typed("source=a b", is_sweep=True) == 'source="a b"'
    assert as_typed("source=choice(a,b)", is_sweep=True) == "source=choice(a,b)"

    (tmp_path / "a,b").touch()
    with pytest.raises(LwexpError, match="the comma separates values of a sweep, and there is a file") as refused:
        as_typed("source=a,b", is_sweep=True)

    (pasted,) = shlex.split(str(refused.value).partition("type ")[2])
    assert as_typed(pasted, is_sweep=True) == pasted
    assert compose(pasted, "task=import").source == "a,b"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pack:\n\tmax_tokens: 3\n", "line 2, column 1: a tab; indent with spaces"),
        ("seed: 1\nname: 'x\n", "line 2, column 7: a quote is opened and never closed"),
        ("seed: 1\nseed: 2\n", "line 2, column 1: the key stands twice; remove one of them (seed)"),
        ("pack:\n  max_tokens: 64\n overflow: drop\n", "line 3, column 2: the indentation does not fit"),
        ("name: a: b\n", "line 1, column 8: a colon where none can be"),
        ("plugins: [a, b\n", "line 1, column 10: a bracket is opened and never closed"),
        ("pack:\n  max_tokens 64\n  overflow: drop\n", "line 3, column 11: a colon where none can be"),
    ],
)  # fmt: skip
def test_a_broken_yaml_file_is_one_line_with_its_place(tmp_path, text, said):
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "mine.yaml"
    file.write_text(text)

    with pytest.raises(LwexpError) as refused:
        compose("experiment=mine", config_dir=tmp_path)

    assert str(refused.value).startswith(f"{file} {said}")
    assert "\n" not in str(refused.value)
