"""The page of a run in a real browser: everything readable, nothing runs, nothing is fetched."""

import json
import os
import re

import pytest

from lwexp.publish.viewer import write_viewer
from lwexp.records import Draft, Failure, Instruction, Plan, PlanStep, StepTrace, Trace, write_rows
from tests.publish.publish_rows import conversation, pair, turns

HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 2'>",
    "<!--<script>",
    "]]></style><svg onload=window.hacked=3>",
    "safe\u202etxet\u2066 \u200bhidden\u0000",
    "{{ 7 * 7 }} ${7 * 7} {% raw %}",
    "javascript:window.hacked=4",
    "中文 \U0001f600 ok",
]


def draft(number: int, text: str, asked: int = 100) -> Draft:
    instruction = Instruction(id=f"d-{number}", text=text, language="en", source="s", required_words=asked)
    plan = Plan(text=text, steps=(PlanStep(point=text, words=60), PlanStep(point="the end", words=40)))
    return Draft(
        id=f"d-{number}", instruction=instruction, plan=plan, paragraphs=(text, "one two three"),
        finish_reasons=("stop", "length"), teacher="t/model", cost_usd=0.5,
    )  # fmt: skip


@pytest.fixture
def draft_run(make_run):
    """Eight hostile drafts and a failure that quotes one."""
    drafts = [draft(number, text) for number, text in enumerate(HOSTILE)]
    rows = [conversation(item.id, item.instruction.text, item.text or "x") for item in drafts]
    failure = Failure(id="d-9", stage="plan", reason="bad_plan", detail=HOSTILE[0], attempts=2)
    run = make_run("data", conversations=rows, failures=[failure])
    write_rows(run.path / "drafts.jsonl", drafts)
    steps = (StepTrace(cost_usd=0.2, attempts=3, cleaned=("label",)), StepTrace(cost_usd=0.1, attempts=1, cleaned=()))
    write_rows(
        run.path / "trace.jsonl",
        [Trace(id=item.id, plan_cost_usd=0.2, plans_asked=2, steps=steps) for item in drafts],
    )
    return run


def visible(text: str) -> str:
    """What a reader must see, said again by hand: hidden characters by their code points."""
    return re.sub("[\u202e\u2066\u200b\u0000]", lambda m: f"[U+{ord(m[0]):04X}]", text)


def test_hostile_texts_are_shown_as_they_are_and_do_nothing(draft_run, open_page):
    write_viewer(draft_run)
    page, problems = open_page(draft_run.path / "viewer.html")
    scripts = page.locator("script").count()
    for number, text in enumerate(HOSTILE):
        page.locator("#items a").nth(number).click()
        page.wait_for_function(
            "id => document.querySelector('#detail header code')?.textContent === id", arg=f"d-{number}"
        )
        assert page.locator("#detail .ask").text_content() == visible(text)
        assert page.locator("#detail .step .text").first.text_content() == visible(text)
    page.locator("#items a").nth(len(HOSTILE)).click()
    page.wait_for_selector("#detail .notice")

    assert page.locator("#detail .notice").text_content() == HOSTILE[0]
    assert page.evaluate("window.hacked") is None
    assert page.locator("script").count() == scripts
    assert page.locator("main img, #detail svg[onload]").count() == 0
    assert problems == []


def test_the_policy_stops_a_script_that_did_get_in(draft_run, open_page):
    """Negative control: the same page with a script forced into it; the browser must refuse it, and say so."""
    write_viewer(draft_run)
    path = draft_run.path / "viewer.html"
    page = path.read_text(encoding="utf-8")
    path.write_text(page.replace("</main>", "<script>window.hacked = 1</script></main>"), encoding="utf-8")
    page, problems = open_page(path)

    assert page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in problem for problem in problems)


def test_a_draft_shows_plan_words_cost_attempts_and_cleaning(draft_run, open_page):
    """Paragraph 2 of every draft: "one two three" of 40 words asked, cut, $0.10. Paragraph 1: three attempts, label."""
    write_viewer(draft_run)
    page, _ = open_page(draft_run.path / "viewer.html")
    page.locator("#items a").nth(7).click()
    page.wait_for_selector("#detail .step")
    first, second = page.locator("#detail .step").all()

    assert first.locator(".gauge").inner_text().split("\n") == [
        "60 words asked, 3 written",
        "$0.2000",
        "3 attempts",
        "cleaned: label",
    ]
    assert second.locator(".gauge").inner_text().split("\n") == [
        "40 words asked, 3 written",
        "$0.1000",
        "ended by length",
    ]
    facts = page.locator("#detail .facts").inner_text().replace("\n", " ")
    assert "plan100 words in 2 paragraphs" in facts
    assert "plan requested2 times" in facts


