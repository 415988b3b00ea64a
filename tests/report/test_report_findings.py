"""The headline and the checks agree with the numbers, also when the expected result does not appear."""

import itertools
import json

import pytest

from lwexp.pages.display import quoted
from lwexp.report.load import load
from tests.report import report_runs


def found(*paths):
    return load(paths).groups[0].findings


def verdicts_of(findings):
    return {check.key: check.holds for check in findings.checks}


@pytest.fixture
def make(tmp_path):
    """Make a trained and evaluated model; returns the evaluation's path."""

    def make(name, words, *, cap=None, kind="sft", parents=(), **other):
        report_runs.training(tmp_path, f"{name}-00000001", parents=parents, max_train_words=cap or 100, kind=kind)
        return report_runs.evaluation(tmp_path, f"eval-{name}-00000002", f"{name}-00000001", words, repeats=2, **other)

    return make


def fixed(share):
    """A model that always writes this share of what it is asked for."""
    return lambda required, rng: round(required * share)


def test_the_story_when_it_holds(demo_runs):
    findings = found(*demo_runs)
    assert quoted(findings.headline).startswith('Trained on answers of at most 98 words, "short" never goes beyond ')
    assert '; "long", trained on up to 560, reaches ' in quoted(findings.headline)
    assert "; DPO lifts S_l from " in findings.headline
    assert verdicts_of(findings) == {
        "capped_stays_under_its_cap": True, "uncapped_exceeds_capped": True, "dpo_above_long": True,
    }  # fmt: skip


def test_a_cap_that_does_not_show_is_said(make):
    findings = found(make("short", fixed(1.0), cap=98), make("long", fixed(1.0), cap=560))
    assert findings.headline.startswith("The cap does not show: trained on answers of at most 98 words, ")
    assert "gets no further than" in findings.headline
    assert verdicts_of(findings) == {"capped_stays_under_its_cap": False, "uncapped_exceeds_capped": False}


