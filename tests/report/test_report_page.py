"""The page: complete, self-contained, honest about what is missing, the same every time."""

import csv
import io
import json
import random
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import lwexp.pages
from lwexp.config.compose import read_config
from lwexp.report import compare
from lwexp.report.answers import reader
from tests.report import report_runs
from tests.report.report_text import write_text

VOID = {"meta", "link", "br", "input", "img", "hr", "path", "rect", "use", "g", "wbr"}
CSS = Path(lwexp.pages.__file__).parent / "templates" / "page.css"


class Structure(HTMLParser):
    """Ids, links, headings, drawings, and whether every tag is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[Any] = []
        self.links: list[Any] = []
        self.headings: list[Any] = []
        self.drawings: list[Any] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if tag == "a" else []
        self.headings += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        if tag == "svg":
            self.drawings.append(values.get("aria-label") or values.get("aria-hidden"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


@pytest.fixture(scope="module")
def page(demo_runs, tmp_path_factory):
    return compare(demo_runs, tmp_path_factory.mktemp("page") / "report.html").read_text(encoding="utf-8")


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<(style|svg).*?</\1>", " ", page, flags=re.S)))


def test_every_section_is_there_and_every_link_arrives(page):
    found = Structure(page)
    assert found.faults == []
    assert found.open == []
    assert len(found.ids) == len(set(found.ids)), "ids must be unique"
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    assert {"finding-0", "figures-0", "tables-0", "samples-0", "training", "lineage", "made"} <= set(found.ids)


def test_headings_descend_without_gaps(page):
    levels = Structure(page).headings
    assert levels.count(1) == 1
    assert all(deeper - level <= 1 for level, deeper in pairwise(levels))


def test_every_mark_and_clip_of_a_drawing_refers_to_something(page):
    """A scatter whose marks point nowhere is an empty box, and no other test would see it."""
    ids = set(Structure(page).ids)
    used = set(re.findall(r'xlink:href="#([^"]+)"', page)) | set(re.findall(r"url\(#([^)]+)\)", page))
    assert len(used) > 20
    assert used <= ids
    assert page.count("<use ") > 2 * 3 * 192


def test_the_figures_of_an_objective_are_those_that_it_watches(page):
    """DPO watches four columns; the fabricated run has no kl. SFT has its loss, DPO's sum of terms is not drawn."""
    watched = read_config(report_runs.composed("dpo")).objective.watched()
    text = text_of(page)
    assert all((about.caption in text) is (column != "kl") for column, about in watched.items())
    (loss,) = re.findall(r"Training loss by step: ([^\"]*)", page)[:1]
    assert len(loss.split(";")) == 2


def test_every_figure_is_described(page):
    drawings = Structure(page).drawings
    assert len(drawings) > 10
    assert all(drawings)


def test_nothing_is_loaded_from_anywhere(page):
    assert not re.search(r"https?://(?!www\.w3\.org)", page)
    assert not re.search(r"@import|url\((?!#)", page)
    assert len(re.findall(r"<script>", page)) == 1
    assert set(re.findall(r'<script type="([^"]+)"', page)) == {"application/json", "text/plain"}


def test_the_stand_in_judge_is_labelled(page, tmp_path):
    assert "is a stand-in." in text_of(page)
    real = report_runs.evaluation(
        tmp_path, "eval-a-00000001", None, report_runs.noisy(0.1), repeats=1, judge="openai/gpt-4o"
    )
    assert "stand-in" not in text_of(compare([real], tmp_path / "r.html").read_text())


def test_without_a_judge_the_page_says_not_judged(tmp_path):
    path = report_runs.evaluation(tmp_path, "eval-a-00000001", None, report_runs.noisy(0.1), repeats=1, judge=None)
    text = text_of(compare([path], tmp_path / "r.html").read_text())
    assert "not judged" in text
    assert not re.search(r"\b(nan|None|inf)\b", text)
    assert "stand-in" not in text


