"""The text grammar of the offline stand-in teacher: pure, deterministic by seed, English and Chinese.

Its sentences are in grammar.yaml. The same arguments give the same text on every machine.
"""

import random
from itertools import product
from pathlib import Path
from typing import NamedTuple

import yaml

from lwexp.records import Language
from lwexp.text.words import count_words

_ATTEMPTS = 60  # draws per paragraph; the first one close enough wins, otherwise the closest
_CLOSE_ENOUGH = 0.04  # relative distance from the requested words at which drawing stops
_TOLERANCE = 0.1  # relative excess over the requested words that no sentence may cause
_SHORTEST_PART = 15  # words; below this no sentence mix fits


class _Grammar(NamedTuple):
    """One language of grammar.yaml."""

    openers: list[str]
    last_openers: list[str]
    bodies: list[str]
    closers: list[str]
    slots: dict[str, list[str]]
    points: list[str]
    instructions: list[str]
    subject: str
    later: str
    joiner: str
    views: list[str]
    things: list[str]


_GRAMMARS: dict[Language, _Grammar] = {
    language: _Grammar(**entries)
    for language, entries in yaml.safe_load((Path(__file__).parent / "grammar.yaml").read_text("utf-8")).items()
}


def _topics(language: Language, *, bench: bool) -> tuple[str, ...]:
    """Topics of training, or of the bench: eight combinations that training never sees, of parts that it does see."""
    grammar = _GRAMMARS[language]
    return tuple(
        f"{view} {thing}" if language == "en" else f"{thing}{view}"
        for (t, thing), (v, view) in product(enumerate(grammar.things), enumerate(grammar.views))
        if (t < 8 and v == t % 4) is bench
    )


TOPICS = {language: _topics(language, bench=False) for language in _GRAMMARS}
BENCH_TOPICS = {language: _topics(language, bench=True) for language in _GRAMMARS}


def write_paragraph(*, topic: str, part: int, parts: int, words: int, language: Language, seed: int) -> str:
    """A paragraph of about ``words`` words that says which part of the text it is; the last one closes the text."""
    if not 1 <= part <= parts:
        raise ValueError(f"part must lie in 1..{parts}, got {part}")
    grammar = _GRAMMARS[language]
    rng = random.Random(f"paragraph|{seed}|{language}|{topic}|{part}|{parts}|{words}")
    last = part == parts
    subject = topic if 2 * count_words(topic) <= words else grammar.subject
    best, best_miss = "", float("inf")
    for _ in range(_ATTEMPTS):
        opener = rng.choice(grammar.last_openers if last else grammar.openers)
        closer = [rng.choice(grammar.closers)] if last else []
        sentences = [opener.format(topic=subject, part=part, parts=parts)]
        total = sum(count_words(sentence) for sentence in (*sentences, *closer))
        deck: list[str] = []
        while total < words * (1 - _CLOSE_ENOUGH):
            deck = deck or rng.sample(grammar.bodies, len(grammar.bodies))
            sentence = deck.pop().format(**{slot: rng.choice(choices) for slot, choices in grammar.slots.items()})
            length = count_words(sentence)
            if total + length <= words * (1 + _TOLERANCE):
                sentences.append(sentence)
                total += length
            elif not deck:
                break
        miss = abs(total - words)
        if miss < best_miss:
            best, best_miss = grammar.joiner.join((*sentences, *closer)), miss
        if miss <= words * _CLOSE_ENOUGH:
            break
    return best


def plan_points(
    *, topic: str, words: int, paragraph_words: int, length_noise: float, language: Language, seed: int
) -> list[tuple[str, int]]:
    """Different main points with word counts; like a real teacher's, they miss ``words`` by up to ``length_noise``."""
    rng = random.Random(f"plan|{seed}|{language}|{topic}|{words}|{paragraph_words}|{length_noise}")
    total = words * (1 + rng.uniform(-length_noise, length_noise))
    parts = max(1, round(total / paragraph_words))
    share = max(_SHORTEST_PART, round(total / parts))
    grammar = _GRAMMARS[language]
    pool = sorted(
        {
            template.format(**dict(zip(grammar.slots, choices, strict=True)))
            for template, *choices in product(grammar.points, *grammar.slots.values())
        }
    )
    drawn = rng.sample(pool, min(parts, len(pool)))
    # A plan with more points than there are combinations repeats them, numbered.
    for index in range(len(pool), parts):
        drawn.append(grammar.later.format(point=drawn[index % len(pool)], round=index // len(pool) + 1))
    return [(point, share) for point in drawn]


def instruction_text(*, topic: str, words: int, language: Language, seed: int) -> str:
    """A request for a text about ``topic`` of a stated length, in one of several phrasings."""
    rng = random.Random(f"instruction|{seed}|{language}|{topic}|{words}")
    return rng.choice(_GRAMMARS[language].instructions).format(words=words, topic=topic)
