"""The messages that end a command or turn a row away, read off the package's syntax trees, for docs/troubleshooting.md.

python -m tests.messages            writes them into the page
python -m tests.messages --check    exit code 1 if the page is not up to date (make docs)
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from tests import ROOT
from tests.architecture import tree

PAGE = ROOT / "docs" / "troubleshooting.md"
FILES = [path for folder in ("lwexp", "hydra_plugins") for path in sorted((ROOT / folder).rglob("*.py"))]
GAP = "…"  # what only a run knows: a path, a number, another program's words
FEW_LETTERS = 8  # a text with fewer is a frame for other words
OWN_WORDS = 13  # an f-string with fewer letters is shown with the words of its parts, if the source tells them

# Errors whose text is the last line of a command. ValueError: raised by validators of settings, a line of ConfigError.
# kind: sample/answer_files.py chooses between two of them.
ERRORS = {
    "LwexpError", "ConfigError", "OutOfMoney", "SubmissionRefused", "NoAnswer", "UnencodableError", "OtherModelError",
    "ServerCannotTellError", "_NoAnswersError", "ValueError", "TooDeepError", "kind", "HTTPServiceUnavailable",
    "HTTPRequestTimeout",
}  # fmt: skip
# Errors that leave out one row or answer: quoted in a failures file, or after the place in a line of the first kind.
ROW_ERRORS = {"BrokenRowError", "UnreadableError", "_MispairedError"}
# Functions that return lines which another place raises.
LINES = {("lwexp/config/base.py", "_explain")}
# Not met by users: bad arguments from lwexp's own code.
INTERNAL = {("lwexp/llm/offline/grammar.py", "ValueError")}


class Place(NamedTuple):
    """Where an expression stands, which says what its names mean."""

    path: Path
    function: ast.FunctionDef | ast.AsyncFunctionDef | None
    owner: ast.ClassDef | None


class Message(NamedTuple):
    text: str  # gaps as GAP
    path: str
    ends_command: bool


class Opaque(NamedTuple):
    """A raise whose words come from elsewhere, such as an argument."""

    path: str
    function: str


def letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def walk(path: Path) -> Iterator[tuple[ast.AST, Place]]:
    def below(node: ast.AST, place: Place) -> Iterator[tuple[ast.AST, Place]]:
        for child in ast.iter_child_nodes(node):
            yield child, place
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from below(child, place._replace(function=child))
            elif isinstance(child, ast.ClassDef):
                yield from below(child, place._replace(owner=child))
            else:
                yield from below(child, place)

    return below(tree(path), Place(path, None, None))


def texts(node: ast.AST | None, place: Place, depth: int = 0) -> list[str]:
    """The texts that an expression may stand for, as far as the source says; empty if only a run knows."""
    if depth > 8:
        return []

    def of(*nodes: ast.AST | None) -> list[str]:
        return list(chain.from_iterable(texts(one, place, depth + 1) for one in nodes))

    match node:
        case ast.Constant(value=str(value)):
            return [value]
        case ast.JoinedStr(values=parts):
            return _joined(parts, place, depth)
        case ast.BinOp(op=ast.Add()) if isinstance(node.left, ast.List) or isinstance(node.right, ast.List):
            return of(node.left, node.right)
        case ast.BinOp(op=ast.Add()):
            return [a + b for a in of(node.left) or [GAP] for b in of(node.right) or [GAP]]
        case ast.IfExp():
            return of(node.body, node.orelse)
        case ast.BoolOp() | ast.Dict():
            return of(*node.values)
        case ast.List() | ast.Tuple():
            return of(*node.elts)
        case ast.GeneratorExp() | ast.ListComp():
            return of(node.elt)
        case ast.Subscript() | ast.Starred():
            return of(node.value)
        case ast.Name(id=name):
            return of(*_values_of(name, place))
        case ast.Attribute(value=ast.Name(id="self"), attr=name) if place.owner:
            return of(*_assigned(name, place.owner.body))
        case ast.Call(func=ast.Attribute(value=template, attr="format")):
            return [re.sub(r"\{\w*\}", GAP, text) for text in of(template)]
        case ast.Call(func=ast.Attribute(attr="join"), args=[items]):
            return [text for text in of(items) if letters(text) >= FEW_LETTERS]
        case ast.Call(func=called):
            return [text for found in _functions(called, place) for text in _returned(*found, depth)]
    return []


def _joined(parts: list[ast.expr], place: Place, depth: int) -> list[str]:
    """An f-string: its words with gaps. If it has hardly any of its own, the words of its parts."""
    words = [str(part.value) if isinstance(part, ast.Constant) else GAP for part in parts]
    plain = "".join(words)
    if letters(plain) >= OWN_WORDS:
        return [plain]
    found = [""]
    for part, word in zip(parts, words, strict=True):
        inner = texts(part.value, place, depth + 1) if isinstance(part, ast.FormattedValue) else [word]
        found = [before + text for before in found for text in inner or [GAP]]
    return [text for text in found if letters(text) >= letters(plain)]


def _assigned(name: str, body: list[ast.stmt]) -> list[ast.AST]:
    found: list[ast.AST] = []
    for node in chain.from_iterable(ast.walk(one) for one in body):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = getattr(node, "value", None)
            found += [value] if value is not None else []
    return found


def _values_of(name: str, place: Place) -> list[ast.AST]:
    """What a name may stand for: assigned in the function, given to it by callers in its file, or a constant."""
    local = _assigned(name, place.function.body) if place.function else []
    outside = [one for one in tree(place.path).body if isinstance(one, ast.Assign | ast.AnnAssign)]
    return local or (_given(name, place) if place.function else []) or _assigned(name, list(outside))


def _given(name: str, place: Place) -> list[ast.AST]:
    assert place.function is not None
    names = [one.arg for one in place.function.args.args if one.arg != "self"]
    mine = _calls(place.path).get(place.function.name, [])
    at = names.index(name) if name in names else len(names)
    found = [call.args[at] for call in mine if at < len(call.args)]
    return [*found, *(word.value for call in mine for word in call.keywords if word.arg == name)]


@cache
def _calls(path: Path) -> dict[str, list[ast.Call]]:
    found = dict[str, list[ast.Call]]()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            found.setdefault(_name(node.func), []).append(node)
    return found


def _functions(called: ast.AST, place: Place) -> list[tuple[ast.FunctionDef, Place]]:
    match called:
        case ast.Attribute(value=ast.Name(id="self"), attr=name) if place.owner:
            return [(one, place._replace(function=one)) for one in _defined(name, place.owner.body)]
        case ast.Name(id=name):
            home = _imported(place.path).get(name, place.path)
            return [(one, Place(home, one, None)) for one in _defined(name, tree(home).body)]
    return []


def _defined(name: str, body: list[ast.stmt]) -> list[ast.FunctionDef]:
    return [one for one in body if isinstance(one, ast.FunctionDef) and one.name == name]


@cache
def _imported(path: Path) -> dict[str, Path]:
    """The file that each name from the package comes from, if that is a module's."""
    found = dict[str, Path]()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lwexp"):
            home = ROOT / (node.module or "").replace(".", "/")
            if home.is_dir():
                there = _imported(home / "__init__.py") if path != home / "__init__.py" else {}
                found |= {alias.name: there[alias.name] for alias in node.names if alias.name in there}
            else:
                found |= {alias.name: home.with_suffix(".py") for alias in node.names}
    return found


