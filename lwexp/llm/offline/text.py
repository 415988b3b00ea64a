"""The text grammar of the offline stand-in teacher: pure, deterministic by seed, English and Chinese.

It reads numbers and a topic and returns strings. It never touches files, the network, the clock or global random
state: the same arguments give the same text on every machine. The sentences are plain on purpose, so that a model of
a million parameters learns to write them and the length of its answers is what is left to watch.
"""

import random
from typing import Final, NamedTuple

from lwexp.records import Language
from lwexp.text.words import count_words

_ATTEMPTS: Final = 60  # draws a paragraph; the first close enough wins, otherwise the closest
_CLOSE_ENOUGH: Final = 0.04  # relative distance from the requested words at which drawing stops
_TOLERANCE: Final = 0.1  # relative distance that no sentence may push a paragraph past
_SHORTEST_PART: Final = 15  # words; below this no sentence mix fits


class _Grammar(NamedTuple):
    """What one language is written with; `{topic}`, `{part}`, `{parts}` and the slot names are filled in."""

    openers: tuple[str, ...]
    last_openers: tuple[str, ...]
    bodies: tuple[str, ...]
    closers: tuple[str, ...]
    slots: dict[str, tuple[str, ...]]
    points: tuple[str, ...]
    instructions: tuple[str, ...]
    subject: str  # said instead of a topic that is too long for the paragraph
    later: str  # tells repeated main points apart in very long plans
    joiner: str


# fmt: off
_EN: Final = _Grammar(
    openers=(
        "Part {part} of {parts} looks at {topic}.",
        "Part {part} of {parts} is about {topic}.",
        "Part {part} of {parts} considers {topic}.",
    ),
    last_openers=(
        "Part {part} of {parts} comes back to {topic}.",
        "Part {part} of {parts} ends with {topic}.",
    ),
    bodies=(
        "Most {people} know it well.", "It changes slowly.", "Many {people} learn about it {place}.",
        "A good example can be found {place}.", "Every year {people} find a new way to enjoy it.",
        "The reason is simple, and {people} often talk about it.", "It needs {virtue} and time.",
        "With a little {virtue}, anyone can begin {place}.", "For {people}, it is a source of {virtue}.",
        "Some {people} write about it, and others only watch.", "There is always a story to hear {place}.",
        "It also shows how {people} live and work together.",
        "What looks easy at first takes years of {virtue}.",
        "When the weather is good, {people} meet {place} to share what they know.",
        "Nobody can say where it began, but {people} still ask.",
        "The best questions come from {people} who have time to look closely.",
        "A small change can matter more than a big plan.",
        "Old books describe it with {virtue}, and new books add pictures.",
        "This is why {people} return to it again and again.", "It costs little and gives a lot.",
        "Both {people} and visitors agree that it brings {virtue}.",
        "Things are different {place}, where {people} follow older rules.",
    ),
    closers=(
        "Here the text ends.",
        "This is the end of the text.",
        "With this thought the text comes to its end.",
    ),
    slots={
        "people": ("farmers", "teachers", "children", "young families", "older people", "artists"),
        "place": ("at home", "in the city", "in small villages", "near the sea", "at school"),
        "virtue": ("patience", "care", "courage", "hope", "skill"),
    },
    points=(
        "How {people} see it {place}", "Why it brings {virtue} to {people}", "A day with {people} {place}",
        "Questions that {people} ask {place}", "Old customs that {people} keep {place}",
    ),
    instructions=(
        "Write a {words}-word article about {topic}.",
        "Please write about {words} words on {topic}.",
        "I need a text of {words} words about {topic}.",
        "Write {words} words about {topic}, please.",
    ),
    subject="this subject",
    later="{point}, round {round}",
    joiner=" ",
)

_ZH: Final = _Grammar(
    openers=(
        "共{parts}段，第{part}段谈{topic}。",
        "共{parts}段，第{part}段介绍{topic}。",
        "共{parts}段，第{part}段讲述{topic}。",
    ),
    last_openers=(
        "共{parts}段，第{part}段总结{topic}。",
        "共{parts}段，第{part}段回到{topic}。",
    ),
    bodies=(
        "{people}都喜欢。", "它很美。", "很多{people}在{place}了解它。", "{place}就有一个好例子。",
        "每年{people}都会找到新的乐趣。", "原因很简单，{people}也常常谈起。", "这需要{virtue}和时间。",
        "只要有一点{virtue}，谁都可以开始。", "对{people}来说，这里有{virtue}。",
        "有的{people}写下来，有的只是看看。", "在{place}总能听到新的故事。", "它也说明{people}怎样一起生活。",
        "看起来容易，其实要多年的{virtue}。", "天气好的时候，{people}会在{place}见面交流。",
        "没有人知道从哪里开始，但{people}还在问。", "好的问题来自愿意慢慢看的{people}。",
        "小小的改变比大的计划更重要。", "旧书里写满了{virtue}，新书里多了图画。",
        "所以{people}一次又一次回来。", "花得不多，得到的却不少。", "{people}和客人都说它带来{virtue}。",
        "在{place}不太一样，{people}有自己的做法。",
    ),
    closers=("全文完。", "文章就写到这里。", "这就是全文的最后一句话。"),
    slots={
        "people": ("农民", "老师", "孩子", "年轻人", "老人", "画家"),
        "place": ("家里", "城市", "小村子", "海边", "学校"),
        "virtue": ("耐心", "爱心", "勇气", "希望", "经验"),
    },
    points=(
        "{people}在{place}怎样看它", "它为什么给{people}带来{virtue}", "和{people}在{place}的一天",
        "{people}在{place}常问的问题", "{people}在{place}留下的习惯",
    ),
    instructions=(
        "请写一篇{words}字左右的关于{topic}的文章。",
        "请用{words}字介绍{topic}。",
        "写一篇关于{topic}的文章，大约{words}字。",
        "以{topic}为题，写{words}字。",
    ),
    subject="这个主题",
    later="{point}（{round}）",
    joiner="",
)
# fmt: on

