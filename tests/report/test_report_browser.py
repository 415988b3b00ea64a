"""The page in a real browser: the reader works, hostile answers do nothing, nothing is fetched."""

import json
import re
import shutil

import pytest

from lwexp.pages import packed, text_files, word_index
from lwexp.report import compare
from tests.report import report_runs

HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    '<img src=x onerror="window.hacked = 1">',
    "<svg onload=window.hacked=1>",
    "]]></template><script>window.hacked = 1</script>",
    "{{ 7 * 7 }} ${window.hacked = 1}",
    "\u202eevil\u2066 \u200bhidden",
    "<a href='https://evil.example/'>x</a>",
    "<style>body{display:none}</style><base href=//evil.example>",
]
SPELLED = {"\u202e": "[U+202E]", "\u2066": "[U+2066]", "\u200b": "[U+200B]"}


def spelled(text):
    """What a reader must see, said again by hand."""
    return "".join(SPELLED.get(letter, letter) for letter in text)


def add_diagnostics(path, rows, *, looping=(), directed=()):
    """checks, positions, agreement, and a comparison with another run, as ``lwexp.score`` writes them."""
    checks, positions = [], []
    for number, row in enumerate(rows):
        checks.append(
            {
                "response_id": row["id"], "words_longwriter": row["words"], "words_unicode": row["words"],
                "stopped_early": row["words"] * 2 < row["required_words"], "loops": number in looping,
                "looped_words": 40 if number in looping else 0,
                "directed": ["asks for a score"] if number in directed else [],
            }
        )  # fmt: skip
        for segment in range(3):
            positions.append(
                {
                    "response_id": row["id"], "segment": segment, "segments": 3, "words": row["words"] // 3,
                    "repeated": 0.1 * segment, "distinct": 0.9, "quality": None, "dimensions": {},
                    "unscored_reason": None,
                }
            )  # fmt: skip
    report_runs.write_jsonl(path / "checks.jsonl", checks)
    report_runs.write_jsonl(path / "positions.jsonl", positions)
    judge = {"model": "x/judge", "repeats": 3, "temperature": 0.5, "prompt": "lwexp", "prompt_sha256": "0",
             "answers": 8, "scored": 8, "unscored": {}, "compared": 8, "alpha": {"clarity": 0.625, "S_q": None},
             "mean_absolute_difference": 4.25}  # fmt: skip
    (path / "judge.json").write_text(json.dumps(judge))
    pairs = {"other": "eval-a-00000001", "scorer": "x/judge", "prompts": 8, "ours": 5, "other_wins": 1, "ties": 1,
             "unscored": 1, "win_rate": 0.7857, "interval": [0.5, 1.0], "first_shown_wins": 0.55}  # fmt: skip
    (path / "pairwise.json").write_text(json.dumps(pairs))


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """Two models on eight hostile prompts; the second one's answer 2 loops and its answer 5 addresses the judge."""
    root = tmp_path_factory.mktemp("browser")
    for name in ("a", "b"):
        path = report_runs.make_run(
            root,
            f"eval-{name}-00000001",
            "evaluate",
            config={"bench": report_runs.bench(), "judge": {"model": "x/judge"}},
        )
        rows = [
            report_runs.response(
                f"p{at}", required=(50, 100, 200, 400)[at % 4], text=f"{text} needle{at}{name}",
                prompt=f"Ask {at}: {text}",
                language="zh" if at % 2 else "en", type=HOSTILE[0] if at < 3 else "story", model=f"{name}{HOSTILE[0]}",
                words=40 + at,
            )
            for at, text in enumerate(HOSTILE)
        ]  # fmt: skip
        scored = [v for n, row in enumerate(rows) for v in report_runs.verdicts(row, quality=10.0 * n, judge="x/judge")]
        report_runs.write_jsonl(path / "responses.jsonl", rows)
        report_runs.write_jsonl(path / "verdicts.jsonl", scored)
        if name == "b":
            add_diagnostics(path, rows, looping=[2], directed=[5])
    return compare([root], root / "report.html")


