"""A run's stored config with other settings."""

from collections.abc import Sequence

from lwexp.config.base import Tree
from lwexp.config.defaults import defaults_in_hydra
from lwexp.config.folders import choices_of
from lwexp.records import LwexpError


def change_stored(tree: Tree, overrides: Sequence[str]) -> Tree:
    """The tree of a config.json with ``key=value`` settings applied, which are read as on the command line.

    Args:
        tree: As ``upgrade`` gives it.
        overrides: Values of keys. A stored config no longer has groups to choose from.

    Raises:
        LwexpError: If an override cannot be read, names a key that the config does not have, or chooses from a group.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    from lwexp.config.mistakes.limits import refuse_oversized
    from lwexp.config.mistakes.translate import mistakes_in_one_line

    refuse_oversized(overrides)
    with mistakes_in_one_line():
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        for override in parsed:
            group, value = override.key_or_group, override.value()
            if isinstance(value, str) and value in {path.stem for path in choices_of(group)}:
                raise LwexpError(
                    f"{group}={value}: a stored config has no groups to choose from; change values, such as seed=1, or "
                    f"compose a new run with lwexp train|generate|evaluate {group}={value}"
                )
        cfg = OmegaConf.create(tree)
        OmegaConf.set_struct(cfg, True)
        with defaults_in_hydra():
            ConfigLoaderImpl._apply_overrides_to_config(parsed, cfg)
    changed = OmegaConf.to_container(cfg)
    assert isinstance(changed, dict)
    return {str(key): value for key, value in changed.items()}
