"""Completion in bash: what the command suggests, and what a real bash shows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lwexp.commands import COMMANDS
from lwexp.commands.completion import suggest
from lwexp.config.folders import CONF, REPOSITORY


def offered(line: str) -> list[str]:
    return suggest(line, tuple(COMMANDS))


def test_choices_of_a_group_and_of_experiments() -> None:
    assert offered("python train.py model=tiny_") == ["model=tiny_glm ", "model=tiny_llama "]
    assert offered("lwexp train experiment=smok") == ["experiment=smoke ", "experiment=smoke_dpo "]
    assert "+sweeps=" in offered("lwexp train +s")
    assert offered("lwexp train -m +sweeps=out") == ["+sweeps=output_cap "]
    assert offered("lwexp train -m hydra/launcher=s") == ["hydra/launcher=slurm ", "hydra/launcher=subprocess "]


def test_keys_are_those_that_the_command_reads_and_the_choice_has() -> None:
    assert not [word for word in offered("python train.py ") if word.startswith(("teacher", "generate", "select"))]
    assert offered("python generate_data.py tea") == ["teacher.", "teacher="]
    assert "objective.beta=" not in offered("lwexp train objective.")
    assert "objective.beta=" in offered("lwexp train objective=dpo objective.")
    assert offered("lwexp train teacher.") == []
    assert "hydra.launcher.partition=" in offered("lwexp train -m hydra/launcher=slurm hydra.launcher.")


def test_values_that_a_key_may_have() -> None:
    assert offered("lwexp train dry_run=t") == ["dry_run=true "]
    assert offered("lwexp train pack.overflow=") == ["pack.overflow=drop ", "pack.overflow=error "]
    assert offered("lwexp generate task=sel") == ["task=select "]


def test_folders_are_offered_for_paths_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "text.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    assert not [word for word in offered("lwexp train te") if "tests" in word]
    assert offered("lwexp generate source=te") == ["source=tests/", "source=text.jsonl "]


def test_commands_and_choices_of_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text((CONF / "model" / "tiny_glm.yaml").read_text())
    assert offered("lwexp tr") == ["train "]
    assert offered(f"lwexp train --config-dir {tmp_path} model=min") == ["model=mine "]
    assert offered("lwexp train model=min") == []


COMPLETE = r"""
eval "$({python} {script} -sc install=bash)"
complete -p python | grep -q _lwexp_complete || exit 9
COMP_LINE="{python} {script} model=tiny_"; COMP_POINT=${{#COMP_LINE}}
_lwexp_complete
printf '%s\n' "${{COMPREPLY[@]}}"
"""


def test_bash_asks_the_script(tmp_path: Path) -> None:
    """The path of this Python ends in python, as the function wants."""
    script = COMPLETE.format(python=sys.executable, script=REPOSITORY / "train.py")
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["model=tiny_glm", "model=tiny_llama"], done.stderr


def test_help_lists_choices_of_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "mine.yaml").write_text("# A teacher of one's own.\ndefaults: [local_openai]\n")
    arguments = [sys.executable, "generate_data.py", "--help"]
    own = [*arguments, "--config-dir", str(tmp_path)]
    with_folder, without = (
        subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
        for words in (own, arguments)
    )
    assert "    mine                 A teacher of one's own." in with_folder
    assert "    mine " not in without
