"""The viewer's pictures as SVG text: lengths, asked against written, and the gaps of pairs. No outside text in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

Point = tuple[float, float, str]  # x, y, language
_LANGUAGES = ("en", "zh")
_WIDE, _NARROW = (600, 300), (340, 260)  # viewBox sizes; text is 12 units in both
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 36


class Figure(NamedTuple):
    """A picture in two widths, with what it shows in words."""

    title: str
    wide: Markup
    narrow: Markup
    caption: str


def asked_against_written(points: Sequence[tuple[int, int, str]]) -> Figure:
    """Both axes logarithmic; the shaded band is S_l of at least 80: from 1/1.4 to 1.6 times the length asked for."""
    placed = [(math.log10(asked), math.log10(max(words, 1)), language) for asked, words, language in points]
    middle = [value for x, y, _ in placed for value in (x, y)]
    low, high = min(middle) - 0.1, max(middle) + 0.1
    high = max(high, low + 0.6)  # the band needs room
    above, below = math.log10(1.6), math.log10(1.4)

    def draw(size: tuple[int, int]) -> Markup:
        plot = _Plot(size, (low, high), (low, high))
        ticks = _decades(low, high, most=6)
        plot.polygon(
            "band",
            [
                (low, low),
                (low, low + above),
                (high - above, high),
                (high, high),
                (high, high - below),
                (low + below, low),
            ],
        )  # fmt: skip
        plot.axes(ticks, ticks, "words asked", "written")
        plot.line("ideal", (low, low), (high, high))
        plot.dots(placed)
        return plot.svg("Words asked against words written, one dot a text")

    caption = "One dot a text, logarithmic. Dashed: as long as asked. Shaded: S_l of at least 80." + _key(points)
    return Figure("Asked against written", draw(_WIDE), draw(_NARROW), caption)


def lengths(words: Sequence[tuple[int, str]]) -> Figure:
    """Texts by their length, in bins of equal ratio, languages stacked."""
    low, high = (math.log10(max(bound(n for n, _ in words), 1)) for bound in (min, max))
    low, high = (low - 0.15, high + 0.15) if high - low < 0.3 else (low, high + 1e-9)

    def draw(size: tuple[int, int]) -> Markup:
        bins = 24 if size is _WIDE else 14
        counts = {language: [0] * bins for language in _LANGUAGES}
        for n, language in words:
            place = int((math.log10(max(n, 1)) - low) / (high - low) * bins)
            counts[language][min(place, bins - 1)] += 1
        tallest = max(sum(column) for column in zip(*counts.values(), strict=True))
        plot = _Plot(size, (low, high), (0, tallest * 1.08))
        plot.axes(_decades(low, high, most=6), _round_steps(tallest, least=1), "words", "texts")
        width = (high - low) / bins
        for index in range(bins):
            below = 0
            for language in _LANGUAGES:
                above = below + counts[language][index]
                if above > below:
                    plot.bar(language, low + index * width, low + (index + 1) * width, below, above)
                below = above
        return plot.svg("Texts by their length in words")

    caption = "Bins of equal ratio." + _key([(0, 0, language) for _, language in words])
    return Figure("Lengths", draw(_WIDE), draw(_NARROW), caption)


def gaps(points: Sequence[tuple[int, float, str]]) -> Figure:
    """Length gap across, score gap up: a cloud to the right of zero means that chosen is mostly the longer answer."""
    reach = max(max(abs(x) for x, _, _ in points), 1) * 1.06
    top = max(max(y for _, y, _ in points), 1) * 1.06
    bottom = min(0.0, min(y for _, y, _ in points) * 1.06)

    def draw(size: tuple[int, int]) -> Markup:
        plot = _Plot(size, (-reach, reach), (bottom, top))
        sides = [(x, label) for x, label in _round_steps(reach, most=2 if size is _NARROW else 3) if x]
        across = [(-x, f"\N{MINUS SIGN}{label}") for x, label in reversed(sides)] + [(0.0, "0")] + sides
        plot.axes(across, _round_steps(top), "words of chosen less words of rejected", "score gap")
        plot.line("ideal", (0, bottom), (0, top))
        plot.dots(points)
        return plot.svg("Score gap against length gap, one dot a pair")

    longer = sum(x > 0 for x, _, _ in points)
    caption = (
        f"One dot a pair. Right of the dashed line chosen is the longer answer: {longer:,} of {len(points):,} pairs "
        f"({100 * longer / len(points):.0f}%)." + _key(points)
    )
    return Figure("Score gap against length gap", draw(_WIDE), draw(_NARROW), caption)


class _Plot:
    """A plane from data to the units of a viewBox."""

    def __init__(self, size: tuple[int, int], across: tuple[float, float], up: tuple[float, float]) -> None:
        self._size, self._across, self._up = size, across, up
        self._parts: list[str] = []

    def _x(self, value: float) -> float:
        low, high = self._across
        return _LEFT + (value - low) / (high - low) * (self._size[0] - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        low, high = self._up
        inside = min(max(value, low), high)
        return self._size[1] - _BOTTOM - (inside - low) / (high - low) * (self._size[1] - _TOP - _BOTTOM)

    def axes(
        self, across: Iterable[tuple[float, str]], up: Iterable[tuple[float, str]], across_name: str, up_name: str
    ) -> None:
        """Grid lines with their labels, and the two names."""
        width, height = self._size
        for value, label in up:
            y = self._y(value)
            self._parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{width - _RIGHT}"/>')
            self._parts.append(f'<text class="axis" x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        for value, label in across:
            x = self._x(value)
            self._parts.append(
                f'<text class="axis" x="{x:.1f}" y="{height - _BOTTOM + 16}" text-anchor="middle">{label}</text>'
            )
        middle = (_LEFT + width - _RIGHT) / 2
        self._parts.append(
            f'<text class="axis" x="{middle}" y="{height - 4}" text-anchor="middle">{across_name}</text>'
            f'<text class="axis" x="{_LEFT + 6}" y="{_TOP + 8}">{up_name}</text>'
        )

    def line(self, name: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        """A straight line."""
        (x1, y1), (x2, y2) = ((self._x(x), self._y(y)) for x, y in (start, end))
        self._parts.append(f'<path class="{name}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>')

    def polygon(self, name: str, corners: Sequence[tuple[float, float]]) -> None:
        """A filled area."""
        points = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in corners)
        self._parts.append(f'<polygon class="{name}" points="{points}"/>')

    def bar(self, name: str, left: float, right: float, below: float, above: float) -> None:
        """One bar, with a hair of space to the next."""
        x, y = self._x(left) + 0.5, self._y(above)
        self._parts.append(
            f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{self._x(right) - x - 0.5:.1f}" '
            f'height="{self._y(below) - y:.1f}"/>'
        )

    def dots(self, points: Iterable[Point]) -> None:
        """All dots of a language as one path of round caps: 6,000 take 60 kB, as circles they would take 400."""
        places: dict[str, dict[tuple[int, int], None]] = {language: {} for language in _LANGUAGES}
        for x, y, language in points:
            places[language][round(self._x(x)), round(self._y(y))] = None
        for language, at in places.items():
            if at:
                path = "".join(f"M{x} {y}h0" for x, y in at)
                self._parts.append(f'<path class="dots {language}" d="{path}"/>')

    def svg(self, label: str) -> Markup:
        """The picture. Every string in it is ours or a number."""
        width, height = self._size
        body = "".join(self._parts)
        return Markup(f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{body}</svg>')


def _decades(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """1, 2 and 5 times powers of ten; only powers of ten where those would be too many."""
    exponents = range(math.floor(low), math.ceil(high) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        values = [digit * 10.0**exponent for exponent in exponents for digit in digits]
        inside = [value for value in values if low <= math.log10(value) <= high]
        if len(inside) <= most:
            break
    return [(math.log10(value), f"{value:,.0f}") for value in inside]


def _round_steps(top: float, most: int = 4, least: float = 0.0) -> list[tuple[float, str]]:
    """0 and up to ``most`` round numbers up to ``top``, at least ``least`` apart."""
    step = next(
        digit * 10.0**exponent
        for exponent in range(-2, 9)
        for digit in (1, 2, 5)
        if top / (digit * 10.0**exponent) <= most and digit * 10.0**exponent >= least
    )
    return [(step * index, f"{step * index:,.10g}") for index in range(int(top / step) + 1)]


def _key(points: Iterable[tuple[float, float, str]]) -> str:
    """Which colour is which language, where both occur."""
    return " Blue: English, orange: Chinese." if len({language for _, _, language in points}) > 1 else ""
