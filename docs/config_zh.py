"""The Chinese page of every key, made from docs/config.md: headings and labels in Chinese, sentences as they are.

python docs/config_zh.py    writes docs/zh/config.md
"""

import re
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from docs import translations

ENGLISH = translations.DOCS / "config.md"
PAGE = translations.DOCS / "zh" / "config.md"

_HEAD = """# 全部配置项

[英文页面](../config.md) 由 `python -m lwexp.commands.reference docs/config.md` 从配置的 schema 生成，
本页由 docs/config_zh.py 从英文页面生成，各配置项的说明保留英文。
在命令行上用 `key=value` 设置。`lwexp train --help objective` 打印一个小节；`--cfg job` 打印一条命令的整个配置。

默认值为 `-`，表示由所选的配置组文件设置。
“影响”一列说明换一个值会改变什么：结果（这个配置项就是运行 id 的一部分），选哪些样本，速度、内存或日志，
或者只改名字和位置。配置项里的 `*` 代表由你起的名字。
"""
_COLUMNS = "| 配置项 | 说明（英文） | 取值 | 默认值 | 影响 |"
_CHANGES = {
    "results": "结果",
    "which samples are chosen": "选哪些样本",
    "speed, memory or logs": "速度、内存或日志",
    "names and places": "名字和位置",
}
_WORDS = {"integer": "整数", "number": "数值", "text": "文本", "path": "路径", "section": "小节"}
_LIMITS = {
    r"at least (\S+)": r"不小于 \1",
    r"at most (\S+)": r"不大于 \1",
    r"above (\S+)": r"大于 \1",
    r"below (\S+)": r"小于 \1",
    r"(\S+) or more items": r"\1 项或更多",
}


def translated(english: str) -> str:
    """The Chinese page, without its first line.

    Raises:
        ValueError: If a line of docs/config.md has a form, or a word, that is not known here.
    """
    head, *parts = english.split("\n## ")
    if not head.startswith("# "):
        raise ValueError(f"the page begins with {head[:40]!r}; wanted its title")
    return _HEAD + "".join("\n## " + "\n".join(_line(line) for line in _with_title(part)) for part in parts)


def _with_title(part: str) -> list[str]:
    title, *lines = part.split("\n")
    return [title.replace("Top level", "顶层").replace(" with kind ", "，kind 为 ").replace("`, `", "`、`"), *lines]


def _line(line: str) -> str:
    if line.startswith("| `"):
        return _row(line)
    if line.startswith("| key"):
        return _COLUMNS
    line = line.replace("Keys of no section.", "不属于任何小节的配置项。")
    return re.sub(r"Read by ([\w, ]+)\.$", lambda match: f"由 {match[1].replace(', ', '、')} 读取。", line)


def _row(line: str) -> str:
    """One key. Bars within a cell are escaped, so " | " stands between cells only."""
    key, meaning, value, default, changes = line.removeprefix("| ").removesuffix(" |").split(" | ")
    if changes not in _CHANGES:
        raise ValueError(f"{key}: changes {changes!r}, which has no Chinese here")
    return f"| {key} | {meaning} | {value_words(value)} | {default} | {_CHANGES[changes]} |"


def value_words(value: str) -> str:
    """Type, choices and limits in Chinese; the names of choices stay."""
    kind, *limits = value.split("; ")
    return "；".join([_kind(kind), *map(_limit, limits)])


def _kind(kind: str) -> str:
    if kind.startswith("mapping of names to "):
        return f"名字到{_kind(kind.removeprefix('mapping of names to '))}的映射"
    if kind.endswith(" or null"):
        words = _kind(kind.removesuffix(" or null"))
        return f"{words}{' ' if words.isascii() else ''}或 null"
    if kind.startswith("list of "):
        words = _kind(kind.removeprefix("list of "))
        return f"列表，每项是{' ' if words.isascii() else ''}{words}"
    if kind in _WORDS:
        return _WORDS[kind]
    if kind == "text or integer":
        return "文本或整数"
    if kind == "[number, number]":
        return "[数值, 数值]"
    return kind


def _limit(limit: str) -> str:
    for pattern, words in _LIMITS.items():
        if re.fullmatch(pattern, limit):
            return re.sub(pattern, words, limit)
    raise ValueError(f"the limit {limit!r} has no Chinese here")


if __name__ == "__main__":
    PAGE.write_text(translated(ENGLISH.read_text(encoding="utf-8")), encoding="utf-8")
    translations.mark_translated(PAGE)
