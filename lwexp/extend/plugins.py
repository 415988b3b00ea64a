"""Plugins: users' modules, loaded before a config is read, so that their keys are checked like built-in ones."""

import functools
import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from types import ModuleType

from lwexp.records import LwexpError, Preempted
from lwexp.text.plain import first_line

ENTRY_POINTS = "lwexp.plugins"
"""Group under which an installed package names its module."""

_loaded: dict[str, ModuleType] = {}
_installed: set[str] = set()


def load_plugins(names: Iterable[str] = ()) -> list[ModuleType]:
    """Import each plugin once: first those of installed packages, then the named ones.

    Args:
        names: Import paths such as ``my_lab.simpo``, or paths of .py files.

    Raises:
        LwexpError: Naming the plugin, what went wrong and the line in it.
    """
    for point in _entry_points(tuple(sys.path)):
        _installed.add(point.value)
        _load(point.value, f"the entry point {point.name} of {point.dist.name if point.dist else 'a package'}")
    for name in names:
        _load(name, f"plugins={name}")
    return list(_loaded.values())


def loaded_plugins() -> list[str]:
    """What another process passes to ``load_plugins`` to know the same classes; files by their full paths."""
    return list(_loaded)


def plugin_fingerprints(names: Iterable[str]) -> dict[str, str]:
    """Plugin -> sha256 of its file, for the named plugins and those of installed packages.

    Plugins that this process loaded for another config are left out: they do not affect the run.
    """
    wanted = {*_installed, *names}
    files = {name: module.__file__ for name, module in _loaded.items() if name in wanted and module.__file__}
    return {name: hashlib.sha256(Path(file).read_bytes()).hexdigest() for name, file in files.items()}


def plugin_config_folders() -> list[Path]:
    """``conf`` folders next to loaded plugins; their files are choices like those of lwexp's own groups."""
    folders = [Path(module.__file__).resolve().parent / "conf" for module in _loaded.values() if module.__file__]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


@functools.cache
def _entry_points(path: tuple[str, ...]) -> metadata.EntryPoints:
    """Cached for each ``sys.path``: finding them reads a file of every installed package (30 ms for each config)."""
    return metadata.entry_points(group=ENTRY_POINTS)


def _load(name: str, origin: str) -> None:
    is_file = name.endswith(".py") or os.sep in name
    name = str(Path(name).resolve()) if is_file and Path(name).is_file() else name
    if name in _loaded:
        return
    try:
        _loaded[name] = _from_file(Path(name)) if is_file else _from_import_path(name)
    except LwexpError as error:
        raise LwexpError(f"{origin}: {error}") from None
    except (KeyboardInterrupt, Preempted):  # what stops the command, not what the plugin does
        raise
    except BaseException as error:
        raise LwexpError(
            f"{origin}: {_where(error, name)}{type(error).__name__}: {first_line(error, 'no message')}"
        ) from None


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise LwexpError(f"there is no file {path} (looked in {Path.cwd()})")
    full = path.resolve()
    # A unique name, because two plugins may both be called model.py.
    name = f"lwexp_plugin_{full.stem}_{hashlib.sha256(str(full).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, full)
    if spec is None or spec.loader is None:
        raise LwexpError(f"{path} is not a Python file; wanted a .py file or an import path")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _from_import_path(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:  # a script's own folder is on the path, the folder it was started in is not
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise LwexpError(f"there is no module {name}, neither installed nor in {here}") from None
        raise


def _where(error: BaseException, name: str) -> str:
    """``line 12: `` if the plugin's own file raised it."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: " if error.lineno else ""
    ending = Path(name).name if name.endswith(".py") else name.rsplit(".", 1)[-1] + ".py"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == ending]
    return f"line {lines[-1]}: " if lines else ""
