"""Finds the prompt of the bench that each answer of a file belongs to.

An id may be a row number that another bench uses too, and a prompt's text may exist in several versions. So if a row
has both, both must match, and an id alone counts only if the file says which bench it answers.
"""

import re
import unicodedata
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lwexp.extend.rows import GivenAnswer
from lwexp.records import LwexpError, Prompt
from lwexp.text.next_turn import turn_texts

_NAMED = 3  # answers that a message names
_SHOWN = 60  # characters of a text in a message
_BEFORE = 20  # how many of these are before the first difference of two texts
_REPEAT = re.compile(r"#(\d{1,3})$")

# Kind of mispairing -> what a message says of the answers. The first kind found is reported.
_PROBLEMS = {
    "two prompts": "have ids of two prompts; keep the right one",
    "contradiction": "have an id and a prompt that do not belong together in this bench (is it the right bench=?)",
    "length": "were asked for another length than in this bench (is it the right bench=?)",
    "other bench": "have only an id, and say that it is of another bench (choose that bench=)",
    "id alone": 'have only an id, which other benches may use, too; add to each its "prompt", or "bench": "{bench}"',
    "position": "have neither a prompt nor an id, and position does not count; add to each its prompt",
    "stranger": "are to prompts that this bench does not have (choose the right bench=)",
    "same text": "are to a text that several prompts of this bench share; add to each its prompt_id",
    "stray id": "have an id that this bench does not have, while others in the file have its ids; correct or remove it",
    "twice": 'come twice; keep one, give each a "repeat": 0, 1, ..., or evaluate two models one by one',
}


class Numbered(NamedTuple):
    """An answer and its place in the file, such as ``line 3``."""

    place: str
    answer: GivenAnswer


class Paired(NamedTuple):
    """An answer and the prompt that it belongs to."""

    place: str
    answer: GivenAnswer
    prompt: Prompt


class _MispairedError(Exception):
    """It is not clear which prompt an answer belongs to, or it belongs to none."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


def pair(answers: Iterable[Numbered], prompts: Sequence[Prompt], *, bench: str, origin: str) -> list[Paired]:
    """Match answers with prompts, in the order of the answers. A failed request that was repeated is left out.

    Args:
        answers: Of one file, or of several that make up one set of answers.
        prompts: Of the bench, with unique ids.
        bench: The bench's name.
        origin: What messages call the file, such as ``responses=pred.jsonl``.

    Raises:
        LwexpError: If it is not clear which prompt an answer belongs to, or two answers are the same repeat of one
            prompt. The message names the first kind of problem found, and up to three answers that have it.
    """
    book = _Prompts(prompts, bench)
    paired: dict[tuple[str, int], Paired] = {}
    problems: dict[str, list[str]] = defaultdict(list)
    by_text_alone: list[Paired] = []
    for place, answer in answers:
        try:
            prompt = book.prompt_of(answer)
            answer = book.with_repeat_of_id(answer, prompt)
        except _MispairedError as problem:
            problems[problem.kind].append(f"{place}: {problem}")
            continue
        found = Paired(place, answer, prompt)
        if answer.ids and not book.named_by(answer):
            by_text_alone.append(found)
        first = paired.setdefault((prompt.id, answer.repeat), found)
        if first.answer.is_missing:
            paired[prompt.id, answer.repeat] = found
        elif first is not found and not answer.is_missing:
            problems["twice"].append(f"{place} answers {prompt.id} as {first.place} does")
    if any(book.named_by(found.answer) for found in paired.values()):
        problems["stray id"] += [f"{f.place}: {f.answer.ids[0]!r:.60}" for f in by_text_alone]
    for kind, said in _PROBLEMS.items():
        if found_here := problems[kind]:
            more = f" and {len(found_here) - _NAMED} more" if len(found_here) > _NAMED else ""
            shown = "; ".join(found_here[:_NAMED])
            raise LwexpError(f"{origin}: {len(found_here)} answers {said.format(bench=bench)}: {shown}{more}")
    return list(paired.values())


def plain(text: str) -> str:
    """A prompt's text for comparison: other tools may change line ends and outer blanks."""
    return text.replace("\r\n", "\n").strip()


