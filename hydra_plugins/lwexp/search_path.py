"""Puts the repository root on Hydra's search path, so that sweeps/ is a config group."""

from __future__ import annotations

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

REPOSITORY = Path(__file__).resolve().parents[2]


class SweepsSearchPath(SearchPathPlugin):
    """Makes ``+sweeps=<name>`` find sweeps/<name>.yaml."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folder that holds sweeps/; conf/ still wins."""
        search_path.append(provider="lwexp-sweeps", path=f"file://{REPOSITORY}")