def test_an_evaluation_in_which_nothing_was_scored(tmp_path):
    path = report_runs.evaluation(tmp_path, "eval-a-00000001", None, report_runs.noisy(0.1), repeats=1)
    (path / "verdicts.jsonl").write_text("")
    text = text_of(compare([path], tmp_path / "r.html").read_text())
    assert "Nothing is scored yet" in text
    assert not re.search(r"\b(nan|None|inf)\b", text)


def test_empty_answers_are_shown_as_empty(tmp_path):
    path = report_runs.make_run(tmp_path, "eval-a-00000001", "evaluate", config={"bench": report_runs.bench()})
    rows = [report_runs.response(f"p{n}", required=100, text="", words=0) for n in range(3)]
    report_runs.write_jsonl(path / "responses.jsonl", rows)
    report_runs.write_jsonl(path / "verdicts.jsonl", [v for row in rows for v in report_runs.verdicts(row, judge=None)])
    text = text_of(compare([path], tmp_path / "r.html").read_text())
    assert "The answer is empty." in text
    assert "3 empty answers lie on the lower edge" in text


def test_one_answer_makes_a_page(tmp_path):
    path = report_runs.make_run(tmp_path, "eval-a-00000001", "evaluate", git={"commit": None, "dirty": None}, seed=None)
    report_runs.write_jsonl(path / "responses.jsonl", [report_runs.response("p", text="one two", language="zh")])
    text = text_of(compare([path], tmp_path / "r.html").read_text())
    assert "longest answer has 2 words" in text
    assert not re.search(r"\b(nan|None|inf)\b", text)


def test_twenty_models_with_long_answers_are_shortened_to_a_page_that_opens(tmp_path, monkeypatch):
    """2,400 answers of 20,000 characters (144 MB) are cut to 32 MB before compression."""
    monkeypatch.setattr(reader, "TEXT_BUDGET", 32_000_000)
    long = write_text("zh", "\u8336", 20000, random.Random(0))
    for number in range(20):
        report_runs.training(tmp_path, f"m{number}-00000001", parents=[], max_train_words=50 * number + 50)
        rows = [
            report_runs.response(f"p{at}", required=1000 * (at % 20) + 100, text=long, words=20000, language="zh")
            for at in range(120)
        ]
        path = report_runs.make_run(tmp_path, f"eval-m{number}-00000002", "evaluate", parents=[f"m{number}-00000001"])
        report_runs.write_jsonl(path / "responses.jsonl", rows)
        report_runs.write_jsonl(
            path / "verdicts.jsonl", [v for row in rows for v in report_runs.verdicts(row, judge=None)]
        )
    out = compare([tmp_path], tmp_path / "r.html")
    assert out.stat().st_size < 16_000_000
    assert "2,400 answers are shortened in the middle" in text_of(out.read_text())
    assert Structure(out.read_text()).faults == []


def test_two_benches_are_two_parts_of_one_page(tmp_path):
    report_runs.training(tmp_path, "m-00000001", parents=[], max_train_words=90)
    for name, lengths in (("a", (50, 100)), ("b", (1000, 2000, 4000))):
        path = report_runs.evaluation(
            tmp_path, f"eval-{name}-00000002", "m-00000001", report_runs.capped(90), repeats=1, lengths=lengths
        )
        config = (path / "config.json").read_text().replace('"miniature"', f'"bench-{name}"')
        (path / "config.json").write_text(config)
    found = Structure(compare([tmp_path], tmp_path / "r.html").read_text())
    assert found.faults == []
    assert len(found.ids) == len(set(found.ids))
    assert {"finding-0", "finding-1", "samples-1"} <= set(found.ids)
    assert found.headings.count(1) == 1


