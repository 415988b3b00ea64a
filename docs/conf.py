"""Sphinx configuration of the documentation site; make docs builds it.

The English pages are built from docs/. With the tag zh, the Chinese pages are built from docs/zh/ into the same site's
folder zh/.
"""

import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.search.zh import SearchChinese
from sphinx.transforms import SphinxTransform

import lwexp

sys.path.insert(0, str(Path(__file__).parent))
from translations import DOCS, english_page, is_stale

IS_CHINESE: bool = tags.has("zh")  # noqa: F821  Sphinx defines tags

project = "lwexp"
author = "the lwexp authors"
version = release = lwexp.__version__
language = "zh_CN" if IS_CHINESE else "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_site", "zh"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"

html_theme = "sphinx_book_theme"
html_title = "lwexp"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["languages.css"]
html_theme_options: dict[str, Any] = {
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "navbar_persistent": [],
}
highlight_language = "text"
copyright = "the lwexp authors, Apache-2.0"


class LinksOutside(SphinxTransform):
    """Links to files outside the folder of this build. They work as they are where the repository is browsed.

    On the site, a Chinese page's link to a page that exists only in English leads there, and folders outside docs/ are
    shown as paths, because the site has no copy of them.
    """

    default_priority = 1  # before MyST resolves links

    def apply(self, **_: Any) -> None:
        page = Path(self.env.doc2path(self.env.docname))
        for link in list(self.document.findall(nodes.reference)) + list(self.document.findall(_is_pending)):
            target = link.get("refuri") or link.get("reftarget") or ""
            if target.startswith(f"{DOCS}/"):  # MyST's target of a page outside the folder that is built: its path
                uri = f"{_up(self.env.docname)}../{Path(target).relative_to(DOCS)}.html"
                anchor = f"#{link['reftargetid']}" if link.get("reftargetid") else ""
                link.replace_self(nodes.reference("", "", *link.children, refuri=uri + anchor))
            elif target.startswith("../") and (path := (page.parent / target).resolve()).exists():
                link.replace_self(nodes.literal(text=str(path.relative_to(DOCS.parent))))


class OtherLanguage(SphinxTransform):
    """Put a link to the same page in the other language on top, and a note if a translation is older than its page."""

    default_priority = 2

    def apply(self, **_: Any) -> None:
        name = self.env.docname
        page = Path(self.env.doc2path(name))
        if IS_CHINESE:
            uri, text = f"{_up(name)}../{name}.html", "English"
            self.env.note_dependency(str(english_page(page)))
        else:
            uri, text = f"{_up(name)}zh/{name}.html", "中文"
            if not (DOCS / "zh" / f"{name}.md").exists():
                return
        link = nodes.paragraph("", "", nodes.reference(text, text, refuri=uri), classes=["other-language"])
        self.document.insert(0, link)
        if IS_CHINESE and is_stale(page):
            english = nodes.reference("英文页面", "英文页面", refuri=uri)
            self.document.insert(
                1, nodes.warning("", nodes.paragraph("", "", english, nodes.Text("较新，以英文为准。")))
            )


class ChineseSearch(SearchChinese):
    """Find Chinese text by pairs of neighbouring characters, so that no dictionary is needed."""

    language_name = "English"  # the stemmer's name in the page; Sphinx's own class names one that does not exist
    js_splitter_code = r"""
function splitQuery(query) {
  const words = query.match(/[\u4e00-\u9fff]+|[a-zA-Z0-9_]+/g) || [];
  return words.flatMap((word) => /[\u4e00-\u9fff]/.test(word) && word.length > 1
    ? Array.from({length: word.length - 1}, (_, i) => word.slice(i, i + 2)) : [word]);
}
"""

    def split(self, input: str) -> list[str]:
        pairs = [
            input[i : i + 2] for i in range(len(input) - 1) if all("\u4e00" <= c <= "\u9fff" for c in input[i : i + 2])
        ]
        return pairs + super().split(input)


def _up(docname: str) -> str:
    """From a page to the top folder of its build."""
    return "../" * docname.count("/")


def _is_pending(node: nodes.Node) -> bool:
    return node.tagname == "pending_xref"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_lexer(
        "mermaid", TextLexer
    )  # drawn where the repository is browsed; its own extension loads a script from a CDN
    app.add_transform(LinksOutside)
    app.add_transform(OtherLanguage)
    app.add_search_language(ChineseSearch)