_GRAMMARS: Final[dict[Language, _Grammar]] = {"en": _EN, "zh": _ZH}

# Topics are views crossed with things. The bench asks for crossings never trained on, made of parts that were.
_VIEWS: Final[dict[Language, tuple[str, ...]]] = {
    "en": ("the history of", "the future of", "the value of", "the beauty of"),
    "zh": ("的历史", "的未来", "的价值", "的故事"),
}
_THINGS: Final[dict[Language, tuple[str, ...]]] = {
    "en": (
        "tea", "bread", "rivers", "bridges", "city parks", "folk music", "old maps", "small gardens",
        "night trains", "public libraries", "village markets", "paper", "wooden boats", "mountain roads",
    ),
    "zh": (
        "茶", "面包", "河流", "桥梁", "城市公园", "民间音乐", "老地图", "小花园",
        "夜行火车", "图书馆", "乡村集市", "纸", "木船", "山路",
    ),
}  # fmt: skip
_BENCH_CROSSINGS: Final = frozenset((thing % 4, thing) for thing in range(8))  # (view, thing)


def _topics(language: Language, *, bench: bool) -> tuple[str, ...]:
    return tuple(
        f"{name} {thing}" if language == "en" else f"{thing}{name}"
        for t, thing in enumerate(_THINGS[language])
        for v, name in enumerate(_VIEWS[language])
        if ((v, t) in _BENCH_CROSSINGS) is bench
    )


TOPICS: Final[dict[Language, tuple[str, ...]]] = {language: _topics(language, bench=False) for language in _GRAMMARS}
BENCH_TOPICS: Final[dict[Language, tuple[str, ...]]] = {
    language: _topics(language, bench=True) for language in _GRAMMARS
}


def _fill(template: str, grammar: _Grammar, rng: random.Random) -> str:
    """Put a random choice in every slot of a template."""
    return template.format(**{slot: rng.choice(choices) for slot, choices in grammar.slots.items()})


def write_paragraph(*, topic: str, part: int, parts: int, words: int, language: Language, seed: int) -> str:
    """Write one paragraph that says where it stands and is about `words` words long; the last one closes the text."""
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
            sentence = _fill(deck.pop(), grammar, rng)
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
    *, topic: str, words: int, paragraph_words: int, miss: float, language: Language, seed: int
) -> list[tuple[str, int]]:
    """Plan (main point, word count) a paragraph; the total misses `words` by up to `miss`, as real teachers do."""
    rng = random.Random(f"plan|{seed}|{language}|{topic}|{words}|{paragraph_words}|{miss}")
    total = words * (1 + rng.uniform(-miss, miss))
    parts = max(1, round(total / paragraph_words))
    share = max(_SHORTEST_PART, round(total / parts))
    return [(point, share) for point in _main_points(parts, _GRAMMARS[language], rng)]


def _main_points(count: int, grammar: _Grammar, rng: random.Random) -> list[str]:
    """Draw distinct main points; plans longer than there are combinations go round again, numbered."""
    pool = sorted(
        {
            template.format(people=people, place=place, virtue=virtue)
            for template in grammar.points
            for people in grammar.slots["people"]
            for place in grammar.slots["place"]
            for virtue in grammar.slots["virtue"]
        }
    )
    drawn = rng.sample(pool, min(count, len(pool)))
    for index in range(len(pool), count):
        drawn.append(grammar.later.format(point=drawn[index % len(pool)], round=index // len(pool) + 1))
    return drawn


def instruction_text(*, topic: str, words: int, language: Language, seed: int) -> str:
    """Ask for a text about `topic`, stating the required length, in one of several phrasings."""
    rng = random.Random(f"instruction|{seed}|{language}|{topic}|{words}")
    return rng.choice(_GRAMMARS[language].instructions).format(words=words, topic=topic)
