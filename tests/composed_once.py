"""Hydra's first step of composing, kept for the next test that makes the same choices.

A test run composes more than a thousand configs. Which files Hydra merges depends on the choices of groups alone
(``model=glm4``); that takes half of the time, and the files of lwexp/conf do not change while tests run. The second
step, in which keys are set and checked, is never kept, and neither is a config with folders of its own.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from hydra._internal import config_loader_impl

from lwexp.config.folders import CONF

LOADER: Any = config_loader_impl  # both functions are Hydra's own, not part of its interface

Choices = tuple[Any, ...]


def keep_first_steps() -> Callable[[], None]:
    """From now on, in this process; gives what ends it."""
    lists: dict[Choices, Any] = {}
    merged: dict[int, Any] = {}
    create, compose = LOADER.create_defaults_list, LOADER.ConfigLoaderImpl._compose_config_from_defaults_list

    def create_once(
        repo: Any, config_name: str | None, overrides_list: Sequence[Any], prepend_hydra: bool, skip_missing: bool
    ) -> Any:
        def made() -> Any:
            return create(repo, config_name, list(overrides_list), prepend_hydra, skip_missing)

        if any(source.scheme() == "file" and source.path != str(CONF) for source in repo.get_sources()):
            return made()
        of_groups = [one for one in overrides_list if _chooses(repo, one)]
        choices = (config_name, *(one.input_line for one in of_groups), prepend_hydra, skip_missing)
        if choices not in lists:
            lists[choices] = made()
        found = copy.copy(lists[choices])
        chosen = {id(one) for one in of_groups}
        found.config_overrides = [
            one for one in overrides_list if id(one) not in chosen and not one.is_sweep_override()
        ]
        return found

    def compose_once(loader: Any, defaults: Any, repo: Any) -> Any:
        if not any(kept.defaults is defaults for kept in lists.values()):
            return compose(loader, defaults, repo)
        if id(defaults) not in merged:
            merged[id(defaults)] = compose(loader, defaults, repo)
        return copy.deepcopy(merged[id(defaults)])

    compose_once.plain = compose  # type: ignore[attr-defined] # for the test of this file
    LOADER.create_defaults_list = create_once
    LOADER.ConfigLoaderImpl._compose_config_from_defaults_list = compose_once

    def end() -> None:
        LOADER.create_defaults_list = create
        LOADER.ConfigLoaderImpl._compose_config_from_defaults_list = compose

    return end


def _chooses(repo: Any, override: Any) -> bool:
    """Whether an override chooses a file of a group, as Hydra decides it."""
    if override.is_sweep_override() or isinstance(override.value(), dict):
        return False
    return bool(repo.group_exists(override.key_or_group))
