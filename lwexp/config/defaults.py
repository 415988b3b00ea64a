"""The schema's defaults in Hydra's tree: a YAML file names only what differs from them.

Hydra refuses ``key=value`` where no YAML file has the key. So the missing keys are added between its two steps, after
the files are merged and before the command line's overrides are applied. Then ``--cfg job`` shows the whole config, and
every key can be overridden without a plus.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from lwexp.config.base import Tree
from lwexp.config.fields import is_open_mapping, section_models, written
from lwexp.config.schema import Config


def missing_defaults(tree: Tree, schema: type[BaseModel]) -> Tree:
    """The keys that ``tree`` lacks and ``schema`` has a default for, at their defaults.

    A section with a ``kind`` gets those of its class; one without a kind that is known gets none.
    """
    missing = {}
    for name, field in schema.model_fields.items():
        if name in tree:
            found = _missing_below(tree[name], field)
        elif field.is_required():
            continue
        else:
            found = _default_of(field)
        if name not in tree or found:
            missing[name] = found
    return missing


def _missing_below(value: Any, field: FieldInfo) -> Tree:
    if not isinstance(value, dict):
        return {}
    sections, is_mapping = section_models(field)
    if is_mapping:
        below = {
            name: missing_defaults(item, model) for name, item in value.items() if (model := _chosen(item, sections))
        }
        return {name: found for name, found in below.items() if found}
    model = _chosen(value, sections)
    return missing_defaults(value, model) if model else {}


def _chosen(value: Any, sections: list[type[BaseModel]]) -> type[BaseModel] | None:
    """The section that a mapping is meant for, by its ``kind`` where there are several."""
    if not isinstance(value, dict):
        return None
    if len(sections) == 1 and "kind" not in sections[0].model_fields:
        return sections[0]
    return next((model for model in sections if value.get("kind") in _kinds_of(model)), None)


def _kinds_of(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("kind")
    return get_args(field.annotation) if field is not None else ()


def _default_of(field: FieldInfo) -> Any:
    """A field's default as YAML would have it."""
    return written(field, to_jsonable_python(field.get_default(call_default_factory=True)))


@contextmanager
def defaults_in_hydra() -> Iterator[None]:
    """While it is open, whatever Hydra composes has the schema's defaults.

    Hydra 1.3 has no hook between its two steps, so the second one is wrapped.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

    apply = ConfigLoaderImpl._apply_overrides_to_config

    def fill_and_apply(overrides: Sequence[Override], cfg: DictConfig) -> None:
        _fill(cfg)
        for override in overrides:
            apply([_as_meant(override)], cfg)
            if isinstance(override.value(), dict) or override.key_or_group.endswith(".kind"):
                _fill(cfg)  # it may have brought a section with keys of its own

    ConfigLoaderImpl._apply_overrides_to_config = staticmethod(fill_and_apply)  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl._apply_overrides_to_config = staticmethod(apply)  # type: ignore[method-assign]


def _fill(cfg: Any) -> None:
    from omegaconf import OmegaConf, open_dict

    sections = {name: cfg._get_node(name) for name in Config.model_fields if name in cfg}
    tree = {
        name: OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node._value()
        for name, node in sections.items()
    }
    with open_dict(cfg):
        cfg.merge_with(missing_defaults(tree, Config))


def _as_meant(override: Any) -> Any:
    """``key=value`` adds to a mapping of free names, and a plus that is not needed does no harm."""
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
