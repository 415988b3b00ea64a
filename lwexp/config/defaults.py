"""The schema's defaults in Hydra's tree: a YAML file names only what differs from them.

Hydra refuses ``key=value`` where no YAML file has the key. So the missing keys are added between its two steps, after
the files are merged and before the command line's overrides are applied. Then ``--cfg job`` shows the whole config, and
every key can be overridden without a plus.
"""

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic_core import to_jsonable_python

from lwexp.config.base import Tree
from lwexp.config.fields import each_section, is_open_mapping, names_settings, written
from lwexp.config.schema import Config
from lwexp.extend import Registry
from lwexp.records import LwexpError


def add_defaults(tree: Tree) -> None:
    """Add every key that a section of the tree lacks and its class has a default for, in the form that YAML has.

    A class that is chosen by its name alone becomes a mapping if it has settings, so that they can be overridden.
    """
    for section, model in each_section(tree, Config):
        for name, field in model.model_fields.items():
            if name not in section and not field.is_required():
                section[name] = written(field, to_jsonable_python(field.get_default(call_default_factory=True)))
            elif names_settings(field, section.get(name)):
                section[name] = {"kind": section[name]}


@contextmanager
def defaults_in_hydra() -> Iterator[None]:
    """Within this context, every config that Hydra composes has the schema's defaults.

    Hydra 1.3 has no hook between its two steps, so the second one is wrapped.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

    apply = ConfigLoaderImpl._apply_overrides_to_config

    def fill_and_apply(overrides: Sequence[Override], cfg: DictConfig) -> None:
        _fill(cfg)
        for override in overrides:
            _refuse_unknown(override, cfg)
            apply([_as_meant(override)], cfg)
            if isinstance(override.value(), dict) or _is_name(override):
                _fill(cfg)  # the override may have added a section whose keys have defaults

    ConfigLoaderImpl._apply_overrides_to_config = staticmethod(fill_and_apply)  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl._apply_overrides_to_config = staticmethod(apply)  # type: ignore[method-assign]


def _is_name(override: Any) -> bool:
    """Whether an override may choose a class, by its ``kind`` or by its name alone."""
    value = override.value()
    return override.key_or_group.endswith(".kind") or any(
        isinstance(value, str) and value in registry for registry in Registry.every
    )


def _fill(cfg: Any) -> None:
    """Add the defaults to Hydra's tree. Only what is new is set: half the time of merging the whole tree."""
    from omegaconf import open_dict

    given = _tree_of(cfg)
    filled = copy.deepcopy(given)
    add_defaults(filled)
    with open_dict(cfg):
        _set_new(cfg, given, filled)


def _set_new(node: Any, given: Tree, filled: Tree) -> None:
    for name, value in filled.items():
        before = given.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            _set_new(node._get_node(name), before, value)
        elif name not in given or value != before:
            node[name] = value


def _tree_of(cfg: Any) -> Tree:
    """The part of Hydra's tree that the schema knows, with interpolations unresolved."""
    from omegaconf import OmegaConf

    nodes = {name: cfg._get_node(name) for name in Config.model_fields if name in cfg}
    return {name: OmegaConf.to_container(n) if OmegaConf.is_config(n) else n._value() for name, n in nodes.items()}


def _refuse_unknown(override: Any, cfg: Any) -> None:
    """Refuse an unknown key here, where the chosen classes are known; Hydra's own error does not know them."""
    from hydra.core.override_parser.types import OverrideType
    from omegaconf import OmegaConf

    key = override.key_or_group
    is_changed = override.package is None and _as_meant(override).type == OverrideType.CHANGE
    above, _, last = key.rpartition(".")
    node = OmegaConf.select(cfg, above) if above else cfg
    if is_changed and not key.startswith("hydra.") and not (OmegaConf.is_dict(node) and last in list(node)):
        from lwexp.config.mistakes.hints import no_such_key

        raise LwexpError(no_such_key(key, _tree_of(cfg), Config))


def _as_meant(override: Any) -> Any:
    """The override as the user means it: ``key=value`` may add to a mapping of free names; a spare plus is ignored."""
    from hydra.core.override_parser.types import OverrideType

    key = override.key_or_group
    if key.split(".")[0] not in Config.model_fields:
        return override
    above, _, _ = key.rpartition(".")
    adds = override.type == OverrideType.CHANGE and (
        (isinstance(override.value(), dict) and (is_open_mapping(Config, key) or is_open_mapping(Config, above)))
        or is_open_mapping(Config, above, of_values=True)
    )
    if adds or override.type == OverrideType.ADD:
        return dataclasses.replace(override, type=OverrideType.FORCE_ADD)
    return override
