"""The prompts of a bench for another evaluation tool."""

from collections.abc import Mapping
from typing import NamedTuple

from lwexp.benches.select import load_bench
from lwexp.config import compose
from lwexp.config.evaluate import SampleConfig
from lwexp.extend.word_range import WordRange
from lwexp.records import Prompt


class Asked(NamedTuple):
    """What a task asks, and how answers are decoded unless its user changes that."""

    prompts: list[Prompt]
    ranges: tuple[WordRange, ...]
    """Required lengths by which tables are divided."""
    decoding: SampleConfig

    def range_of(self, prompt: Prompt) -> str:
        """Label of the range that the prompt's required length belongs to."""
        return next((part.label for part in self.ranges if prompt.required_words in part), "outside all ranges")


def load_asked(bench: str, settings: Mapping[str, object]) -> Asked:
    """Load a bench as ``lwexp evaluate`` does.

    Args:
        bench: Its name in lwexp/conf/bench, such as longbench_write.
        settings: Keys of ``bench`` (path, range, language, type, subset, ...) with values; None leaves the default.

    Raises:
        LwexpError: If a value is wrong, or the file is missing or not the published one.
    """
    given = [f"bench.{key}={value}" for key, value in settings.items() if value is not None]
    config = compose(f"bench={bench}", *given)
    return Asked(load_bench(config.bench), config.bench.ranges, config.sample)
