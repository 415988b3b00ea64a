"""The one page: its script asks the server for the runs, and draws them."""

from pathlib import Path

from lwexp.pages.page import render
from lwexp.report.training.curves import HELD_OUT, TRAINED

_TEMPLATES = Path(__file__).parent / "templates"


def live_page(root: str) -> str:
    """The page of the runs below ``root``."""
    return render(
        _TEMPLATES / "watch.html",
        labels={0: TRAINED, 1: HELD_OUT},
        script=_TEMPLATES / "watch.js",
        all_dots=True,
        root=root,
    )
