"""Renders one HTML file from templates, with one style sheet and one script.

The page's content security policy allows only that script, by its hash. Large texts may lie in files beside the page.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from lwexp.pages import display
from lwexp.pages.drawing import MARK_PATHS, MARKERS, marker, palette
from lwexp.pages.text_files import TextFiles
from lwexp.text.plain import visible

_TEMPLATES = Path(__file__).parent / "templates"
_READER = (_TEMPLATES / "search.js", _TEMPLATES / "reader.js")
_NAME = Markup('<span class="name" style="--c:var(--m{})">{}</span>')


def render(
    template: Path,
    *,
    labels: Mapping[int, str],
    packed: Sequence[str] = (),
    texts: TextFiles | None = None,
    places: Mapping[str, int] | None = None,
    all_dots: bool = False,
    script: Path | None = None,
    **values: Any,
) -> str:
    """A page as text.

    Every value passes ``visible`` and jinja2's escaping on its way out; only markup made by this package (figures)
    is exempt.

    Args:
        template: The page's own template; it extends ``page.html``.
        labels: Place (index of a colour in the palette) -> the model or language drawn in this colour.
        packed: Index and blocks of ``Packer``.
        texts: The blocks as files beside the page; None puts them into it.
        places: Model's name -> its place, for names inside sentences.
        all_dots: Whether every mark is a round dot, for figures that distinguish series by colour alone.
        script: A script of the page's own, which may ask the page's server for more; None for the one that all files
            share.
        values: What the template shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, _TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = ("score", "share", "signed", "span", "words", "dollars", "duration", "hours", "plural")
    environment.filters |= {name: getattr(display, name) for name in shown} | {"subscripts": subscripts}
    # A minus as wide as the plus, as ``signed`` has it; files and terminals keep the hyphen.
    environment.filters["span"] = lambda *values: display.span(*values).replace("-", "\N{MINUS SIGN}")
    environment.filters["count"] = "{:,}".format
    environment.filters["sentence"] = lambda text: _sentence(text, places or {})
    environment.globals.update(
        mark=lambda place: _mark(place, MARKERS[0] if all_dots else marker(place)), languages=display.LANGUAGES
    )
    code = "".join(path.read_text(encoding="utf-8") for path in ((script,) if script else _READER))
    style = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    return environment.get_template(
        template.name
    ).render(
        policy=Markup(
            _policy(code, loads=texts is not None, asks=script is not None)
        ),  # safe, like the next two; escaping would invalidate the hash
        style=Markup(style),
        script=Markup(code),
        colours=palette(len(labels)),
        labels={place: visible(label) for place, label in labels.items()},
        packed=[Markup(block) for block in (packed if texts is None else packed[:1])],  # base64
        beside=texts,
        **values,
    )


def _policy(script: str, *, loads: bool, asks: bool) -> str:
    """The page may run this one script and load nothing. An injected script would have another hash.

    With ``loads``, the script may start others, the files of texts; a script in the page's markup still may not run.
    With ``asks``, it may send requests to the server that the page came from.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    further = " 'strict-dynamic'" if loads else ""
    server = " connect-src 'self';" if asks else ""
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'{further};{server} style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )


def _finalize(value: Any) -> Any:
    """What jinja2 prints for a value, before escaping: a dash for None, no hidden characters in text."""
    if value is None:
        return display.NO_VALUE
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _mark(place: int, shape: str) -> Markup:
    """A model's mark, for legends, tables and cards; decorative, because the name always follows it."""
    return Markup(
        '<svg class="mark" viewBox="0 0 12 12" aria-hidden="true"><path d="{}" fill="var(--m{})"/></svg>'
    ).format(MARK_PATHS[shape], place)


def _sentence(text: str, places: Mapping[str, int]) -> Markup:
    """A sentence with its names underlined in their models' colours, and the names of scores with their subscripts."""
    return Markup("").join(
        _NAME.format(places.get(piece, 0), visible(piece)) if is_name else subscripts(piece)
        for piece, is_name in display.split_names(text)
    )


def subscripts(text: str) -> Markup:
    """The text with subscripts in S_l and S_q, escaped; reader.js does the same."""
    return Markup(re.sub(r"\b([A-Z])_([a-z]+)\b", r"\1<sub>\2</sub>", str(escape(visible(text)))))
