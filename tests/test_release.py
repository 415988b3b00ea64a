"""A release has one version, in the package, in its metadata, in uv.lock and in the changelog."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lwexp
from tests import ROOT


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## (\d\S*) - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)[0]
    assert {
        lwexp.__version__, project["version"], newest, *(one["version"] for one in locked if one["name"] == "lwexp")
    } == {project["version"]}  # fmt: skip
    assert changelog.startswith("# Changelog\n\n## Unreleased\n")


def test_uv_lock_has_the_project_s_extras_and_packages():
    """A package that was added to pyproject.toml alone is found here: uv lock adds it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    (own,) = [one for one in locked if one["name"] == "lwexp"]
    wanted = {re.split(r"[<>=!\[]", one)[0].lower().replace("_", "-") for one in project["dependencies"]}
    assert wanted == {one["name"] for one in own["dependencies"]}
    assert set(project["optional-dependencies"]) == set(own["optional-dependencies"])


def release_notes(version: str, repository: Path = ROOT) -> subprocess.CompletedProcess[str]:
    script = repository / ".github" / "release_notes.py"
    return subprocess.run([sys.executable, script, version], capture_output=True, text=True, check=False)


def test_the_notes_of_a_release_are_its_own_section():
    """Cut out by line numbers, as a reader would."""
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    headings = [number for number, line in enumerate(lines) if line.startswith("## ")]
    start = next(number for number in headings if lines[number].startswith("## 0.2.0 - "))
    end = next((number for number in headings if number > start), len(lines))
    said = release_notes("0.2.0")
    assert said.returncode == 0
    assert said.stdout.strip() == "\n".join(lines[start + 1 : end]).strip()
    assert said.stdout.startswith("The whole recipe as one tool")
    assert "Unreleased" not in said.stdout


@pytest.mark.parametrize("version", ["0.1.0", "0.2", "0.2.0rc1", ""])
def test_a_version_without_a_section_has_no_release(version):
    """The changelog begins with 0.2.0: versions before it were not released."""
    said = release_notes(version)
    assert (said.returncode, said.stdout, said.stderr.count("\n")) == (1, "", 1)
    assert said.stderr.startswith(f"CHANGELOG.md has no notes on {version}")


def test_each_of_several_versions_has_its_own_notes(tmp_path):
    (tmp_path / ".github").mkdir()
    shutil.copy(ROOT / ".github" / "release_notes.py", tmp_path / ".github")
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n\n- c\n\n## 0.2.0 - 2026-11-29\n\nTwo.\n\n### Part\n\n- b\n\n"
        "## 0.1.0 - 2026-10-01\n\n- a\n\n## 0.0.1 - 2026-09-01\n"
    )
    assert release_notes("0.2.0", tmp_path).stdout == "Two.\n\n### Part\n\n- b\n"
    assert release_notes("0.1.0", tmp_path).stdout == "- a\n"
    assert release_notes("0.0.1", tmp_path).returncode == 1  # a heading without notes


def test_the_release_workflow_takes_these_notes():
    steps = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert re.findall(r"--notes-file (\S+)", steps) == ["notes.md"]
    assert 'python .github/release_notes.py "${GITHUB_REF_NAME#v}" > notes.md' in steps