@pytest.fixture(scope="module")
def split_file(page_file):
    """The same two models with their texts beside the page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "MOST_IN_PAGE", 0)
        patch.setattr(packed, "_BLOCK_CHARACTERS", 1)  # a file for each prompt
        return compare([page_file.parent], page_file.parent / "split" / "50% #1.html")


def found(page):
    return page.locator("#found").text_content()


def test_every_hostile_answer_is_shown_as_it_is_and_does_nothing(page_file, open_page):
    page, problems = open_page(page_file)
    scripts = page.locator("script").count()
    for number, text in enumerate(HOSTILE):
        page.locator("#items a").nth(number).click()
        page.wait_for_function("id => document.querySelector('#detail code')?.textContent === id", arg=f"p{number}")
        assert page.locator("#detail .prompt").text_content() == spelled(f"Ask {number}: {text}")
        assert page.locator("#detail .text").first.text_content() == spelled(f"{text} needle{number}a")
        assert page.locator("#detail .answer").count() == 2
    assert page.evaluate("window.hacked") is None
    assert page.locator("script").count() == scripts
    assert page.locator("main img, main iframe, main a[href^=http], base").count() == 0
    assert problems == []


def test_search_and_filters_find_what_they_say(page_file, open_page):
    page, problems = open_page(page_file)
    assert found(page) == "8 of 8 prompts"
    page.fill("[name=q]", "ask 3")
    assert found(page) == "1 of 8 prompts"
    page.fill("[name=q]", "needle6b")
    assert found(page) == "0 of 8 prompts"
    page.check("[name=deep]")
    page.wait_for_function("() => document.getElementById('found').textContent === '1 of 8 prompts'")
    page.uncheck("[name=deep]")
    page.fill("[name=q]", "")
    for name, value, count in (
        ("language", "zh", 4), ("sign", "loops", 1), ("sign", "addresses the judge", 1), ("type", "story", 5),
    ):  # fmt: skip
        page.select_option(f"[name={name}]", value)
        assert found(page) == f"{count} of 8 prompts", value
        page.select_option(f"[name={name}]", "")
    page.select_option("[name=score]", "S_q")
    page.fill("[name=least]", "60")
    assert found(page) == "2 of 8 prompts"
    page.select_option("[name=order]", "low")
    assert page.locator("#items .title").first.text_content().startswith("Ask 6")
    assert problems == []


def test_measurements_other_than_scores_are_shown(page_file, open_page):
    """5 won, 1 tied, 1 lost of 7 scored pairs: bars of 71.43, 14.29 and 14.29 per cent."""
    page, _ = open_page(page_file)
    text = page.locator("#diagnostics-0").inner_text()
    assert "5 won, 1 tied, 1 lost, 1 unscored, over 8 prompts" in text
    assert "79% 50 to 100" in " ".join(text.split())
    assert page.locator(".bar-of-three .won").get_attribute("style") == "width:71.43%"
    assert "0.62" in text
    assert "4.2" in text
    ends = page.locator("[aria-label='How answers end'] tbody td").all_inner_texts()
    # Asked for 50 twice (40 and 44 words are more than half); the six others are asked for 100 to 400 and get 41 to 47.
    assert [cell.split()[0] for cell in ends] == ["8", "6", "1", "0", "0", "0", "0", "1"]
    assert page.locator("#diagnostics-0 figure svg.wide").count() == 1


def test_the_policy_stops_a_script_that_did_get_in(page_file, open_page, tmp_path):
    """Negative control: the same page with a script forced into it; the browser must refuse it, and say so."""
    path = tmp_path / "forced.html"
    path.write_text(page_file.read_text().replace("</main>", "<script>window.hacked = 1</script></main>"))
    page, problems = open_page(path)
    assert page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in problem for problem in problems)


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(page_file, open_page, width):
    page, problems = open_page(page_file, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert problems == []


def test_hostile_texts_beside_the_page_are_shown_searched_and_do_nothing(split_file, open_page, tmp_path):
    """The page and its folder are moved, together, before they are opened."""
    shutil.copytree(split_file.parent, tmp_path / "moved to")
    page, problems = open_page(tmp_path / "moved to" / split_file.name)
    scripts = page.locator("script").count()
    for number, text in enumerate(HOSTILE):
        page.locator("#items a").nth(number).click()
        page.wait_for_function("id => document.querySelector('#detail code')?.textContent === id", arg=f"p{number}")
        assert page.locator("#detail .text").first.text_content() == spelled(f"{text} needle{number}a")
    page.check("[name=deep]")
    page.fill("[name=q]", "NEEDLE6B </A>")
    page.wait_for_function("() => document.getElementById('found').textContent === '1 of 8 prompts'")
    assert page.locator("#items .title").first.text_content().startswith("Ask 6")
    assert page.evaluate("window.hacked") is None
    assert page.locator("script").count() == scripts
    assert page.locator("#absent").is_hidden()
    assert problems == []


@pytest.mark.parametrize(
    ("search", "count"),
    [("needle6b", 1), ("eedle6", 1), ("STYLE body", 1), ("evil", 3), ("window hacked", 5), ("202e 200b", 1), ("7", 2),
     ("needle6a needle6b", 0), ("nowhere", 0)],
)  # fmt: skip
def test_searches_for_plain_words_load_the_index_of_words_alone(split_file, open_page, search, count):
    """Counted by eye in HOSTILE. Two words must be in one text. The first text is loaded when the page opens."""
    page, problems = open_page(split_file)
    loaded = set()
    page.on("request", lambda request: loaded.add(request.url))
    page.check("[name=deep]")
    page.fill("[name=q]", search)
    page.wait_for_function("n => document.getElementById('found').textContent === n + ' of 8 prompts'", arg=count)
    assert len(loaded) <= 2
    with page.expect_event("request", lambda _: len(loaded) >= 8):
        page.fill("[name=q]", "<")  # negative control: nothing in it is in the index, so all texts are loaded
    assert problems == []


CHINESE = [
    "月亮升起来了。山上有月光。",
    "亮月山中",
    "Die Größe: naïve café",
    "中国人民在山上",
    "中国，国人",
    "かな文字 and 山",
    "no",
    "上。山",
]


@pytest.fixture(scope="module")
def chinese_file(tmp_path_factory):
    """One model on eight prompts, with its texts beside the page, a file for each."""
    root = tmp_path_factory.mktemp("chinese")
    path = report_runs.make_run(root, "eval-a-00000001", "evaluate", config={"bench": report_runs.bench()})
    rows = [report_runs.response(f"p{at}", text=text, prompt=f"Ask {at}") for at, text in enumerate(CHINESE)]
    report_runs.write_jsonl(path / "responses.jsonl", rows)
    report_runs.write_jsonl(path / "verdicts.jsonl", [v for row in rows for v in report_runs.verdicts(row, judge=None)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "MOST_IN_PAGE", 0)
        patch.setattr(packed, "_BLOCK_CHARACTERS", 1)
        patch.setattr(word_index, "_PART", 4)
        return compare([root], root / "report.html")


@pytest.fixture
def search(chinese_file, open_page):
    """Searches the texts. Returns what was shown in between and last, and the rows whose texts were loaded for it."""
    page, problems = open_page(chinese_file)
    (content,) = re.findall(r'id="files">(.*?)</script>', chinese_file.read_text())
    names = json.loads(content)["names"]
    page.locator("#items a").first.click()
    page.wait_for_selector("#detail .answer")  # the first text is loaded when the page opens
    loaded = set()
    page.on("request", lambda request: loaded.add(request.url.rsplit("/", 1)[-1].removesuffix(".js")))
    page.evaluate("""() => { window.told = [];
      new MutationObserver(() => told.push(found.textContent)).observe(found, { childList: true }); }""")
    page.check("[name=deep]")

    def run(term, count):
        loaded.clear()
        page.evaluate("told.length = 0")
        page.fill("[name=q]", term)
        page.wait_for_function("n => document.getElementById('found').textContent === n + ' of 8 prompts'", arg=count)
        return page.evaluate("told"), {names.index(name) for name in loaded & set(names)}

    yield run
    assert problems == []


def test_words_and_pairs_in_any_script_are_found_without_loading_texts(search):
    """Counted by eye in CHINESE."""
    for term, count in (
        ("月亮", 1), ("山", 5), ("亮月", 1), ("山 上", 3), ("GRÖßE", 1), ("aïv", 1),
        ("文字", 1), ("月山 中", 1), ("亮山", 0),
    ):  # fmt: skip
        told, loaded = search(term, count)
        assert loaded == set(), term
        assert not any(text.startswith("at most") for text in told), term


def test_other_terms_are_searched_in_the_texts_that_may_have_them(search):
    """Rows that the index names, rows that have the term, and rows whose texts are loaded; a text is loaded once."""
    for term, first, count, rows in (
        ("月亮升", 1, 1, {0}), ("中国人", 2, 1, {3, 4}), ("e: n", 1, 1, {2}),
        ("？", 8, 0, {1, 5, 6, 7}), ("国，国", 2, 1, set()),
    ):  # fmt: skip
        told, loaded = search(term, count)
        assert loaded == rows, term
        assert not rows or f"at most {first} of 8 prompts" in told, term


def test_a_page_without_its_texts_says_so_in_one_line(split_file, open_page, tmp_path):
    shutil.copy(split_file, tmp_path / "alone.html")
    page, problems = open_page(tmp_path / "alone.html")
    page.wait_for_selector("#absent", state="visible")
    text = page.locator("#absent").inner_text()
    assert "This page needs the folder \u201c50% #1_texts\u201d of the same report beside it" in text
    assert "\n" not in text
    page.check("[name=deep]")
    page.fill("[name=q]", "ask 3")
    page.wait_for_function("() => document.getElementById('found').textContent === '1 of 8 prompts'")
    assert all("ERR_FILE_NOT_FOUND" in problem for problem in problems)


def test_only_the_pages_own_script_loads_texts(split_file, open_page):
    """Negative control: scripts forced into the page do not run, whether written there or in a file beside it."""
    folder = split_file.parent
    (folder / "evil.js").write_text("window.hacked = 1")
    forced = '<script>window.hacked = 2</script><script src="evil.js"></script></main>'
    path = folder / "forced.html"
    path.write_text(split_file.read_text().replace("</main>", forced))
    page, problems = open_page(path)
    assert page.evaluate("window.hacked") is None
    assert sum("Content Security Policy" in problem for problem in problems) >= 2
