"""Runs as folders with a manifest, for tests of what reads them."""

import json
from pathlib import Path
from typing import Any


def make_run(root: Path, id: str, stage: str, status: str, **more: Any) -> Path:
    """A run without outputs.

    Args:
        root: Where its folder is made.
        id: Its id and folder; the name is the part before the last dash.
        stage: Its kind.
        status: As in a manifest.
        more: Other keys of the manifest.
    """
    manifest = {"id": id, "name": id.rsplit("-", 1)[0], "stage": stage, "status": status, **more}
    folder = root / id
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"created": "2026-01-01T00:00:00+00:00", **manifest}))
    return folder