def _returned(function: ast.FunctionDef, place: Place, depth: int) -> list[str]:
    found: list[str] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Return | ast.Yield) and node.value is not None:
            found += texts(node.value, place, depth + 1)
        elif isinstance(node, ast.Call) and _name(node.func) == "append" and _is_problem(function.name):
            found += texts(node.args[0], place, depth + 1)
    return found


def _raised(call: ast.Call, place: Place) -> str:
    """The error that a call makes. ``super().__init__`` in a class of errors makes that error, and has its words."""
    match call.func:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__init__") if place.owner:
            return place.owner.name
    return _name(call.func)


def _said(call: ast.Call) -> ast.AST | None:
    """Its text: a keyword of aiohttp's errors, else the last argument, since row errors begin with a short reason."""
    return next((word.value for word in call.keywords if word.arg == "text"), call.args[-1] if call.args else None)


def _is_problem(name: str) -> bool:
    return re.search(r"problems?$", name) is not None


def collect() -> tuple[list[Message], list[Opaque]]:
    """All messages, each once; and the raises whose words the source does not tell."""
    return _collect(tuple(FILES))


@cache
def _collect(files: tuple[Path, ...]) -> tuple[list[Message], list[Opaque]]:
    messages, opaque = dict[str, Message](), set[Opaque]()
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        for node, place in walk(path):
            if isinstance(node, ast.FunctionDef) and ((name, node.name) in LINES or _is_problem(node.name)):
                found, ends = _returned(node, place._replace(function=node), 0), True
            elif isinstance(node, ast.Call) and (kind := _raised(node, place)) in ERRORS | ROW_ERRORS:
                if (name, kind) in INTERNAL or (said := _said(node)) is None:
                    continue
                found, ends = texts(said, place), kind in ERRORS
                if kind == _name(node.func) and not any(letters(text) >= FEW_LETTERS for text in found):
                    opaque.add(Opaque(name, place.function.name if place.function else ""))
            else:
                continue
            for text in found:
                short = _shortened(text)
                if letters(short) >= FEW_LETTERS:
                    messages.setdefault(short, Message(short, name, ends))
    return list(messages.values()), sorted(opaque)