def test_search_and_filters_narrow_the_list(draft_run, open_page):
    write_viewer(draft_run)
    page, _ = open_page(draft_run.path / "viewer.html")

    def shows(found: str) -> None:
        """The list follows a little after the typing."""
        page.wait_for_function("text => document.querySelector('#found').textContent === text", arg=found)

    shows("9 of 9")
    page.fill("[name=q]", "javascript")
    shows("1 of 9")
    page.fill("[name=q]", "")
    shows("9 of 9")
    page.select_option("[name=status]", "failed")
    shows("1 of 9")
    assert "bad plan" in page.locator("#items").inner_text()
    page.select_option("[name=status]", "cut")
    shows("8 of 9")
    page.fill("[name=least]", "6")  # "{{ 7 * 7 }} ..." has one word: raw; the first script text has five
    page.wait_for_function("parseInt(document.querySelector('#found').textContent) < 8")
    page.click("button[type=reset]")
    shows("9 of 9")


@pytest.mark.parametrize("width", [1280, 390])
def test_pairs_stand_side_by_side_with_their_gaps(make_run, open_page, width):
    """Chosen 3 words and 90 points, rejected 5 words and 40: gaps of -2 words and 50 points."""
    row = pair(
        "p-1", turns("Say it", "What", "</script>"), "a b c", "a b c d e", chosen_score=90.0, rejected_score=40.0,
        chosen_words=3, rejected_words=5, required_words=3,
    )  # fmt: skip
    run = make_run("pairs", pairs=[row])
    write_viewer(run)
    page, problems = open_page(run.path / "viewer.html", width)
    page.locator("#items a").first.click()
    page.wait_for_selector("#detail .side.rejected")

    facts = page.locator("#detail > .facts").inner_text().replace("\n", " ")
    assert "length gap-2 words" in facts
    assert "score gap50.0" in facts
    assert page.locator(".side.chosen .text").inner_text() == "a b c"
    chosen, rejected = (page.locator(f".side.{name}").bounding_box() for name in ("chosen", "rejected"))
    assert (chosen["y"] == rejected["y"]) is (width == 1280)  # beside each other, or one below the other
    assert page.evaluate("document.documentElement.scrollWidth") == width  # nothing sticks out
    assert page.locator("figure").count() == 2
    assert problems == []


def test_a_page_without_a_browser_still_holds_nothing_foreign(draft_run):
    """For machines without chromium: no outside text stands in the page unpacked, and nothing is fetched."""
    write_viewer(draft_run)
    page = (draft_run.path / "viewer.html").read_text(encoding="utf-8")

    assert not any(text in page for text in HOSTILE)
    assert page.count("<script") == 3 + page.count('id="b') - 1  # the list, the blocks, our own
    assert re.findall(r"(?:src|href)=(?!\"#)[^ >]*", page) == []
    assert "default-src 'none'" in page
    assert os.stat(draft_run.path / "viewer.html").st_size < 100_000


def test_a_large_set_is_counted_whole_and_shown_in_part(make_run, monkeypatch):
    monkeypatch.setattr("lwexp.publish.viewer._MOST_TEXTS", 3)
    run = make_run(conversations=[conversation(str(n), "Hi", "Hello") for n in range(5)])

    assert len(write_viewer(run)) == 5
    page = (run.path / "viewer.html").read_text(encoding="utf-8")
    assert "The first 3 of 5 rows can be read here" in page
    assert "5 conversations, the longest" in page


def test_the_legend_of_two_languages_shows_the_dots_of_the_figures(make_run):
    """Dots in both colours and no other shape: the figures draw every language as round dots."""
    rows = [conversation("1", "hi", "yes"), conversation("2", "\u4f60\u597d", "\u597d", language="zh")]
    run = make_run(conversations=rows)
    write_viewer(run)
    page = (run.path / "viewer.html").read_text()
    [legend] = re.findall(r'<ul class="legend">(.*?)</ul>', page, re.DOTALL)
    shapes = re.findall(r'<path d="([^"]+)" fill="var\(--m(\d)\)"', legend)
    assert [place for _, place in shapes] == ["0", "1"]
    assert {shape for shape, _ in shapes} == {"M1.5 6a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z"}


def test_an_empty_run_gives_a_page_too(make_run):
    run = make_run("data", failures=[Failure(id="1", stage="plan", reason="refusal", detail="no", attempts=1)])
    write_rows(run.path / "drafts.jsonl", [])

    assert [entry.status for entry in write_viewer(run)] == ["failed"]
    assert "No draft was kept" in (run.path / "viewer.html").read_text(encoding="utf-8")
    assert json.loads((run.path / "manifest.json").read_text())["status"] == "finished"
