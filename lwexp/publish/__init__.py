"""publish: what a run leaves behind for people and for other tools.

Reads the conversations, pairs, drafts and failures of one finished data, import or pairs run. Writes a data-set card
(README.md) and a page to read the texts in (viewer.html) into that run's directory, and copies in the shapes of TRL,
LLaMA-Factory and ms-swift wherever the user wants them. Never touches a row's content, a model or the network.
"""

from lwexp.publish.export import export_run

__all__ = ["export_run"]
