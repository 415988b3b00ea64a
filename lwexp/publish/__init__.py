"""publish: a data set for people and for other tools: its card, its viewer, its exports.

Reads the conversations, pairs, drafts and failures of one finished data, import or pairs run. Writes a data-set card
(README.md) and a page for reading the texts (viewer.html) into that run's directory, and copies in the formats of TRL,
LLaMA-Factory and ms-swift to a folder of the user's choice. Never touches a row's content, a model or the network.
"""

import logging

from lwexp.publish.export_dataset import export_run
from lwexp.runs import Run
from lwexp.runs.artifacts import CARD, VIEWER

__all__ = ["export_run", "publish_run"]

log = logging.getLogger(__name__)


def publish_run(run: Run, *, again: bool = False) -> None:
    """Write viewer.html and README.md into a run's directory, unless they exist and ``again`` is False."""
    if not again and (run.path / VIEWER).is_file() and (run.path / CARD).is_file():
        return
    from lwexp.publish.card import write_card
    from lwexp.publish.viewer import write_viewer

    write_card(run, write_viewer(run))
    page = run.path / VIEWER
    log.info("%s: page for reading the texts, %.1f MB; README.md is the data-set card", page, page.stat().st_size / 1e6)
