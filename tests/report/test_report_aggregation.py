"""Aggregation: joins, means, intervals, ranges. Expected values are worked out by hand."""

import pytest

from lwexp.extend.metric import standard_metrics
from lwexp.extend.word_range import WordRange
from lwexp.records import Response, Verdict
from lwexp.report.aggregation import cell, join, per_language, per_range, per_type, prompt_means, ruler, seeds
from tests.report import report_runs

METRICS = standard_metrics()


def answers(*rows, quality=None, judge="j"):
    """Rows of (prompt, repeat, required, words, quality); S_l follows from the words."""
    responses, verdicts = [], []
    for prompt, repeat, required, words, score in rows:
        row = report_runs.response(prompt, repeat=repeat, required=required, words=words)
        responses.append(Response.model_validate(row))
        verdicts += [Verdict.model_validate(v) for v in report_runs.verdicts(row, quality=score, judge=judge)]
    return join(responses, verdicts, judge, METRICS).answers


def test_verdicts_find_their_answers_by_id_in_any_order():
    rows = [report_runs.response(f"p{n}", words=50) for n in range(4)]
    made = [v for n, row in enumerate(rows) for v in report_runs.verdicts(row, quality=float(n), judge="j")]
    joined = join(
        [Response.model_validate(r) for r in rows], [Verdict.model_validate(v) for v in made[::-1]], "j", METRICS
    )
    assert [answer.scores["S_q"] for answer in joined.answers] == [0, 1, 2, 3]
    assert (joined.n_repeated_ids, joined.n_orphan_verdicts) == (0, 0)


def test_a_repeated_id_counts_once_and_is_noted():
    first, second = report_runs.response("p", words=10), report_runs.response("p", words=20)
    joined = join([Response.model_validate(first), Response.model_validate(second)], [], None, METRICS)
    assert [answer.response.words for answer in joined.answers] == [20]
    assert joined.n_repeated_ids == 1


def test_a_verdict_without_an_answer_is_counted():
    stray = report_runs.verdicts(report_runs.response("gone"), quality=1.0, judge="j")
    assert join([], [Verdict.model_validate(v) for v in stray], "j", METRICS).n_orphan_verdicts == 2


def test_only_the_chosen_judge_counts():
    row = report_runs.response("p", words=50)
    made = report_runs.verdicts(row, quality=10.0, judge="a") + report_runs.verdicts(row, quality=90.0, judge="b")
    parsed = [Verdict.model_validate(v) for v in made]
    assert join([Response.model_validate(row)], parsed, "a", METRICS).answers[0].scores["S_q"] == 10
    assert join([Response.model_validate(row)], parsed, None, METRICS).answers[0].scores["S_q"] is None


def test_unscored_is_counted_and_is_not_zero():
    """S_l 100 and 100; S_q 80 and none. S_q is 80 over one, not 40 over two; S_bar is 90 over one."""
    total = cell(answers(("a", 0, 50, 50, 80.0), ("b", 0, 50, 50, None)))
    assert total.scores["S_q"].mean == 80
    assert (total.scores["S_q"].n, total.scores["S_q"].n_unscored) == (1, 1)
    assert total.scores["S_bar"].mean == 90
    assert total.scores["S_l"].mean == 100


def test_nothing_scored_gives_no_mean_and_no_interval():
    total = cell(answers(("a", 0, 50, 50, None), ("b", 0, 50, 50, None)))
    assert total.scores["S_q"].mean is None
    assert total.scores["S_q"].interval is None
    assert total.scores["S_q"].by_repeat == (None,)


def test_no_answers_at_all_give_an_empty_cell():
    empty = cell([])
    assert (empty.n, empty.max_words, empty.median_words, empty.scores["S_l"].mean) == (0, None, None, None)


def test_repeats_of_a_prompt_are_averaged_first():
    """a: S_l 100, 100 and (50 words of 100) 50, mean 83.33; b: one repeat with 0. Mean 41.67, not 62.5."""
    rows = answers(("a", 0, 100, 100, None), ("a", 1, 100, 100, None), ("a", 2, 100, 50, None), ("b", 0, 100, 1, None))
    assert prompt_means(rows, "S_l") == {"a": pytest.approx(250 / 3), "b": 0}
    assert cell(rows).scores["S_l"].mean == pytest.approx(125 / 3)


def test_spread_over_repeats():
    """Repeat 0: 100 and 50, mean 75. Repeat 1: 100 and 0, mean 50."""
    rows = answers(("a", 0, 100, 100, None), ("b", 0, 100, 50, None), ("a", 1, 100, 100, None), ("b", 1, 100, 0, None))
    score = cell(rows).scores["S_l"]
    assert score.by_repeat == (75.0, 50.0)
    assert score.spread == (50.0, 75.0)
    assert seeds(rows) == [100, 101]


def test_copies_of_answers_do_not_narrow_the_interval():
    """The negative control of averaging first: nine copies of each prompt know no more than one."""
    prompts = [("a", 10), ("b", 50), ("c", 90), ("d", 100)]
    once = cell(answers(*[(p, 0, 100, w, None) for p, w in prompts])).scores["S_l"].interval
    often = cell(answers(*[(p, r, 100, w, None) for p, w in prompts for r in range(9)])).scores["S_l"].interval
    assert often == pytest.approx(once)


RANGES = (WordRange(low=0, high=100, closed=False), WordRange(low=100, high=200, closed=True))


def test_ranges_are_half_open_and_the_last_one_is_closed():
    rows = answers(*[(str(n), 0, n, 10, None) for n in (99, 100, 200, 201)])
    found = per_range(rows, RANGES)
    assert {label: part.n for label, part in found.items()} == {"[0,100)": 1, "[100,200]": 2, "outside all ranges": 1}
    assert sum(part.n for part in found.values()) == len(rows)


def test_languages_partition_the_answers():
    rows = [Response.model_validate(report_runs.response(f"p{n}", language="zh" if n else "en")) for n in range(3)]
    assert {code: part.n for code, part in per_language(join(rows, [], None, METRICS).answers).items()} == {
        "en": 1,
        "zh": 2,
    }


def test_ruler_gives_median_and_longest_per_length():
    rows = answers(("a", 0, 50, 40, None), ("b", 0, 50, 60, None), ("c", 0, 50, 80, None), ("d", 0, 100, 7, None))
    assert [tuple(point) for point in ruler(rows)] == [(50, 3, 40, 60, 80), (100, 1, 7, 7, 7)]


def test_types_partition_the_answers_and_one_type_is_no_table():
    rows = [Response.model_validate(report_runs.response(f"p{n}", type="news" if n else "letter")) for n in range(3)]
    assert {name: part.n for name, part in per_type(join(rows, [], None, METRICS).answers).items()} == {
        "letter": 1,
        "news": 2,
    }
    assert per_type(join(rows[1:], [], None, METRICS).answers) == {}
