"""Stored configs of earlier versions: renamed keys get their present names."""

from copy import deepcopy

from lwexp.config.base import ConfigError, Tree
from lwexp.config.fields import each_section
from lwexp.config.schema import SCHEMA_VERSION, Config
from lwexp.extend.settings import key_of


def upgrade(tree: Tree) -> Tree:
    """A run's config.json as this version would have written it. The plugins that it names must be loaded first.

    Keys that did not exist when it was written get their defaults at validation; those defaults have no effect.

    Raises:
        ConfigError: If a later version wrote it.
    """
    version = tree.get("schema_version", 1)  # the first version did not write its number
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise ConfigError(
            f"schema_version: the config was written by a later lwexp (schema {version}, this one reads up to "
            f"{SCHEMA_VERSION}); update lwexp"
        )
    upgraded = deepcopy(tree)
    for section, model in each_section(upgraded, Config):
        for name, field in model.model_fields.items():
            former = key_of(field).formerly
            if former in section and name not in section:
                section[name] = section.pop(former)
    return {**upgraded, "schema_version": SCHEMA_VERSION}