def _shortened(text: str) -> str:
    """Gaps in a row become one, as do the dots of a place inside another (``row.messages[0].content``)."""
    one_gap = re.sub(rf"{GAP}(\s*{GAP})+", GAP, " ".join(text.split()))
    return re.sub(rf"([{GAP}\]])\.+(?=\w)", r"\1.", one_gap)


def _name(called: ast.AST) -> str:
    return called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""


TOPICS = {
    "Settings, command line and plugins": ("config", "extend", "commands", "lwexp"),
    "Files, rows and mixtures": ("mix", "rowfiles"),
    "Teachers, keys and budgets": ("generate", "llm", "text"),
    "Tokenizers, chat formats and packs": ("pack",),
    "Models, hardware and training": ("train", "convert.py"),
    "Sampling and servers": ("sample", "serve"),
    "Benches, judges and scores": ("benches", "score", "harness", "stats"),
    "Runs, disks, locks and clusters": ("runs", "records"),
    "Evaluations, pairs, exports and sweeps": ("recipe", "export.py"),
    "Reports, the live page and published data": ("report", "pages", "publish", "watch"),
}
START, END = "<!-- messages: written by python -m tests.messages -->", "<!-- end of messages -->"


def page_part() -> str:
    """The messages by topic; those that leave out a row come last, since they have no place of their own."""
    messages, _ = collect()
    parts: list[str] = []
    for topic, rooms in TOPICS.items():
        inside = sorted(
            {one.text for one in messages if one.ends_command and one.path.split("/")[1] in rooms}, key=_order
        )
        parts += [f"### {topic}", "", *(f"- {_code(text)}" for text in inside), ""]
    rows = sorted({one.text for one in messages if not one.ends_command}, key=_order)
    return "\n".join(
        [*parts, "### Reasons why a row or a reply is left out", "", *(f"- {_code(text)}" for text in rows)]
    )


def _order(text: str) -> tuple[str, str]:
    """Alphabetical by the first words that are always the same."""
    return re.sub(r"[^a-z]", "", text.lower()), text


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def page_with_part() -> str:
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    return f"{before}{START}\n{page_part()}\n{END}{rest.split(END)[1]}"


def explained() -> list[str]:
    """The beginnings or parts of messages that the page explains by hand: the first cells of its tables."""
    by_hand = PAGE.read_text(encoding="utf-8").split(START)[0]
    cells = re.findall(r"^\| (`.*?`) \| ", by_hand, re.MULTILINE)
    return [text for cell in cells for text in re.findall(r"`(.+?)`", cell)]


if __name__ == "__main__":
    if "--check" in sys.argv:
        if page_with_part() != PAGE.read_text(encoding="utf-8"):
            sys.exit("docs/troubleshooting.md lacks messages: run python -m tests.messages")
    else:
        PAGE.write_text(page_with_part(), encoding="utf-8")
