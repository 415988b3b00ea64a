"""The Chinese pages: which English page each was translated from, and whether that page has changed since.

python docs/translations.py                   # lists the pages whose English page has changed
python docs/translations.py docs/zh/start.md  # writes down that this page is up to date again
python docs/config_zh.py                      # makes docs/zh/config.md from docs/config.md
"""

import hashlib
import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
README = DOCS.parent / "README.zh.md"
FIRST_LINE = re.compile(r"<!-- Translated from (?P<path>\S+), sha256 (?P<sha256>[0-9a-f]{12}) -->\n")


def english_page(page: Path) -> Path:
    """The English page that a Chinese one translates: the one of the same name."""
    return DOCS.parent / "README.md" if page == README else DOCS / page.relative_to(DOCS / "zh")


def translated_part(text: str) -> str:
    """A page without its comments and without the list of messages, which is written from the source."""
    text = re.sub(r"<!-- messages:.*<!-- end of messages -->", "", text, flags=re.DOTALL)
    return re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)


def hash_of(page: Path) -> str:
    text = translated_part(page.read_text(encoding="utf-8"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_stale(page: Path) -> bool:
    """True if the English page has changed since it was translated, or if the first line does not say which it was."""
    first_line = FIRST_LINE.match(page.read_text(encoding="utf-8"))
    return first_line is None or first_line["sha256"] != hash_of(english_page(page))


def mark_translated(page: Path) -> None:
    """Write the name and the hash of the present English page into the first line."""
    english = english_page(page)
    text = FIRST_LINE.sub("", page.read_text(encoding="utf-8"), count=1).lstrip("\n")
    name = english.relative_to(DOCS.parent).as_posix()
    page.write_text(f"<!-- Translated from {name}, sha256 {hash_of(english)} -->\n\n{text}", encoding="utf-8")


def chinese_pages() -> list[Path]:
    """All Chinese pages that are there, the README included."""
    return [page for page in [README, *sorted((DOCS / "zh").rglob("*.md"))] if page.exists()]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        mark_translated(Path(name).resolve())
    for stale in filter(is_stale, chinese_pages()):
        print(f"{stale.relative_to(DOCS.parent)}: {english_page(stale).relative_to(DOCS.parent)} has changed")
