"""Texts that would make a page too large: a folder of files beside it, which the page's script loads on demand.

A page opened from a disk may not fetch files, but it may run scripts, so each file is one call of one function with a
name and base64 in it; no text can be read as code. A file is named by its content, so a page never shows the texts of
another version, and the page and its folder work wherever they are moved together.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lwexp.records import write_text

MOST_IN_PAGE = 1_500_000
"""Characters of packed texts that stay in the page itself; with more, it would take seconds to open."""

_CALL = "lwexpTexts("
_NAME = re.compile(r"[0-9a-f]{16}\.js(?:\.tmp)?")


class TextFiles(NamedTuple):
    """The folder's name, and one file name without its ending for each block of ``Packer``.

    The last ``num_index`` blocks are the index: of words, then the parts of that of pairs (``Packer.pack_index``).
    """

    folder: str
    names: tuple[str, ...]
    blocks: tuple[str, ...]
    num_index: int = 0

    @property
    def tree(self) -> dict[str, str | Sequence[str] | None]:
        """What the page's script needs to know."""
        first = len(self.names) - self.num_index
        texts, index = self.names[:first], self.names[first:]
        return {"folder": self.folder, "names": texts, "words": index[0] if index else None, "pairs": index[1:]}

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(len(_call(*pair)) for pair in zip(self.names, self.blocks, strict=True))


def text_files(packed: Sequence[str], page: Path, index: Callable[[], Sequence[str]] = tuple) -> TextFiles | None:
    """Files for the blocks of a page; None if they are small enough to stay in it.

    Args:
        packed: What ``Packer.pack`` returns.
        page: Where the page will be written. Its texts go to ``<its name without ending>_texts``.
        index: ``Packer.pack_index``; called only if there are files, because it takes a while.
    """
    blocks = list(packed[1:])
    if sum(map(len, blocks)) <= MOST_IN_PAGE:
        return None
    further = index()
    blocks += further
    names = tuple(hashlib.sha256(block.encode("ascii")).hexdigest()[:16] for block in blocks)
    return TextFiles(_folder(page).name, names, tuple(blocks), len(further))


def write_page(page: Path, html: str, texts: TextFiles | None) -> None:
    """Write a page with its texts: a reader finds the old page with its texts or the new one, never a mixture.

    Files of former versions are removed afterwards. Other files in the folder are left alone.
    """
    folder = _folder(page)
    if texts is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, block in zip(texts.names, texts.blocks, strict=True):
            write_text(folder / f"{name}.js", _call(name, block), encoding="ascii")
    write_text(page, html)
    _remove_others(folder, texts.names if texts else ())


def _folder(page: Path) -> Path:
    return page.with_name(f"{page.stem}_texts")


def _call(name: str, block: str) -> str:
    return f'{_CALL}"{name}","{block}");\n'


def _remove_others(folder: Path, names: Iterable[str]) -> None:
    """Remove files that this module wrote for other versions of the page, and the folder if nothing is left in it."""
    if not folder.is_dir():
        return
    kept = {f"{name}.js" for name in names}
    for file in folder.iterdir():
        if file.name not in kept and _NAME.fullmatch(file.name) and _is_written_here(file):
            file.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _is_written_here(file: Path) -> bool:
    with file.open("rb") as opened:
        start = opened.read(len(_CALL)).decode("ascii", errors="replace")
    return start == _CALL or (file.suffix == ".tmp" and _CALL.startswith(start))
