"""The Chinese documentation has its pages, and a page that is up to date has the structure of its English page."""

import re

import pytest

from docs import config_zh, translations
from tests import ROOT
from tests.test_docs_pages import DOCS, listed_pages

IN_CHINESE = """
    index start demo one_gpu reproduce generate teachers data packing models training dpo planner training_core gpu_kit
    evaluation report serving sweeps cluster nodes runs watch python extend terms reliability scale paper_index
    commands config compare troubleshooting study/output_cap study/real_model study/normalize
"""

ENGLISH = """# Pages

Set `lr` to 0.5; see [runs](runs.md).

```
lwexp train lr=0.5
```

| key | value |
"""
CHINESE = """<!-- Translated from docs/pages.md, sha256 0123456789ab -->

# 页面

把 `lr` 设为 0.5，见 [运行](runs.md)。

```
lwexp train lr=0.5
```

| 配置项 | 值 |
"""


def structure(text: str) -> dict[str, list[str]]:
    """What a translation leaves as it is. An index's lists of pages are left out: their captions are translated."""
    text = re.sub(r"\]\(.*?\)", "]", translations.translated_part(text))  # links differ by a folder
    fence = r"^ *```.*?^ *```$"
    prose = re.sub(r"\s+", " ", without_code := re.sub(fence, "", text, flags=re.M | re.S))
    return {
        "headings": re.findall(r"^(#+) ", without_code, re.M),
        "code": [block for block in re.findall(fence, text, re.M | re.S) if "```{" not in block],
        "rows of tables": re.findall(r"^\|", without_code, re.M),
        "spans of code": sorted(set(re.findall(r"`([^`]+)`", prose))),
        "numbers": sorted(set(re.findall(r"\d+(?:[,.]\d+)*", prose))),
    }


def differences(english: str, chinese: str) -> dict[str, tuple[list[str], list[str]]]:
    parts, translated = structure(english), structure(chinese)
    return {kind: (parts[kind], translated[kind]) for kind in parts if parts[kind] != translated[kind]}


def pages():
    return pytest.mark.parametrize("page", translations.chinese_pages(), ids=lambda page: str(page.relative_to(ROOT)))


@pages()
def test_a_page_that_is_up_to_date_has_the_same_structure(page):
    if not translations.is_stale(page):  # the site puts a note on the other pages
        assert differences(translations.english_page(page).read_text(), page.read_text()) == {}


def test_the_page_of_every_key_is_the_one_that_its_script_makes():
    english, page = (path.read_text(encoding="utf-8") for path in (config_zh.ENGLISH, config_zh.PAGE))
    if not translations.is_stale(config_zh.PAGE):
        assert page.split("\n\n", 1)[1] == config_zh.translated(english), "run python docs/config_zh.py"


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("integer or null; at least 1; at most 20", "整数或 null；不小于 1；不大于 20"),
        ("number; above 0; below 1", "数值；大于 0；小于 1"),
        ("list of en, zh; 1 or more items", "列表，每项是 en, zh；1 项或更多"),
        ("en, zh or null", "en, zh 或 null"),
        ("text or integer or null", "文本或整数或 null"),
        ("mapping of names to text", "名字到文本的映射"),
        ("eager, compile, liger", "eager, compile, liger"),
    ],
)
def test_a_keys_value_in_chinese(english, chinese):
    assert config_zh.value_words(english) == chinese


@pytest.mark.parametrize(
    ("old", "new"), [("names and places", "the weather"), ("at least 0", "near 0"), ("# Every key", "Every key")]
)
def test_a_word_that_has_no_chinese_is_an_error(old, new):
    text = "# Every key\n\n## Top level\n\n| `seed` | All. | integer; at least 0 | `0` | names and places |\n"
    assert "| `seed` | All. | 整数；不小于 0 | `0` | 名字和位置 |" in config_zh.translated(text)
    with pytest.raises(ValueError, match=r"no Chinese|its title"):
        config_zh.translated(text.replace(old, new))


@pages()
def test_links_lead_to_files(page):
    targets = [target.split("#")[0] for target in re.findall(r"\]\((?!http)(.*?)\)", page.read_text())]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_pages_are_there_and_in_their_index():
    missing = [name for name in IN_CHINESE.split() if not (DOCS / "zh" / f"{name}.md").exists()]
    assert missing == []
    in_folder = {page.relative_to(DOCS / "zh").as_posix() for page in (DOCS / "zh").rglob("*.md")}
    assert in_folder - listed_pages(DOCS / "zh") == {"index.md"}


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("# 页面", "## 页面", "headings"),
        ("train lr=0.5", "train  lr=0.5", "code"),
        ("| 配置项 | 值 |\n", "", "rows of tables"),
        ("`lr`", "`rate`", "spans of code"),
        ("设为 0.5", "设为 0.05", "numbers"),
    ],
)
def test_a_difference_is_found(old, new, kind):
    assert differences(ENGLISH, CHINESE) == {}
    assert list(differences(ENGLISH, CHINESE.replace(old, new))) == [kind]


def test_a_page_is_stale_once_its_english_page_has_changed(tmp_path, monkeypatch):
    english, page = tmp_path / "pages.md", tmp_path / "zh" / "pages.md"
    page.parent.mkdir()
    english.write_text(ENGLISH)
    page.write_text(CHINESE)
    monkeypatch.setattr(translations, "english_page", lambda _: english)
    monkeypatch.setattr(translations, "DOCS", tmp_path / "docs")
    assert translations.is_stale(page)
    translations.mark_translated(page)
    assert not translations.is_stale(page)
    assert page.read_text().count("<!-- Translated") == 1
    english.write_text(ENGLISH.replace("```\nlwexp", "<!-- needs: gpu -->\n```\nlwexp"))
    assert not translations.is_stale(page)
    english.write_text(ENGLISH + "\nMore.\n")
    assert translations.is_stale(page)
