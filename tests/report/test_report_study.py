"""The page of a study: figure, numbers, command, commit and versions, from one command."""

import xml.etree.ElementTree as ElementTree

import pytest

from lwexp.report.__main__ import main
from tests.report.test_report_sweep import KEY, make_sweep


@pytest.fixture
def folder(tmp_path):
    cells = [([f"{KEY}={cap}", "+sweeps=output_cap"], cap, "finished", 0, None) for cap in (50, 100, 400)]
    return make_sweep(tmp_path, cells, varied=[KEY], question="Does it follow?")


def test_one_command_writes_page_and_figure(folder, tmp_path, capsys):
    page = tmp_path / "docs" / "cap.md"
    assert main([str(folder), f"study={page}"]) == 0
    text = page.read_text()
    assert text.startswith("# Does it follow?\n\nYes: ")
    assert "![Does it follow?](cap.svg)" in text
    assert "| Spearman rank correlation, all models | 1.000 |" in text
    assert f"`python train.py -m +sweeps=output_cap {KEY}=50,100,400`" in text
    assert "`62aaf17d0c5b`" in text
    assert "torch 2.13.0" in text
    assert str(tmp_path) not in text
    figure = ElementTree.fromstring(page.with_suffix(".svg").read_text())
    assert figure.tag.endswith("svg")
    assert "var(" not in page.with_suffix(".svg").read_text()
    assert f"study: {page}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["study="], ["study=x.txt"], ["wandb=nonsense"]])
def test_mistakes_are_one_line_and_exit_code_2(folder, words, capsys):
    assert main([str(folder), *words]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_study_needs_a_sweep(tmp_path, demo_runs, capsys):
    assert main([str(demo_runs[0]), f"study={tmp_path / 'x.md'}"]) == 2
    assert "is not a sweep's folder" in capsys.readouterr().err
