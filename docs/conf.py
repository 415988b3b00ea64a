"""Sphinx configuration of the documentation site; make docs builds it."""

from pathlib import Path
from typing import Any

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

import lwexp

project = "lwexp"
author = "the lwexp authors"
version = release = lwexp.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_site"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"

html_theme = "sphinx_book_theme"
html_title = "lwexp"
html_show_sourcelink = False
html_theme_options: dict[str, Any] = {
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "navbar_persistent": [],
}
highlight_language = "text"
copyright = "the lwexp authors, Apache-2.0"


class PathsOutside(SphinxTransform):
    """Show links to files outside docs/ as paths. They work where the repository is browsed; the site has no copy."""

    default_priority = 1  # before MyST resolves links

    def apply(self, **_: Any) -> None:
        for link in list(self.document.findall(nodes.reference)) + list(self.document.findall(_is_pending)):
            target = link.get("refuri") or link.get("reftarget") or ""
            if target.startswith("../"):
                path = (Path(self.env.doc2path(self.env.docname)).parent / target).resolve()
                shown = path.relative_to(Path(self.env.srcdir).parent.resolve())
                link.replace_self(nodes.literal(text=str(shown)))


def _is_pending(node: nodes.Node) -> bool:
    return node.tagname == "pending_xref"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_lexer(
        "mermaid", TextLexer
    )  # drawn where the repository is browsed; its own extension loads a script from a CDN
    app.add_transform(PathsOutside)
