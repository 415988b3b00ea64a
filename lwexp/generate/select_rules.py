"""Selection rules that need no model. Each has a name under which rejected rows are counted."""

import re
from collections.abc import Iterator

from lwexp.config.data import SelectConfig
from lwexp.generate.candidates import Candidate, Rejected
from lwexp.records import Instruction, Language
from lwexp.text.plain import plural
from lwexp.text.stated_lengths import stated_words
from lwexp.text.words import count_words, language_of

_FLAGS: dict[Language, tuple[str, ...]] = {"en": ("english", "en"), "zh": ("chinese", "zh", "zh-cn", "mandarin")}

# Latin letters alone do not make a text English. These words are about 40% of English prose.
_COMMON = (
    "the a an of to and in for on with about is are be it that this write please me my you your from as by at or i can "
    "how what which should will into his her their not have has"
)
_ENGLISH = frozenset(_COMMON.split())
_ENGLISH_SHARE = 0.12
_OTHER_LETTERS = re.compile(r"[^\W\d_a-zA-Z\u00c0-\u024f\u4e00-\u9fff]")
_OTHER_SHARE = 0.05  # of all letters; a name in another script passes, Russian and Japanese texts do not

_SCRAPING = re.compile(
    r"\b(?:web[\s-]?scrap\w*|scrap(?:e|er|ers|ing|ed)\b[^.\n]{0,40}\b(?:web|websites?|sites?|pages?|urls?|html|data|"
    r"tweets|listings|reviews|selenium|python|linkedin|google|amazon)\b|(?:selenium|beautifulsoup|scrapy|puppeteer)\b|"
    r"(?:web|site|data)[\s-]?crawl\w*|crawl(?:er|ers|ing|s)?\b[^.\n]{0,30}\b(?:web|websites?|sites?|pages|urls?|data)\b)"
    r"|爬虫|爬取|抓取.{0,8}(?:网页|网站|数据|页面|链接)|(?:网页|网站|数据).{0,6}抓取|采集.{0,6}(?:网页|网站)",
    re.IGNORECASE,
)
_JAILBREAK = re.compile(
    r"\bdo anything now\b|(?-i:\bDAN\b)[^.\n]{0,40}(?:mode|jailbr|act as|you are|no longer|free)|"
    r"(?:act as|you are|called|be) (?:a |an |now )?(?-i:DAN)\b|"
    r"(?:ignore|disregard|forget) (?:all |any |everything |every )?(?:of )?(?:the |your |my )?(?:previous|prior|above|"
    r"earlier|preceding)(?: \w+)? (?:instructions?|prompts?|rules|directions|guidelines|text)|"
    r"\bdeveloper mode\b[^.\n]{0,60}(?:enabled|output|respon|chatgpt|\bAI\b)|(?:chatgpt|gpt)[^.\n]{0,40}developer mode|"
    r"\bjailbr(?:eak|oken)\b[^.\n]{0,30}(?:mode|prompt|gpt|ai\b|model)|(?:gpt|\bai\b|model)[^.\n]{0,30}\bjailbr(?:eak|oken)|"
    r"(?:\bAI\b|assistant|model|chatbot|chatgpt|gpt)[^.\n]{0,60}(?:without|no|free of|free from|not bound by)(?: any)? "
    r"(?:restrictions?|limits|limitations|filters?|censorship|ethic\w*|moral\w*|rules|guidelines|content polic\w+)|"
    r"unfiltered and amoral|always intelligent and machiavellian|"
    r"(?:忽略|无视|忘记|忘掉).{0,6}(?:之前|以上|前面|上述|先前).{0,6}(?:指令|指示|提示|规则|设定|内容|要求)|"
    r"(?:开启|进入|启用|切换).{0,6}开发者模式|越狱(?:模式|提示|指令|版)|(?:GPT|AI|模型).{0,6}越狱|"
    r"(?:不受|没有|无|摆脱).{0,4}(?:任何)?.{0,6}(?:限制|约束|审查|道德)的?.{0,4}(?:AI|人工智能|助手|模型|机器人)|"
    r"(?:AI|人工智能|助手|模型).{0,10}(?:不受|没有|无|摆脱).{0,8}(?:限制|约束|审查|道德)",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[\u4e00-\u9fff]|\w+")
_SHINGLE = 3  # words or Chinese characters
_PERMUTATIONS = 64


def check(candidate: Candidate, config: SelectConfig, source: str) -> Instruction | Rejected:
    """Apply the rules that look at one row alone, in order.

    Rules: toxic, redacted, other_language, instruction_too_short, instruction_too_long, states_short_answer, scraping,
    jailbreak.
    """
    if candidate.is_toxic and config.toxic == "drop":
        return Rejected("toxic", "flagged in the row")
    if candidate.is_redacted:
        return Rejected("redacted", "personal data was cut out of it")
    language = _language(candidate)
    if language is None:
        return Rejected("other_language", f"neither English nor Chinese (the row says {candidate.language})")
    text = candidate.text
    words = count_words(text)
    if words < config.min_instruction_words:
        return Rejected("instruction_too_short", f"{plural(words, 'word')}, select.min_instruction_words")
    if words > config.max_instruction_words:
        return Rejected("instruction_too_long", f"{words:,} words, select.max_instruction_words")
    stated = candidate.required_words or stated_words(text)
    if stated is not None and stated < config.min_words:
        return Rejected("states_short_answer", f"asks for {stated:,} words, select.min_words={config.min_words:,}")
    for name, pattern in (("scraping", _SCRAPING), ("jailbreak", _JAILBREAK)):
        if found := pattern.search(text):
            return Rejected(name, f"{' '.join(found[0].split())[:80]!r}")
    return Instruction(id=candidate.id, text=text, language=language, source=source, required_words=stated)


def _language(candidate: Candidate) -> Language | None:
    """The language of the characters; None if it is neither zh nor en, or if the row's own flag disagrees."""
    text = candidate.text
    by_letters = language_of(text)
    letters = sum(sign.isalpha() for sign in text)
    if letters and len(_OTHER_LETTERS.findall(text)) > _OTHER_SHARE * letters:
        return None
    if candidate.language is not None:
        return by_letters if str(candidate.language).lower() in _FLAGS[by_letters] else None
    if by_letters == "en":
        words = re.findall(r"[a-z']+", text.lower())
        if words and sum(word in _ENGLISH for word in words) < _ENGLISH_SHARE * len(words):
            return None
    return by_letters


class Duplicates:
    """Finds duplicates of earlier texts: exact copies by hash, near copies by MinHash.

    Args:
        threshold: Smallest Jaccard similarity of three-word (three-character) shingles between near duplicates; None
            finds exact ones only. Memory: about 2 KB for each text kept.
    """

    def __init__(self, threshold: float | None) -> None:
        self._threshold = threshold
        self._exact: dict[int, str] = {}
        self._near = None
        if threshold is not None:
            from datasketch import MinHashLSH

            self._near = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
            self._hashes: dict[str, object] = {}

    def check(self, id: str, text: str) -> Rejected | None:
        """Reject a text if the same or a similar one came before; otherwise remember it."""
        tokens = [token.lower() for token in _TOKEN.findall(text)]
        key = hash(tuple(tokens))
        if key in self._exact:
            return Rejected("duplicate", f"the same words as {self._exact[key]}")
        if self._near is not None:
            from datasketch import MinHash

            sketch = MinHash(num_perm=_PERMUTATIONS)
            sketch.update_batch([shingle.encode() for shingle in _shingles(tokens)])
            for other in sorted(self._near.query(sketch)):
                likeness = sketch.jaccard(self._hashes[other])
                if likeness >= self._threshold:
                    return Rejected("near_duplicate", f"{likeness:.0%} like {other}")
            name = f"{id}#{len(self._hashes)}"
            self._near.insert(name, sketch)
            self._hashes[name] = sketch
        self._exact[key] = id
        return None


def _shingles(tokens: list[str]) -> Iterator[str]:
    for start in range(max(1, len(tokens) - _SHINGLE + 1)):
        yield " ".join(tokens[start : start + _SHINGLE])
