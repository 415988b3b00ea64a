"""How a figure becomes inline SVG: one style, page colours, two widths; matplotlib is imported here only.

Colours leave matplotlib as light-theme hex values and enter the page as CSS variables, so the same figure
serves the light, the dark and the printed page. Text stays text, in the page's own font. Each figure is
drawn twice, at the width of a desktop column and of a phone, so that labels keep their size on both.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from markupsafe import Markup, escape

INK, MUTED, LINE, PAPER = "#1c2126", "#5a636d", "#dcdfe3", "#ffffff"
# Okabe and Ito's colours, the light ones darkened to 3:1 on white; colour-blind readers can tell them apart.
# Each with its counterpart on the dark page. Markers and dashes repeat the distinction without colour.
COLOURS = (
    ("#0072b2", "#58aee6"),
    ("#c75300", "#ff9248"),
    ("#008a65", "#38c79b"),
    ("#b0558c", "#e79bc6"),
    ("#8f6a10", "#e0b54a"),
    ("#2f8fc4", "#8bd0f6"),
    ("#5d3a9b", "#b095e8"),
    ("#5f6670", "#a9b1ba"),
)
# Beyond eight models, colour can only show a model's place in the order: dark blue to orange,
# rising in lightness all the way, which colour-blind readers and printers keep.
_RAMP = (
    ((18, 52, 104), (84, 120, 196)),
    ((86, 62, 150), (142, 122, 214)),
    ((160, 62, 128), (206, 122, 176)),
    ((206, 82, 72), (240, 150, 130)),
    ((196, 124, 20), (246, 206, 110)),
)
# Marks of the figures, as SVG paths for legends in a box of 12 by 12.
MARK_PATHS = {
    "o": "M1.5 6a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
    "^": "M6 1.2L11 10.4H1z",
    "s": "M1.8 1.8h8.4v8.4H1.8z",
    "D": "M6 .8L11.2 6L6 11.2L.8 6z",
    "v": "M6 10.8L1 1.6h10z",
    "P": "M4.2 1h3.6v3.2H11v3.6H7.8V11H4.2V7.8H1V4.2h3.2z",
    "X": "M3.2 1L6 3.8L8.8 1L11 3.2L8.2 6L11 8.8L8.8 11L6 8.2L3.2 11L1 8.8L3.8 6L1 3.2z",
}
MARKERS = tuple(MARK_PATHS)

_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)", PAPER: "var(--card)"}
# Width in CSS pixels and font size of the two drawings of every figure.
WIDTHS = {"wide": (520, 12.0), "narrow": (340, 11.0)}


class Picture(NamedTuple):
    """One figure of the page. ``places`` are the models in its legend, as indices of the group's order."""

    title: str
    caption: str
    svg: Markup
    places: tuple[int, ...]
    is_large: bool


def colour(place: int) -> str:
    """Placeholder for the colour of the model at this place; it becomes the CSS variable ``--m<place>``."""
    return f"#ee{place:04x}"


def palette(count: int) -> list[tuple[str, str]]:
    """Light-theme and dark-theme colour of each model."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    return [(_on_ramp(place / (count - 1), 0), _on_ramp(place / (count - 1), 1)) for place in range(count)]


def _on_ramp(position: float, theme: int) -> str:
    step = min(int(position * (len(_RAMP) - 1)), len(_RAMP) - 2)
    part = position * (len(_RAMP) - 1) - step
    low, high = _RAMP[step][theme], _RAMP[step + 1][theme]
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in zip(low, high, strict=True))


def marker(index: int) -> str:
    return MARKERS[index % len(MARKERS)]


def word_steps(low: float, high: float) -> list[int]:
    """Ticks for a logarithmic axis in words: 1-2-5, or powers of ten if that would give more than eight."""
    steps = [base * 10**power for power in range(7) for base in (1, 2, 5) if low <= base * 10**power <= high]
    return [step for step in steps if str(step).startswith("1")] if len(steps) > 8 else steps


def tick_words(axis: Any, ticks: Sequence[int]) -> None:
    """Label an axis at these word counts and nowhere else."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:,.0f}")


def word_axes(
    axes: Any, x: tuple[float, float], y: tuple[float, float], xlabel: str, ylabel: str, *, ticks: Sequence[int] = ()
) -> None:
    """Logarithmic axes in words with a dashed line where both are the same.

    Args:
        axes: matplotlib axes.
        x: Ends of the horizontal axis.
        y: Ends of the vertical axis.
        xlabel: Label of the horizontal axis.
        ylabel: Label of the vertical axis.
        ticks: Ticks of the horizontal axis; ``word_steps`` if none or more than eight are given.
    """
    ends = min(*x, *y), max(*x, *y)
    axes.plot(ends, ends, color=MUTED, linewidth=1, dashes=(5, 4), zorder=1)
    axes.set(xscale="log", yscale="log", xlim=x, ylim=y, xlabel=xlabel, ylabel=ylabel)
    tick_words(axes.xaxis, ticks if 0 < len(ticks) <= 8 else word_steps(*x))
    tick_words(axes.yaxis, word_steps(*y))


def panels(figure: Any, count: int, *, is_narrow: bool, sharey: bool = False) -> list[Any]:
    """Axes side by side, or one below the other on a phone."""
    return list(figure.subplots(*((count, 1) if is_narrow else (1, count)), squeeze=False, sharey=sharey).flat)


