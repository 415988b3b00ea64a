"""Answers belong to their prompts: each way to pair them wrongly is refused, and names what it saw."""

import pytest

from lwexp.extend.rows import GivenAnswer
from lwexp.records import LwexpError, Prompt
from lwexp.sample.pairing import Numbered, pair

TEA = "Write about tea, its growers and its trade in the last century. At least 2000 words."
ASKED = {"1": TEA, "2": "Write about rain.", "3": "Write about snow.", "mine-4": "Write about rain again."}
PROMPTS = [Prompt(id=id, text=text, language="en", type="t", required_words=2000) for id, text in ASKED.items()]
TWIN = PROMPTS[1].model_copy(update={"id": "5"})


def paired(*answers: GivenAnswer, prompts: list[Prompt] = PROMPTS) -> list[str]:
    """The prompt ids of the answers, with the bench called "mine"."""
    numbered = [Numbered(f"line {number}", answer) for number, answer in enumerate(answers, 1)]
    return [one.prompt.id for one in pair(numbered, prompts, bench="mine", origin="responses=pred.jsonl")]


def answer(prompt: str | None = None, *ids: str, **more: object) -> GivenAnswer:
    return GivenAnswer("text", prompt, ids, **more)  # type: ignore[arg-type]


RIGHT = {
    "prompt": [answer(TEA)],
    "prompt and id": [answer(TEA, "1")],
    "other line ends": [answer(f"\r\n{TEA} \n")],
    "running numbers that are not this bench's": [answer(TEA, "101"), answer(ASKED["2"], "102")],
    "an id alone and the bench's name": [answer(None, "1", bench="mine")],
    "an id that begins with the bench's name": [answer(None, "mine-4"), answer(None, "mine/1")],
    "our own id, with its repeat": [answer(TEA, "1", "1#0"), answer(TEA, "1", "1#1", repeat=1)],
    "blanks within the text": [answer(TEA.replace(", ", ",\u00a0 ").replace(". ", ".\n"), "1")],
    "other forms of characters": [answer(TEA.replace(",", "\uff0c").replace("2000", "\uff12000"))],
    "what a tokenizer made of it": [answer(f"[INST] {TEA.replace('a', 'ａ')} [/INST]", is_templated=True)],
    "the prompt's text alone, with other blanks": [answer(TEA.replace(", ", ",  "), is_templated=True)],
    "the length asked for": [answer(TEA, required_words=2000)],
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_names_its_prompt_is_paired(name: str) -> None:
    assert set(paired(*RIGHT[name])) <= {"1", "2", "mine-4"}
    assert paired(*RIGHT[name])[0] == ("mine-4" if "begins" in name else "1")


WRONG = {
    "ids that are shifted by one": (
        [answer(TEA, "2")], "'2' is 'Write about rain.', the row's prompt is 'Write about tea, its growers",
    ),
    "the same ids in another version of the bench": (
        [answer(TEA.replace("2000", "16000"), "1")], "'1' is '...t century. At least 2000 words.', the row's prompt is "
        "'...t century. At least 16000 words.'",
    ),
    "two ids": ([answer(TEA, "1", "2")], "ids of two prompts; keep the right one: line 1: '1' and '2'"),
    "an id and a repeat of another": ([answer(TEA, "1", "2#0")], "line 1: '1' and '2'"),
    "an id alone": ([answer(None, "1")], 'have only an id, which other benches may use, too; add to each its "prompt"'),
    "an id alone, from another bench": ([answer(None, "1", bench="yours")], "line 1: '1' of 'yours', not of 'mine'"),
    "another length": ([answer(TEA, required_words=16000)], "line 1: 16,000 words, where 1 asks for 2,000 words"),
    "a prompt of another bench": ([answer(TEA), answer("Write about fog.")], "are to prompts that this bench does not"),
    "almost a prompt": (
        [answer(f"[INST] {TEA.replace('2000', '2500')} [/INST]", "u7", is_templated=True)],
        "line 1: '... century. At least 2500 words.', where '1' is '... century. At least 2000 words.'",
    ),
    "an id of another bench": ([answer(None, "99", bench="mine")], "this bench does not have"),
    "an id that is missing here, beside one that is not": (
        [answer(TEA, "1"), answer(ASKED["2"], "9")], "have an id that this bench does not have, while others",
    ),
    "neither": ([answer()], "have neither a prompt nor an id, and position does not count"),
    "an answer twice": ([answer(TEA), answer(TEA, "1")], "come twice; keep one, give each a \"repeat\": 0, 1, ..., or "
                        "evaluate two models one by one: line 2 answers 1 as line 1 does"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_mispairing_is_refused(name: str) -> None:
    answers, said = WRONG[name]
    with pytest.raises(LwexpError) as error:
        paired(*answers)
    assert said in str(error.value)
    assert str(error.value).startswith("responses=pred.jsonl: 1 answers ")


def test_a_text_that_two_prompts_share_needs_an_id() -> None:
    with pytest.raises(LwexpError, match=r"a text that several prompts of this bench share.*'2' and '5'"):
        paired(answer(TWIN.text), prompts=[*PROMPTS, TWIN])
    assert paired(answer(TWIN.text, "5"), prompts=[*PROMPTS, TWIN]) == ["5"]


def test_prompts_that_differ_only_in_blanks_are_told_apart_by_their_own_blanks() -> None:
    wide = PROMPTS[1].model_copy(update={"id": "6", "text": "Write  about rain."})
    prompts = [*PROMPTS, wide]
    assert paired(answer(wide.text), answer(ASKED["2"]), prompts=prompts) == ["6", "2"]
    with pytest.raises(LwexpError, match=r"several prompts of this bench share.*'2' and '6'"):
        paired(answer("Write\nabout rain."), prompts=prompts)


def test_a_number_at_the_end_of_an_id_is_a_repeat_unless_the_prompts_own_id_has_it() -> None:
    prompts = [prompt.model_copy(update={"id": f"tea#{prompt.id}"}) for prompt in PROMPTS[:2]]
    ids = ["mine/tea#1", "tea#2", "mine/tea#2#1"]
    numbered = [Numbered(id, answer(None, id, bench="mine")._replace(repeat_in_id=True)) for id in ids]
    found = pair(numbered, prompts, bench="mine", origin="responses=output.jsonl")
    assert [(one.prompt.id, one.answer.repeat) for one in found] == [("tea#1", 0), ("tea#2", 0), ("tea#2", 1)]


def test_a_failed_request_gives_way_to_its_repetition() -> None:
    failed = answer(TEA)._replace(text=None)
    cut = answer(TEA)._replace(text="te", finish_reason="abort")
    good = answer(TEA)
    for answers in ([failed, good], [good, failed], [failed, failed, good, failed], [cut, good], [good, cut]):
        numbered = [Numbered(f"line {number}", one) for number, one in enumerate(answers, 1)]
        (found,) = pair(numbered, PROMPTS, bench="mine", origin="responses=pred.jsonl")
        assert found.answer.text == "text"
    with pytest.raises(LwexpError, match="line 3 answers 1 as line 2 does"):
        paired(failed, answer(TEA), answer(TEA))


def test_a_message_counts_all_and_names_three() -> None:
    with pytest.raises(LwexpError, match=r"4 answers .*line 1: .*; line 3: [^;]* and 1 more$"):
        paired(*[answer(f"Write about {n}.") for n in range(4)])
