"""Puts the ``conf`` folders of loaded plugins on Hydra's search path, so that their choices work like built-in ones."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class PluginConfigs(SearchPathPlugin):
    """``plugins=[simpo/simpo.py] objective=simpo`` finds simpo/conf/objective/simpo.yaml."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folders; lwexp's own conf wins where both have a file."""
        from lwexp.extend.plugins import plugin_config_folders

        for folder in plugin_config_folders():
            search_path.append(provider="lwexp-plugin", path=f"file://{folder}")
