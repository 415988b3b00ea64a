"""Files of prompts as benches read them."""

import json
from pathlib import Path

from lwexp.benches.select import load_bench
from lwexp.config import compose
from lwexp.records import Prompt


def lines(*rows: object) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def file_bench(tmp_path: Path, text: str, *overrides: str) -> list[Prompt]:
    path = tmp_path / "bench.jsonl"
    path.write_text(text, encoding="utf-8")
    return load_bench(compose("bench=jsonl", f"bench.path={path}", *overrides).bench)


def published_shape(folder: Path) -> Path:
    """A file as LongBench-Write has it: five prompts, three of them English, one of these asking in Chinese."""
    rows = [
        ("Write 100 words on tea.", "News", 100), ("写一篇200字的短文", "Education", 200),
        ("请用英文写2000字", "News", 2000), ("写一篇4000字的小说", "Literature", 4000),
        ("Write 20000 words.", "News", 20000),
    ]  # fmt: skip
    every = [{"prompt": text, "type": kind, "length": length} for text, kind, length in rows]
    (folder / "longbench_write.jsonl").write_text(lines(*every), encoding="utf-8")
    (folder / "longbench_write_en.jsonl").write_text(lines(every[0], every[2], every[4]), encoding="utf-8")
    return folder


def published(folder: Path, *overrides: str, bench: str = "longbench_write") -> list[Prompt]:
    return load_bench(compose(f"bench={bench}", f"bench.path={folder}", "bench.sha256=null", *overrides).bench)


def numbers(prompts: list[Prompt]) -> list[int]:
    return [int(prompt.id.removeprefix("longbench_write-")) for prompt in prompts]
