"""A release has one version, in the package, in its metadata, in uv.lock and in the changelog."""

import re
import tomllib

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
