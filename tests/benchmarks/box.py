"""A stand-in for a bare GPU box: an interpreter that sees the box's packages and no others."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path


def canonical(name):
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _read(path):
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {canonical(name) for line in lines for name in line.split()}


BOX_PACKAGES = _read(Path(__file__).with_name("box_packages.txt"))


def make_box(folder, replaced):
    """A virtual environment with links to those of our packages that the box has; gives its python.

    Nothing else can be imported, and ``importlib.metadata`` knows of nothing else. ``replaced`` holds wheels of other
    versions that the box has, such as transformers 5.17.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next((folder / "lib").glob("python3.*/site-packages"))
    own = {canonical(wheel.name.split("-")[0]) for wheel in replaced}
    for distribution in metadata.distributions():
        if canonical(distribution.name) not in BOX_PACKAGES - own:
            continue
        root = Path(str(distribution.locate_file("")))
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            if not (site / top).exists():
                os.symlink(root / top, site / top)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site)]
    subprocess.run([*install, *map(str, replaced)], check=True)
    return python
