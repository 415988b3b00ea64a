"""Texts in a folder beside the page: data only, never of another version, and no one else's file is touched."""

import base64
import hashlib
import json
import re
import zlib
from pathlib import Path

import pytest

from benchmarks.report_page import write_runs
from lwexp.pages import text_files
from lwexp.pages.text_files import TextFiles, write_page
from lwexp.report import compare

CALL = re.compile(r'lwexpTexts\("([0-9a-f]{16})","([A-Za-z0-9+/]+={0,2})"\);\n')


def blocks_of(*texts):
    """Packed blocks made by hand, with their names."""
    blocks = tuple(base64.b64encode(zlib.compress(text.encode())).decode() for text in texts)
    names = tuple(hashlib.sha256(block.encode()).hexdigest()[:16] for block in blocks)
    return TextFiles("report_texts", names, blocks)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else None


def test_many_texts_lie_beside_the_page_as_data_and_few_stay_in_it(tmp_path, monkeypatch):
    """8 x 15 answers of about 1,300 words: 1.2 MB as written, at most half of that packed."""
    runs = write_runs(tmp_path / "runs", models=8, prompts=15)
    page = compare(runs, tmp_path / "whole" / "r.html")
    assert files_in(tmp_path / "whole" / "r_texts") is None
    monkeypatch.setattr(text_files, "MOST_IN_PAGE", 100_000)
    split = compare(runs, tmp_path / "split" / "r.html")
    files = sorted((tmp_path / "split" / "r_texts").iterdir())
    packed = sum(file.stat().st_size for file in files)
    assert 250_000 < packed < 900_000
    assert split.stat().st_size < 950_000
    (content,) = re.findall(r'id="files">(.*?)</script>', split.read_text())
    listed = json.loads(content)
    names, index = listed["names"], [listed["words"], *listed["pairs"]]
    indexed = sum((tmp_path / "split" / "r_texts" / f"{name}.js").stat().st_size for name in index)
    assert abs(page.stat().st_size - split.stat().st_size - (packed - indexed)) < 2_000
    assert (listed["folder"], {f"{name}.js" for name in [*names, *index]}) == (
        "r_texts",
        {file.name for file in files},
    )
    found = []
    for name in names:
        call = CALL.fullmatch((files[0].parent / f"{name}.js").read_text(encoding="ascii"))
        assert call is not None
        assert call[1] == name == hashlib.sha256(call[2].encode()).hexdigest()[:16]
        found += json.loads(zlib.decompress(base64.b64decode(call[2])))
    assert [len(detail["groups"][0][1]) for detail in found] == [8] * 15


def test_texts_of_an_older_page_go_and_other_files_stay(tmp_path):
    folder = tmp_path / "report_texts"
    folder.mkdir()
    others = {"notes.js": "mine", f"{'a' * 16}.js": "let mine = 1;", "picture.png": ""}
    for name, content in others.items():
        (folder / name).write_text(content)
    (folder / f"{'b' * 16}.js.tmp").write_text("lwexpTe")  # of a process that was killed
    old, new = blocks_of("one", "two"), blocks_of("two", "three")
    write_page(tmp_path / "report.html", "old", old)
    assert files_in(folder) == sorted([*others, *(f"{name}.js" for name in old.names)])
    write_page(tmp_path / "report.html", "new", new)
    assert files_in(folder) == sorted([*others, *(f"{name}.js" for name in new.names)])
    write_page(tmp_path / "report.html", "small", None)
    assert files_in(folder) == sorted(others)
    assert {name: (folder / name).read_text() for name in others} == others


def test_the_folder_goes_with_its_last_file(tmp_path):
    write_page(tmp_path / "report.html", "large", blocks_of("one"))
    write_page(tmp_path / "report.html", "small", None)
    assert files_in(tmp_path) == ["report.html"]


@pytest.mark.parametrize("fails_at", [1, 2])
def test_if_writing_stops_the_old_page_still_has_its_texts(tmp_path, monkeypatch, fails_at):
    """At the second file of texts, or at the page itself."""
    old, new = blocks_of("one", "two"), blocks_of("three", "four")
    write_page(tmp_path / "report.html", "old", old)
    written: list[Path] = []

    def write(path, text, encoding="utf-8"):
        if len(written) == fails_at:
            raise OSError(28, "No space left on device")
        written.append(path)
        path.write_text(text, encoding=encoding)

    monkeypatch.setattr(text_files, "write_text", write)
    with pytest.raises(OSError, match="No space"):
        write_page(tmp_path / "report.html", "new", new)
    assert (tmp_path / "report.html").read_text() == "old"
    assert {f"{name}.js" for name in old.names} <= set(files_in(tmp_path / "report_texts"))
