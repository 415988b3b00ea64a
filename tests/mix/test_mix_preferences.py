"""Which answers become a pair, by hand."""

import logging

import pytest

from lwexp.config.data import PairsConfig
from lwexp.mix.preferences import choose_pairs
from lwexp.records import Response, Sampling, Verdict

SAMPLING = Sampling(temperature=0.8, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=9, seed=0)


def policy(rejected: str, min_margin: float = 0, **changes: object) -> PairsConfig:
    values = {
        "n": 4, "instructions": {"kind": "drafts", "count": 1}, "temperature": 1.0, "rejected": rejected,
        "min_margin": min_margin, "min_chosen": 0.0, "unfinished": "skip", **changes,
    }  # fmt: skip
    return PairsConfig.model_validate(values)


def test_an_unfinished_best_answer_is_skipped_unless_the_config_keeps_it() -> None:
    """DPO would learn the end token at the place where max_new_tokens happened to cut."""
    answers = [answer("p", 0).model_copy(update={"finish_reason": "length"}), answer("p", 1)]
    scores = verdicts("p", [90, 20])

    pairs, failures = choose_pairs(answers, scores, policy("worst"), seed=0)
    kept, _ = choose_pairs(answers, scores, policy("worst", unfinished="keep"), seed=0)

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
