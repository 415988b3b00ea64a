"""Reads the runs of make study-real: how long the answers of each model are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from lwexp.report.cap_fit import CapFit, fit_line
from lwexp.report.evaluations import Evaluation
from lwexp.report.load import load
from lwexp.stats.intervals import RESAMPLES, Interval


class Statistic(NamedTuple):
    """A number that sums up the lengths of a model's answers."""

    of: Callable[[Any], float]
    without_loops: bool = False
    """Whether loops and next turns played by the model are cut off before words are counted."""


STATISTICS = {
    "mean": Statistic(lambda lengths: float(np.mean(lengths))),
    "95th percentile": Statistic(lambda lengths: float(np.percentile(lengths, 95))),
    "longest": Statistic(lambda lengths: float(np.max(lengths))),
    "longest without loops": Statistic(lambda lengths: float(np.max(lengths)), without_loops=True),
}


class Cell(NamedTuple):
    """One trained model, or the untouched one, and how long its answers are."""

    evaluation: Evaluation
    seed: int
    trained_up_to: int | None
    """Words of the longest training answer; None for the untouched model."""

    @property
    def lengths(self) -> dict[str, int]:
        """Prompt id -> words."""
        return {each.response.prompt_id: each.response.words for each in self.evaluation.came}

    @property
    def clean_lengths(self) -> dict[str, int]:
        """The same without loops and next turns."""
        return {
            each.response.prompt_id: each.response.words if each.clean_words is None else each.clean_words
            for each in self.evaluation.came
        }

    def lengths_for(self, name: str) -> dict[str, int]:
        """The lengths that a statistic is of."""
        return self.clean_lengths if STATISTICS[name].without_loops else self.lengths

    @property
    def cut(self) -> int:
        """Answers that reached the limit of new tokens."""
        return self.evaluation.total.n_cut or 0


class Setting(NamedTuple):
    """All seeds of one cap."""

    trained_up_to: int | None
    cells: tuple[Cell, ...]

    @property
    def label(self) -> str:
        return "untouched" if self.trained_up_to is None else f"up to {self.trained_up_to} words"

    def values(self, name: str) -> list[float]:
        """A statistic of each seed's answers."""
        return [STATISTICS[name].of(list(cell.lengths_for(name).values())) for cell in self.cells]

    def interval(self, name: str) -> Interval:
        """95% bootstrap interval of the mean over seeds; prompts are drawn, the same ones for each seed."""
        prompts = sorted(set.intersection(*(set(cell.lengths) for cell in self.cells)))
        answers = np.array([[cell.lengths_for(name)[prompt] for cell in self.cells] for prompt in prompts])
        draws = np.random.default_rng(0).integers(0, len(prompts), size=(RESAMPLES, len(prompts)))
        of = STATISTICS[name].of
        drawn_means = [fmean(of(answers[drawn, seed]) for seed in range(len(self.cells))) for drawn in draws]
        low, high = np.percentile(drawn_means, [2.5, 97.5])
        return float(low), float(high)

    @property
    def beyond(self) -> float:
        """Share of the answers that are longer than the longest training answer."""
        assert self.trained_up_to is not None
        return fmean(length > self.trained_up_to for cell in self.cells for length in cell.lengths.values())

    def by_request(self) -> dict[int, float]:
        """Words asked for -> mean words written."""
        found: dict[int, list[int]] = {}
        for cell in self.cells:
            for each in cell.evaluation.came:
                found.setdefault(each.response.required_words or 0, []).append(each.response.words)
        return {asked: fmean(lengths) for asked, lengths in sorted(found.items())}


class Study(NamedTuple):
    """Settings by cap, the untouched model last, and how each statistic depends on the cap."""

    trained: tuple[Setting, ...]
    untouched: Setting | None
    fits: Mapping[str, CapFit | None]

    @property
    def settings(self) -> tuple[Setting, ...]:
        return (*self.trained, *([self.untouched] if self.untouched else []))


def read_study(folder: Path) -> Study:
    """Every finished evaluation below ``folder``."""
    cells = [
        Cell(each, int(each.train_config.get("seed", 0)), each.max_train_words)
        for each in load([folder]).evaluations
        if each.came
    ]
    caps = sorted({cell.trained_up_to for cell in cells if cell.trained_up_to is not None})
    trained = tuple(_setting(cells, cap) for cap in caps)
    plain = _setting(cells, None)
    points = {
        name: [(float(each.trained_up_to or 0), y) for each in trained for y in each.values(name)]
        for name in STATISTICS
    }
    return Study(trained, plain if plain.cells else None, {name: fit_line(each) for name, each in points.items()})


def _setting(cells: Sequence[Cell], cap: int | None) -> Setting:
    own = [cell for cell in cells if cell.trained_up_to == cap]
    return Setting(cap, tuple(sorted(own, key=lambda cell: cell.seed)))
