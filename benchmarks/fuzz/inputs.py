"""What the doors are tried with: odd values, rows of them, the files that hold such rows, and damage to any file."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

DEEP = "[" * 100_000 + "]" * 100_000
_RAW = {"@deep@": DEEP, "@deep in deep@": '{"a":' * 3_000 + "1" + "}" * 3_000, "@digits@": "9" * 5_000}
"""Strings that stand for JSON that Python cannot write: nested deeper, and numbers longer, than it reads."""

ODD_TEXTS = (
    "", " ", "\0", "\ud83d", "a\udc00b", "\ufeff", "\u202e", "\u2028", "nul\0l", "²", "٣", "=1+1", "<script>", "$INST$",
    "${oc.env:HOME}", "{{x}}", "%s", "../../etc/passwd", "a" * 300, "1e999", "-0", "NaN", "null", "[]", "'", '"', "\\",
    "Write 999999999999999999999999 words about tea.", "请写99999999999999999999字", "word " * 500,
    # A search whose time grows with the square of a text's length needs minutes for these.
    *(lead + unit * 20_000 for lead, unit in (
        ("", " "), ("Tea.", "\n"), ("300", " "), ("[", "9"), ("(", "百"), ("", "_"), ("<|channel|>", "a"),
        ("[INST]", "\n"),
    )),
)  # fmt: skip
ODD_NUMBERS = (
    0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 1.5, -0.0, 1e308, float("inf"), float("-inf"),
    float("nan"), True, False,
)  # fmt: skip

texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=12) | st.text(st.characters(codec=None), max_size=6)
leaves = st.none() | st.sampled_from(ODD_NUMBERS) | st.integers() | texts | st.sampled_from(tuple(_RAW))
odd_values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=4
)


def rows(good: Sequence[Mapping[str, Any]], *, odd: SearchStrategy[Any] = odd_values) -> SearchStrategy[list[Any]]:
    """A few rows: good ones, good ones in which some values are odd, and values that are no rows."""
    row = st.builds(changed, st.sampled_from(good), st.lists(changes(odd), max_size=2))
    return st.lists(st.one_of(row, row, row, row, odd), min_size=1, max_size=4)


Change = tuple[float, float, float, Any]
"""Numbers from 0 to 1 that choose a place in a row and what happens there, and an odd value."""


def changes(odd: SearchStrategy[Any] = odd_values) -> SearchStrategy[Change]:
    share = st.floats(0, 1, exclude_max=True)
    return st.tuples(share, share, share, odd)


def changed(tree: Any, wanted: Sequence[Change]) -> Any:
    """A copy of a JSON value in which values are replaced, added or removed."""
    tree = json.loads(json.dumps(tree))
    for where, depth, action, value in wanted:
        node = tree
        while isinstance(node, dict | list) and node:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = keys[int(where * len(keys))]
            where = where * 7.3 % 1
            if isinstance(node[key], dict | list) and node[key] and depth > 0.3:
                node, depth = node[key], depth * 7.3 % 1
                continue
            if action < 0.15:
                del node[key]
            elif action < 0.3 and isinstance(node, dict):
                node[str(value)[:20]] = value
            else:
                node[key] = value
            break
    return tree


def as_json(value: Any) -> str:
    """JSON, with the strings of ``_RAW`` as what they stand for."""
    text = json.dumps(value)
    for name, raw in _RAW.items():
        text = text.replace(json.dumps(name), raw)
    return text


def jsonl(values: Sequence[Any]) -> bytes:
    return "".join(as_json(value) + "\n" for value in values).encode("ascii")


def csv_of(values: Sequence[Any]) -> bytes:
    """The rows that are objects, under the columns of the first."""
    found = [value for value in values if isinstance(value, dict)] or [{}]
    out = io.StringIO()
    table = csv.writer(out)
    columns = list(found[0])
    table.writerow(columns)
    for value in found:
        cells = [value.get(column) for column in columns]
        table.writerow([cell if isinstance(cell, str) else as_json(cell) for cell in cells])
    return out.getvalue().encode("utf-8", "surrogatepass")


def parquet_of(values: Sequence[Any]) -> bytes:
    """The rows that are objects; a column that Arrow cannot hold becomes text, or binary in a column of text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = [value for value in values if isinstance(value, dict)] or [{"text": "a"}]
    columns: dict[str, Any] = {}
    for name in found[0]:
        cells = [value.get(name) for value in found]
        try:
            columns[name.encode("utf-8", "replace").decode()] = pa.array(cells)
        except (pa.ArrowException, ValueError, OverflowError, TypeError):
            raw = pa.array([as_json(cell).encode("utf-8", "surrogatepass") + b"\xff" for cell in cells], pa.binary())
            columns[name.encode("utf-8", "replace").decode()] = raw.view(pa.string())
    out = io.BytesIO()
    try:
        pq.write_table(pa.table(columns), out)
    except (pa.ArrowException, OSError, ValueError):  # such as a struct without fields
        pq.write_table(pa.table({"text": ["a"]}), out)
    return out.getvalue()


Edit = tuple[int, float, bytes]
"""What is done, where in the file (0 to 1), and the bytes for it."""

_MARKS = (b"\xff\xfe", b"\xef\xbb\xbf", b"\x1f\x8b", b"PK\x03\x04", b"PAR1", b"\0")
edits: SearchStrategy[list[Edit]] = st.just([]) | st.lists(
    st.tuples(st.integers(0, 4), st.floats(0, 1), st.sampled_from(_MARKS) | st.binary(min_size=1, max_size=8)),
    min_size=1, max_size=3,
)  # fmt: skip
"""Damage to a file: none in half of the cases."""


def edited(data: bytes, changes: Sequence[Edit]) -> bytes:
    """A file's bytes after each edit: cut, overwritten, shortened, repeated, or with other first bytes."""
    for action, share, piece in changes:
        place = int(share * len(data))
        if action == 0:
            data = data[:place]
        elif action == 1:
            data = data[:place] + piece + data[place + 1 :]
        elif action == 2:
            data = data[:place] + data[place + 5 * len(piece) :]
        elif action == 3:
            data = data[:place] + data[place : place + 40] + data[place:]
        else:
            data = piece + data
    return data


def damaged(content: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """A file's bytes, of which half stay whole."""
    return st.builds(edited, content, edits)


def files(good: Sequence[Mapping[str, Any]], endings: Sequence[str]) -> SearchStrategy[tuple[str, bytes]]:
    """An ending and the content of a file of rows in that form, damaged or not."""

    @st.composite
    def file(draw: DrawFn) -> tuple[str, bytes]:
        ending = draw(st.sampled_from(endings))
        values = draw(rows(good))
        plain = ending.removesuffix(".gz")
        if plain == ".json":
            shape = draw(st.integers(0, 3))
            whole = values if shape < 2 else {"data": values} if shape == 2 else values[0]
            content = as_json(whole).encode("ascii")
        elif plain == ".csv":
            content = csv_of(values)
        elif plain == ".parquet":
            content = parquet_of(values)
        else:
            content = jsonl(values)
        if ending.endswith(".gz"):
            content = gzip.compress(draw(damaged(st.just(content))), 1, mtime=0)
        return ending, draw(damaged(st.just(content)))

    return file()