def dots(axes: Any, points: Sequence[tuple[float, float]], shade: str) -> None:
    """Many round dots as one path of round caps: 6,000 take 160 kB; as markers they would take 480 kB."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not points:
        return
    to_pixels = axes.transData.transform(points)
    kept = {(round(x), round(y)): point for point, (x, y) in zip(points, to_pixels, strict=True)}.values()
    path = Path([end for x, y in kept for end in ((x, y), (x, y))], [Path.MOVETO, Path.LINETO] * len(kept))
    path.should_simplify = False
    axes.add_patch(PathPatch(path, fill=False, edgecolor=shade, linewidth=4.5, capstyle="round", alpha=0.5))


def picture(
    title: str,
    caption: str,
    alt: str,
    draw: Callable[[Any, bool], None],
    *,
    height: int,
    places: Sequence[int] = (),
    is_large: bool = False,
    large_height: int | None = None,
) -> Picture:
    """Draw a figure for both widths.

    Args:
        title: Heading above it.
        caption: How to read it.
        alt: What it shows, for readers who cannot see it.
        draw: Called with an empty matplotlib Figure and whether this is the narrow drawing; adds the axes.
        height: CSS pixels.
        places: Models for the legend.
        is_large: Whether it takes a whole row of the page instead of half of one.
        large_height: Height of the whole-row drawing; None for the same.
    """
    drawings = []
    for name, (width, font) in WIDTHS.items():
        drawn_height = height
        if is_large and name == "wide":
            width, drawn_height = 2 * width + 54, large_height or height
        svg = _svg(draw, (width, drawn_height), font, name == "narrow", salt=name)
        opening = f'<svg class="{name}" role="img" aria-label="{escape(alt)}" viewBox="0 0 {width} {drawn_height}">'
        drawings.append(f"{opening}{svg}</svg>")
    return Picture(title, caption, Markup("".join(drawings)), tuple(places), is_large)


def with_own_ids(pictures: Sequence[Picture], prefix: str) -> list[Picture]:
    """The pictures with ids unique on the page; matplotlib derives its ids from the content, so they can repeat."""
    own = re.compile(r'(\bid="|#)([mp][0-9a-f]{10})\b')
    # str() first: re.sub on a Markup would escape the pieces when it joins them.
    return [
        figure._replace(svg=Markup(own.sub(rf"\1{prefix}-{index}-\2", str(figure.svg))))
        for index, figure in enumerate(pictures)
    ]


def as_file(figure: Picture) -> str:
    """The wide drawing as an SVG file: light colours on white, for pages that show images as they are."""
    wide = str(figure.svg).split("</svg>", 1)[0] + "</svg>\n"
    places = [int(place) for place in re.findall(r"var\(--m(\d+)\)", wide)]
    values = {f"--m{place}": light for place, (light, _) in enumerate(palette(max(places, default=0) + 1))}
    values |= {name[4:-1]: shade for shade, name in _VARIABLES.items()} | {"--sans": "sans-serif"}
    wide = re.sub(r"var\((--\w+)\)", lambda match: values[match[1]], wide)
    box = re.search(r'viewBox="0 0 (\d+) (\d+)">', wide)
    assert box is not None
    size = f'width="{box[1]}" height="{box[2]}"'
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return wide.replace(box[0], f'{spaces} {size} {box[0]}<rect {size} fill="{PAPER}"/>', 1)


def _svg(draw: Callable[[Any, bool], None], size: tuple[int, int], font: float, is_narrow: bool, *, salt: str) -> str:
    """What is between <svg> and </svg>, with page colours and without ids that could clash."""
    import matplotlib

    with _short_docstrings():
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none", "svg.hashsalt": salt, "text.parse_math": False, "font.size": font,
        "axes.edgecolor": LINE, "axes.labelcolor": MUTED, "axes.spines.top": False, "axes.spines.right": False,
        "axes.axisbelow": True, "axes.titlesize": font, "axes.labelsize": font, "axes.titlecolor": INK,
        "text.color": INK, "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelsize": font,
        "ytick.labelsize": font, "axes.grid": True, "grid.color": LINE, "grid.linewidth": 0.8,
        "xtick.major.size": 0, "ytick.major.size": 0, "xtick.minor.size": 0, "ytick.minor.size": 0,
        "axes.facecolor": "none", "axes.titlelocation": "left", "lines.solid_capstyle": "round", "path.simplify": True,
    }  # fmt: skip
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # The browser draws the text in the page's font. Chinese glyphs missing in matplotlib's font affect only its
        # layout.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        figure.patch.set_alpha(0)
        draw(figure, is_narrow)
        out = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(out, metadata=nothing)  # savefig would draw it twice
    return _for_the_page(out.getvalue())


@contextmanager
def _short_docstrings() -> Iterator[None]:
    """Within this context matplotlib lists no properties in its classes' docstrings, a quarter of its import's time."""
    from matplotlib import artist as artists

    listed = artists.kwdoc
    artists.kwdoc = lambda artist: ""
    try:
        yield
    finally:
        artists.kwdoc = listed


def _for_the_page(svg: str) -> str:
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    # The style element would apply to the whole page.
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"<[^>]+>", lambda tag: _tag(tag[0]), body)
    return re.sub(r"\s*\n\s*", "\n", body).strip()


def _tag(tag: str) -> str:
    """One tag for the page. Labels are between tags and stay as they are: 0.001 must not become 0.00."""
    tag = re.sub(r'^<g id="[^"]*"', "<g", tag)
    tag = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", tag)
    # Seven decimals would be a third of the file; a hundredth of a pixel cannot be seen.
    tag = re.sub(r"(\d+\.\d{2})\d+", r"\1", tag)
    tag = re.sub(r"#ee([0-9a-f]{4})\b", lambda match: f"var(--m{int(match[1], 16)})", tag)
    return re.sub(r"#[0-9a-f]{6}\b", lambda match: _VARIABLES.get(match[0], match[0]), tag)
