"""LongWrite-Ruler in miniature: the same topics at every length, generated when needed."""

from typing import Literal

from pydantic import Field

from lwexp.extend import Bench, register
from lwexp.records import Language, Prompt

# Seed of the phrasings. Not the run's seed, because compared runs must be asked the same prompts.
_SEED = 0


@register
class RulerBench(Bench):
    """Topics x required lengths x languages, from the offline topics."""

    kind: Literal["ruler"] = "ruler"
    required_words: tuple[int, ...] = Field(min_length=1)
    """Lengths asked for, in words."""
    topics: int = Field(ge=1, le=8)
    """Topics per language and length."""
    languages: tuple[Language, ...] = Field(min_length=1)
    """Languages of the prompts."""

    def prompts(self) -> list[Prompt]:
        """All prompts; ``ruler-en-3-200`` asks for 200 words on the third English topic."""
        from lwexp.llm.offline.grammar import BENCH_TOPICS, instruction_text

        return [
            Prompt(
                id=f"ruler-{language}-{number}-{words}",
                text=instruction_text(topic=topic, words=words, language=language, seed=_SEED),
                language=language,
                type="ruler",
                required_words=words,
            )
            for language in self.languages
            for number, topic in enumerate(BENCH_TOPICS[language][: self.topics], start=1)
            for words in self.required_words
        ]
