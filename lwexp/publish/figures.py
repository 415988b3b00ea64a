"""The viewer's figures: lengths, written against requested words, and the gaps of pairs. Colours are languages."""

from collections.abc import Iterable, Sequence
from typing import Any

from lwexp.pages.display import LANGUAGES
from lwexp.pages.drawing import MUTED, Picture, colour, dots, picture, tick_words, word_axes, word_steps

_PLACES = {language: place for place, language in enumerate(LANGUAGES)}
_HEIGHT = 290
_BINS = 24


def asked_against_written(points: Sequence[tuple[int, int, str]]) -> Picture:
    """Scatter on logarithmic axes. In the shaded band S_l is at least 80: 1/1.4 to 1.6 times the requested length."""
    placed = [(asked, max(words, 1), language) for asked, words, language in points]
    low = 0.8 * min(min(x, y) for x, y, _ in placed)
    high = max(1.25 * max(max(x, y) for x, y, _ in placed), 4 * low)  # the band needs room
    ends = (low, high)

    def draw(figure: Any, _: bool) -> None:
        axes = figure.subplots()
        axes.fill_between(ends, [x / 1.4 for x in ends], [x * 1.6 for x in ends], color=MUTED, alpha=0.15, linewidth=0)
        word_axes(axes, ends, ends, "words asked for", "words written")
        _cloud(axes, placed)

    caption = "One dot per text, both axes logarithmic. Dashed: as long as asked. Shaded: S_l of at least 80."
    alt = "Words asked for against words written, one dot per text"
    return picture(
        "Asked for, and written", caption, alt, draw, height=_HEIGHT, places=_places(own for *_, own in points)
    )


def lengths(words: Sequence[tuple[int, str]]) -> Picture:
    """Texts by their length, in bins of equal ratio, languages stacked."""
    counted = {language: [max(n, 1) for n, own in words if own == language] for language in _PLACES}
    low, high = (float(bound(n for found in counted.values() for n in found)) for bound in (min, max))
    low, high = (low / 1.4, high * 1.4) if high / low < 2 else (low, high * 1.001)

    def draw(figure: Any, is_narrow: bool) -> None:
        axes = figure.subplots()
        bins = _BINS // 2 if is_narrow else _BINS
        edges = [low * (high / low) ** (step / bins) for step in range(bins + 1)]
        shades = [colour(place) for place in _PLACES.values()]
        axes.set(xscale="log", xlabel="words", ylabel="texts")
        axes.hist(list(counted.values()), bins=edges, stacked=True, color=shades, rwidth=0.92)
        tick_words(axes.xaxis, word_steps(low, high))
        axes.yaxis.get_major_locator().set_params(integer=True)

    caption = "Logarithmic axis; each bin is wider than the one before by the same factor."
    return picture("Lengths", caption, "Texts by their length in words", draw, height=_HEIGHT,
                   places=_places(language for _, language in words))  # fmt: skip


def gaps(points: Sequence[tuple[int, float, str]]) -> Picture:
    """Score gap (vertical) against length gap. Right of zero the chosen answer is the longer one."""
    reach = max(max(abs(x) for x, _, _ in points), 1) * 1.06

    def draw(figure: Any, _: bool) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=MUTED, linewidth=1, dashes=(5, 4))
        axes.set(xlim=(-reach, reach), xlabel="words of chosen minus words of rejected", ylabel="score gap")
        axes.set_ylim(min(0, *(y * 1.06 for _, y, _ in points)), max(1, *(y * 1.06 for _, y, _ in points)))
        _cloud(axes, points)

    longer = sum(x > 0 for x, _, _ in points)
    caption = (
        f"One dot per pair. Right of the dashed line the chosen answer is the longer one: {longer:,} of "
        f"{len(points):,} pairs ({100 * longer / len(points):.0f}%)."
    )
    alt = "Score gap against length gap, one dot per pair"
    return picture("Score gap against length gap", caption, alt, draw, height=_HEIGHT,
                   places=_places(language for *_, language in points))  # fmt: skip


def _cloud(axes: Any, points: Sequence[tuple[float, float, str]]) -> None:
    for language, place in _PLACES.items():
        dots(axes, [(x, y) for x, y, own in points if own == language], colour(place))


def _places(languages: Iterable[str]) -> list[int]:
    return sorted({_PLACES[language] for language in languages})
