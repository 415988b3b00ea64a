"""Which answers become a pair, compared with results worked out by hand."""

import logging

import pytest

from lwexp.config.data import PairsConfig
from lwexp.mix.preferences import choose_pairs
from lwexp.records import Response, Sampling, Verdict

SAMPLING = Sampling(temperature=0.8, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=9, seed=0)


def policy(rejected: str, min_margin: float = 0, **changes: object) -> PairsConfig:
    values = {
        "n": 4, "instructions": {"kind": "drafts", "count": 1}, "temperature": 1.0, "rejected": rejected,
        "min_margin": min_margin, "min_scored": 2, "length_ratio": None, "min_chosen": 0.0, "truncated_chosen": "skip",
        **changes,
    }  # fmt: skip
    return PairsConfig.model_validate(values)


def test_an_unfinished_best_answer_is_skipped_unless_the_config_keeps_it() -> None:
    """DPO would learn the end token at the place where max_new_tokens happened to cut."""
    answers = [answer("p", 0).model_copy(update={"finish_reason": "length"}), answer("p", 1)]
    scores = verdicts("p", [90, 20])

    pairs, failures = choose_pairs(answers, scores, policy("worst"), seed=0)
    kept, _ = choose_pairs(answers, scores, policy("worst", truncated_chosen="keep"), seed=0)

    assert (pairs, [failure.reason for failure in failures]) == ([], ["unfinished_best"])
    assert [pair.chosen for pair in kept] == ["p 0"]


def test_the_best_of_bad_answers_is_not_chosen() -> None:
    answers, scores = [answer("p", 0), answer("p", 1)], verdicts("p", [79, 20])

    _, failures = choose_pairs(answers, scores, policy("worst", min_chosen=80.0), seed=0)
    kept, _ = choose_pairs(answers, scores, policy("worst", min_chosen=79.0), seed=0)

    assert [failure.reason for failure in failures] == ["low_chosen"]
    assert len(kept) == 1


def answer(prompt: str, repeat: int, text: str | None = None) -> Response:
    return Response(
        id=f"{prompt}#{repeat}", prompt_id=prompt, repeat=repeat, prompt=f"Write {prompt}", language="en", type="t",
        required_words=10, text=f"{prompt} {repeat}" if text is None else text, words=2, finish_reason="stop",
        model="m", sampling=SAMPLING,
    )  # fmt: skip


def verdicts(prompt: str, lengths: list[float | None], qualities: list[float | None] | None = None) -> list[Verdict]:
    rows = [Verdict(response_id=f"{prompt}#{r}", kind="length", scorer="S_l", score=s) for r, s in enumerate(lengths)]
    return rows + [
        Verdict(response_id=f"{prompt}#{r}", kind="quality", scorer="judge", score=s)
        for r, s in enumerate(qualities or [])
    ]


def test_scores_are_means_of_both_parts_and_the_worst_is_rejected() -> None:
    """Means: 70, 80, 40; the longest S_l (90) does not win."""
    pairs, failures = choose_pairs(
        [answer("p", 2), answer("p", 0), answer("p", 1)],
        verdicts("p", [90, 80, 60], [50, 80, 20]),
        policy("worst", 0), seed=0,
    )  # fmt: skip
    assert failures == []
    (pair,) = pairs
    assert (pair.chosen, pair.rejected) == ("p 1", "p 2")
    assert (pair.chosen_score, pair.rejected_score) == (80, 40)
    assert [message.content for message in pair.prompt] == ["Write p"]
    assert (pair.id, pair.required_words) == ("p", 10)


def test_without_a_judge_length_alone_decides_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pairs, _ = choose_pairs([answer("p", 0), answer("p", 1)], verdicts("p", [10, 20]), policy("worst", 0), seed=0)
    assert (pairs[0].chosen_score, pairs[0].rejected_score) == (20, 10)
    assert "S_l alone" in caplog.text


def test_an_answer_without_a_quality_score_takes_no_part_where_there_is_a_judge() -> None:
    """Repeat 0 has the best length and no quality: counting its length alone would choose it."""
    pairs, _ = choose_pairs(
        [answer("p", r) for r in range(3)],
        verdicts("p", [100, 60, 40], [None, 60, 40]),
        policy("random", 0), seed=0,
    )  # fmt: skip
    assert (pairs[0].chosen, pairs[0].rejected) == ("p 1", "p 2")


def test_random_rejected_is_any_other_and_hangs_on_seed_and_prompt_only() -> None:
    prompts = [f"p{n}" for n in range(60)]
    responses = [answer(prompt, r) for prompt in prompts for r in range(4)]
    scores = [row for prompt in prompts for row in verdicts(prompt, [90, 10, 20, 30])]

    def rejected(answers: list[Response], seed: int) -> dict[str, str]:
        pairs, _ = choose_pairs(answers, scores, policy("random", 0), seed=seed)
        return {pair.id: pair.rejected.split()[1] for pair in pairs}

    first = rejected(responses, 0)
    assert set(first.values()) == {"1", "2", "3"}  # never the chosen one
    assert rejected(responses[::-1], 0) == first
    assert rejected(responses, 1) != first
    assert rejected(responses[:8], 0) == {prompt: first[prompt] for prompt in prompts[:2]}