def test_the_same_runs_give_the_same_page(demo_runs, page, tmp_path):
    assert compare(demo_runs, tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_no_run_is_changed(demo_runs, tmp_path):
    files = sorted(path for path in demo_runs[0].parent.rglob("*") if path.is_file())
    before = {path: path.read_bytes() for path in files}
    compare(demo_runs, tmp_path / "report.html")
    assert {p: p.read_bytes() for p in demo_runs[0].parent.rglob("*") if p.is_file()} == before


def test_importing_the_room_is_light():
    heavy = "numpy matplotlib jinja2 scipy torch pydantic rich"
    code = f"import sys, lwexp.report; print([m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    """WCAG 2.2 contrast ratio."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_meets_aa_and_marks_meet_three_to_one(theme):
    from lwexp.pages.drawing import palette

    rules = re.findall(r":root \{(.*?)\}", CSS.read_text(), flags=re.S)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", rules[theme]))
    for ground in ("paper", "card", "wash"):
        for text in ("ink", "muted", "good", "bad", "open", "link"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["note"], colours["note-wash"]) >= 4.5
    assert contrast(colours["ink"], colours["note-wash"]) >= 4.5
    for models in (8, 20):
        for pair in palette(models):
            assert contrast(pair[theme], colours["card"]) >= 3, pair


def test_a_bench_with_another_metric_and_without_lengths_has_its_own_columns(tmp_path):
    """Items found of 0 to 5, fewer is better: 4 against 1 of 5, so b leads, and a's bar ends at four fifths."""
    metric = {"kind": "slips", "name": "Slips", "label": "slips", "title": "Slips found", "meaning": "Slips in a text.",
              "scale": [0, 5], "higher_is_better": False, "decimals": 2}  # fmt: skip
    for name, score in (("a", 4.0), ("b", 1.0)):
        path = report_runs.make_run(tmp_path, f"eval-{name}-00000001", "evaluate", config={"bench": {"name": "own"}})
        rows = [report_runs.response(f"p{n}", required=None, prompt="Write.", model=f"m-{name}") for n in range(6)]
        report_runs.write_jsonl(path / "responses.jsonl", rows)
        report_runs.write_jsonl(
            path / "verdicts.jsonl",
            [{"response_id": row["id"], "kind": "slips", "scorer": "slips", "score": score, "dimensions": {},
              "unscored_reason": None} for row in rows],
        )  # fmt: skip
        (path / "metrics.json").write_text(json.dumps([metric]))
    out = compare([tmp_path], tmp_path / "r.html")
    page = out.read_text()
    text = text_of(re.sub(r"<script.*?</script>", "", page, flags=re.S))
    assert "m-b leads with slips 1.00 (95% interval 1.00 to 1.00)" in " ".join(text.split())
    assert "Slips in a text." in text
    assert "--v:0.800;" in page
    assert not re.search(r"S_l|S_q|S-bar|S<sub>|judged by", page.split("<main", 1)[1].split("<script", 1)[0])
    assert not re.search(r"\b(nan|None|inf)\b", text)
    rows = list(csv.DictReader(io.StringIO(out.with_suffix(".csv").read_text(encoding="utf-8-sig"))))
    assert [row["Slips"] for row in rows if row["part"] == "all"] == ["4.0", "1.0"]
    assert (
        "| model | trained on up to | longest answer | slips | answers | unscored |"
        in out.with_suffix(".md").read_text()
    )
    assert json.loads((tmp_path / "summary.json").read_text())["models"]["m-a"]["Slips"] == 4


def test_repeats_are_not_counted_as_prompts_and_nothing_unscored_is_not_listed(demo_runs, page):
    """64 prompts, three repeats and three models are 576 answers; some of the fabricated ones are unscored."""
    assert "576 answers to 64 prompts × 3, unpacked" in text_of(page)
    assert re.search(r"Unscored, by reason: .*bad_json \d+\. Cut off: ", text_of(page))
    for verdict_file in [run / "verdicts.jsonl" for run in demo_runs]:
        assert "bad_json" in verdict_file.read_text()


def test_a_table_without_unscored_answers_has_no_line_of_reasons(tmp_path):
    path = report_runs.make_run(tmp_path, "eval-a-00000001", "evaluate", config={"judge": {"model": "x/judge"}})
    row = report_runs.response("p", required=50, words=50)
    report_runs.write_jsonl(path / "responses.jsonl", [row])
    report_runs.write_jsonl(path / "verdicts.jsonl", report_runs.verdicts(row, quality=80.0, judge="x/judge"))
    text = text_of(compare([path], tmp_path / "r.html").read_text())
    assert "by reason" not in text
    assert "Cut off: the answer was ended by the token limit" in text
