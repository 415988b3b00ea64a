"""The rehearsal of the GPU kit needs minutes and the package index, so it runs only if its marker is selected."""

import pytest


def pytest_collection_modifyitems(config, items):
    if "rehearsal" in config.getoption("markexpr"):
        return
    skip = pytest.mark.skip(reason="takes minutes and needs the package index: make gpu-rehearsal")
    for item in items:
        if item.get_closest_marker("rehearsal"):
            item.add_marker(skip)