def folded(text: str) -> str:
    """A prompt's text as a tokenizer may give it back: normal forms of characters (NFKC), and any blanks as one."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


class _Prompts:
    """The bench's prompts by id and by text."""

    def __init__(self, prompts: Sequence[Prompt], bench: str) -> None:
        self._bench = bench
        self._by_id = {prompt.id: prompt for prompt in prompts}
        self._by_text: dict[str, list[Prompt]] = defaultdict(list)
        self._by_folded: dict[str, list[Prompt]] = defaultdict(list)
        for prompt in prompts:
            self._by_text[plain(prompt.text)].append(prompt)
            self._by_folded[folded(prompt.text)].append(prompt)
        self._sorted = sorted(self._by_text)

    def named_by(self, answer: GivenAnswer) -> list[Prompt]:
        """The prompts that an answer's ids name; also in the forms ``<bench>/<id>`` and lwexp's ``<id>#<repeat>``."""
        bare = [form for id in answer.ids for form in (id, _REPEAT.sub("", id))]
        spelled = [form for id in bare for form in (id, id.removeprefix(f"{self._bench}/"))]
        found = {form: self._by_id[form] for form in spelled if form in self._by_id}
        return list({prompt.id: prompt for prompt in found.values()}.values())

    def with_repeat_of_id(self, answer: GivenAnswer, prompt: Prompt) -> GivenAnswer:
        """The answer with the number at the end of its id as its repeat, unless the prompt's own id ends with it."""
        forms = {form for id in answer.ids for form in (id, id.removeprefix(f"{self._bench}/"))}
        found = next(filter(None, map(_REPEAT.search, answer.ids)), None)
        if not answer.repeat_in_id or found is None or prompt.id in forms:
            return answer
        return answer._replace(repeat=answer.repeat + int(found[1]))

    def prompt_of(self, answer: GivenAnswer) -> Prompt:
        named = self.named_by(answer)
        if len(named) > 1:
            raise _MispairedError("two prompts", " and ".join(repr(prompt.id) for prompt in named))
        prompt = self._by_text_of(answer, named) if answer.prompt is not None else self._by_id_of(answer, named)
        if answer.required_words not in (None, prompt.required_words):
            wanted = prompt.required_words
            asked = "no length" if wanted is None else f"{wanted:,} words"
            raise _MispairedError("length", f"{answer.required_words:,} words, where {prompt.id} asks for {asked}")
        return prompt

    def _by_text_of(self, answer: GivenAnswer, named: list[Prompt]) -> Prompt:
        text = plain(answer.prompt or "")
        texts = list(dict.fromkeys([text, *(map(plain, turn_texts(text)) if answer.is_templated else [])]))
        if named:
            if folded(named[0].text) not in map(folded, texts):
                own, others = _difference(plain(named[0].text), text)
                raise _MispairedError("contradiction", f"{named[0].id!r} is {own}, the row's prompt is {others}")
            return named[0]
        in_folds = list(dict.fromkeys(map(folded, texts)))
        ways = ((self._by_text, texts[:1]), (self._by_text, texts[1:]), (self._by_folded, in_folds))
        found = ([prompt for key in keys for prompt in book.get(key, [])] for book, keys in ways)
        same = next(filter(None, found), [])
        if len(same) > 1:
            raise _MispairedError("same text", " and ".join(repr(prompt.id) for prompt in same))
        if not same:
            raise _MispairedError("stranger", self._stranger(answer, texts))
        return same[0]

    def _stranger(self, answer: GivenAnswer, texts: Sequence[str]) -> str:
        """The unknown prompt, and the bench's prompt that begins most like it, if one does."""
        pairs = [(text, near) for text in texts for at in [bisect(self._sorted, text)]
                 for near in self._sorted[max(0, at - 1) : at + 1]]  # fmt: skip
        text, near = max(pairs, key=lambda pair: _common_start(*pair), default=("", ""))
        if _common_start(text, near) < _BEFORE:
            return repr(answer.ids[0] if answer.ids else texts[0])[:_SHOWN]
        own, others = _difference(near, text)
        return f"{others}, where {self._by_text[near][0].id!r} is {own}"

    def _by_id_of(self, answer: GivenAnswer, named: list[Prompt]) -> Prompt:
        if not answer.ids:
            raise _MispairedError("position", repr(answer.text or "")[:_SHOWN])
        if not named:
            raise _MispairedError("stranger", repr(answer.ids[0])[:_SHOWN])
        if answer.bench not in (None, self._bench):
            raise _MispairedError("other bench", f"{answer.ids[0]!r} of {answer.bench!r:.60}, not of {self._bench!r}")
        # Ids that lwexp gives, and batch ids such as mine/17, begin with the bench's name.
        names_bench = any(id.startswith((f"{self._bench}-", f"{self._bench}/")) for id in answer.ids)
        if answer.bench is None and not names_bench:
            raise _MispairedError("id alone", repr(answer.ids[0])[:_SHOWN])
        return named[0]


def _difference(a: str, b: str) -> tuple[str, str]:
    """Both texts in quotation marks, shortened to where they begin to differ."""
    same = _common_start(a, b)
    start = 0 if same < _SHOWN - _BEFORE else same - _BEFORE
    return _excerpt(a, start), _excerpt(b, start)


def _common_start(a: str, b: str) -> int:
    """How many characters at the start are the same."""
    return next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _excerpt(text: str, start: int) -> str:
    dots = "..." if start else ""
    more = "..." if len(text) > start + _SHOWN else ""
    return repr(f"{dots}{text[start : start + _SHOWN]}{more}")