@pytest.mark.parametrize(
    ("scores", "texts", "reason"),
    [
        ([50, None], ["a", "b"], "too_few_scored"),
        ([None, None], ["a", "b"], "too_few_scored"),
        ([50, 45.1], ["a", "b"], "small_margin"),
        ([50, 45], ["a", "b"], None),  # a margin of exactly 5 will do
        ([50, 40], ["same", "same"], "equal_answers"),
        ([50, 40], ["", "b"], "empty_chosen"),
    ],
)
def test_prompts_that_teach_nothing_are_skipped_with_a_reason(
    scores: list[float | None], texts: list[str], reason: str | None
) -> None:
    pairs, failures = choose_pairs(
        [answer("p", r, text) for r, text in enumerate(texts)],
        verdicts("p", scores),
        policy("worst", 5), seed=0,
    )  # fmt: skip
    assert [failure.reason for failure in failures] == ([reason] if reason else [])
    assert len(pairs) == (0 if reason else 1)
    assert all(failure.id == "p" for failure in failures)


def test_equal_best_scores_choose_the_earliest_repeat() -> None:
    pairs, _ = choose_pairs(
        [answer("p", 1), answer("p", 0), answer("p", 2)],
        verdicts("p", [80, 80, 20]),
        policy("worst", 0),
        seed=0,
    )
    assert pairs[0].chosen == "p 0"


def of_words(*words: int) -> list[Response]:
    return [answer("p", repeat).model_copy(update={"words": count}) for repeat, count in enumerate(words)]


@pytest.mark.parametrize(
    ("min_margin", "rejected"),
    [
        (0, "p 1"),  # 90 against 88: the closest of all
        (2, "p 1"),  # exactly 2 below will do
        (3, "p 2"),  # 88 is too close, 70 the next
        (21, "p 3"),
    ],
)
def test_margin_rejects_the_closest_that_is_far_enough_below(min_margin: float, rejected: str) -> None:
    scores = verdicts("p", [90, 88, 70, 10])
    (pair,), _ = choose_pairs(of_words(2, 2, 2, 2), scores, policy("margin", min_margin), seed=0)
    assert pair.rejected == rejected


def test_margin_gives_no_pair_where_even_the_worst_is_too_close() -> None:
    _, (failure,) = choose_pairs(of_words(2, 2, 2), verdicts("p", [90, 88, 85]), policy("margin", 5.1), seed=0)
    assert (failure.reason, failure.detail) == ("small_margin", "p#0 leads p#2 by 5.0, wanted 5.1")


@pytest.mark.parametrize("rejected", ["random", "worst", "margin"])
def test_matched_answers_differ_in_length_by_no_more_than_the_ratio(rejected: str) -> None:
    """Best has 100 words; at 1.25 that is 80 to 125, both included. Of 79, 80, 125, 126 words two will do."""
    answers, scores = of_words(100, 79, 80, 125, 126), verdicts("p", [90, 10, 20, 30, 5])
    settings = policy(rejected, length_ratio=1.25, n=5)
    found = {choose_pairs(answers, scores, settings, seed=seed)[0][0].rejected for seed in range(20)}
    assert found == {"random": {"p 2", "p 3"}, "worst": {"p 2"}, "margin": {"p 3"}}[rejected]
    free = choose_pairs(answers, scores, policy("worst", n=5), seed=0)[0][0]
    assert free.rejected == "p 4"  # negative control: without matching 126 words are rejected


def test_a_prompt_without_an_answer_of_that_length_is_skipped() -> None:
    _, (failure,) = choose_pairs(
        of_words(100, 50, 0), verdicts("p", [90, 10, 20]), policy("worst", length_ratio=1.25), seed=0
    )
    assert (failure.reason, failure.stage) == ("no_length_match", "pairs")
    assert failure.detail == "p#0 has 100 words, no other answer within 1.25 times that"


def test_min_scored_counts_answers_with_a_score() -> None:
    answers, scores = of_words(2, 2, 2, 2), verdicts("p", [90, 10, 20, None])
    assert len(choose_pairs(answers, scores, policy("worst", min_scored=3), seed=0)[0]) == 1
    _, (failure,) = choose_pairs(answers, scores, policy("worst", min_scored=4), seed=0)
    assert (failure.reason, failure.detail) == ("too_few_scored", "3 of 4 answers have a score, wanted 4")


def test_more_scored_answers_than_answers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pairs\.min_scored=5: pairs\.n=4 answers are sampled"):
        policy("worst", min_scored=5)