def cut_answers(path, *, after, only=None):
    """The same evaluation as it is when the token limit ends each answer, or the first few, after so many words."""
    rows = [json.loads(line) for line in (path / "responses.jsonl").read_text(encoding="utf-8").splitlines()]
    cut = [row | {"words": min(after, row["words"]), "finish_reason": "length"} for row in rows[:only]]
    cut += rows[len(cut) :]
    (path / "responses.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in cut), encoding="utf-8")
    return path


def test_answers_that_the_token_limit_cut_are_reported_as_cut_and_not_as_capped(make):
    """A limit of 20 tokens is about 14 words: they say nothing about a cap of 98 words, or of 560."""
    short = cut_answers(make("short", fixed(1.0), cap=98, lengths=(200, 400)), after=14)
    findings = found(short)
    assert "never goes beyond" not in findings.headline
    assert quoted(findings.headline) == (
        'The cap cannot be seen: 64 of 64 answers of "short" were cut at the token limit, the longest of them after '
        "14 words; raise sample.max_new_tokens."
    )
    assert verdicts_of(findings) == {}
    long = cut_answers(make("long", fixed(1.0), cap=560, lengths=(200, 400)), after=120)
    findings = found(make("brief", fixed(0.2), cap=98, lengths=(200, 400)), long)
    assert '"long", trained on up to 560, is cut at the token limit after 120' in quoted(findings.headline)
    assert verdicts_of(findings) == {"capped_stays_under_its_cap": True, "uncapped_exceeds_capped": None}
    three = found(make("mid", fixed(1.0), cap=300, lengths=(200, 400)), short, long)
    assert "maximum_follows_cap" not in verdicts_of(three)


def test_one_short_answer_that_was_cut_hides_no_cap(make):
    """1 of 64, after 2 words: it may have been a line of signs. 4 of 64 are too many to pass over."""
    stray = cut_answers(make("short", fixed(0.2), cap=98, lengths=(200, 400)), after=2, only=1)
    assert "never goes beyond" in found(stray).headline
    many = cut_answers(make("shorter", fixed(0.2), cap=98, lengths=(200, 400)), after=2, only=4)
    assert found(many).headline.startswith("The cap cannot be seen: 4 of 64 answers")


def test_a_loop_that_runs_into_the_token_limit_hides_no_cap(make):
    """Negative control: cut after 600 words, the model has gone far beyond its 98."""
    findings = found(cut_answers(make("short", fixed(1.5), cap=98, lengths=(200, 400)), after=600))
    assert findings.headline.startswith("The cap does not show: trained on answers of at most 98 words, ")


@pytest.mark.parametrize(
    ("share", "clause", "holds"),
    [(0.5, "DPO lowers S_l from", False), (0.8, "makes no measurable difference to S_l", False)],
)
def test_dpo_that_does_not_help_is_said(make, share, clause, holds):
    start = make("long", fixed(0.8), cap=560)
    dpo = make("dpo", fixed(share), cap=560, kind="dpo", parents=["long-00000001"])
    findings = found(start, dpo)
    assert clause in findings.headline
    assert verdicts_of(findings)["dpo_above_long"] is holds


def by_seed(*shares):
    """A model that writes one share of what it is asked for with the first seed and another with the second."""
    turn = itertools.cycle(shares)
    return lambda required, rng: round(required * next(turn))


@pytest.fixture
def exact_texts(monkeypatch):
    """Answers of exactly so many words, where the usual ones come close."""
    monkeypatch.setattr(report_runs, "write_text", lambda language, topic, words, rng: ("tea " * words)[:-1])


@pytest.mark.usefixtures("exact_texts")
def test_a_gain_within_the_spread_of_seeds_is_stated_with_doubt(make):
    """A share s of the required words scores 100 (1 - (1/s - 1)/2): 1/2, 5/7, 5/8, 5/6 and 10/13 score 50, 80, 70, 90
    and 85, and 2,184 words are divisible by all. +15 on every prompt (interval 15 to 15), but the seed of 70 lies
    below the other model's 80; 85 and 90 lie above it."""
    start = make("long", by_seed(1 / 2, 5 / 7), cap=560, lengths=(2184,))
    doubtful = make("dpo", by_seed(5 / 8, 5 / 6), kind="dpo", parents=["long-00000001"], lengths=(2184,))
    findings = found(start, doubtful)
    assert "DPO lifts S_l from 65.0 to 80.0, though the seeds overlap" in findings.headline
    assert verdicts_of(findings)["dpo_above_long"] is False


@pytest.mark.usefixtures("exact_texts")
def test_a_gain_beyond_the_spread_of_seeds_is_stated_without_doubt(make):
    start = make("long", by_seed(1 / 2, 5 / 7), cap=560, lengths=(2184,))
    clear = make("dpo", by_seed(10 / 13, 5 / 6), kind="dpo", parents=["long-00000001"], lengths=(2184,))
    findings = found(start, clear)
    assert "DPO lifts S_l from 65.0 to 87.5" in findings.headline
    assert "overlap" not in findings.headline
    assert verdicts_of(findings)["dpo_above_long"] is True


def test_dpo_is_compared_with_the_model_it_started_from_not_with_another(make):
    make("other", fixed(0.4), cap=560)
    start, dpo = make("base", fixed(0.6), cap=560), make("tuned", fixed(0.9), kind="dpo", parents=["base-00000001"])
    assert "tuned_above_base" in verdicts_of(found(start, dpo, start.parent / "eval-other-00000002"))


def test_one_model_gets_a_plain_sentence(tmp_path):
    path = report_runs.evaluation(tmp_path, "eval-api-00000001", None, fixed(1.0), judge=None)
    headline = quoted(found(path).headline)
    assert headline.startswith('"api/model" scores S_l ')
    assert "asked for up to 400" in headline


def test_equal_models_are_not_ranked(make):
    findings = found(make("one", fixed(0.7), cap=900, judge=None), make("two", fixed(0.7), cap=900, judge=None))
    assert findings.headline.startswith("No model is clearly ahead: S_l ")


def test_a_clear_winner_is_named(make):
    findings = found(make("one", fixed(0.4), cap=900, judge=None), make("two", fixed(1.0), cap=900, judge=None))
    assert quoted(findings.headline).startswith('"two" leads with S_l ')


def test_three_caps_give_the_rank_correlation(make):
    paths = [make(f"m{cap}", report_runs.capped(cap), cap=cap) for cap in (50, 100, 200)]
    findings = found(*paths)
    assert findings.headline.startswith("The longest answer follows the longest training answer over 3 models")
    assert findings.checks[0].values == {"rank_correlation": 1.0, "models": 3}


def test_three_caps_without_an_effect_are_reported_as_such(make):
    paths = [make(f"m{cap}", fixed(60 / cap), cap=cap) for cap in (50, 100, 200)]
    assert "does not follow" in found(*paths).headline


def test_no_claim_about_a_cap_that_was_never_tried(make):
    """Asked for at most 400 words, a model trained on up to 300 cannot show its cap at 1.5 times 300."""
    assert "cap" not in " ".join(verdicts_of(found(make("only", fixed(1.0), cap=300))))
