"""docs/troubleshooting.md has every message of the package, and says what to do where the message itself does not."""

import ast
import re
from pathlib import Path

import pytest

from tests import messages
from tests.architecture import tree
from tests.messages import GAP, Place, collect, explained, page_with_part, texts

# A message with one of these says what to do or what was wanted.
ADVICE = re.compile(
    r"\b(wanted|set|choose|use|add|remove|give|lower|raise|run|rerun|fix|take|free|move|install|pip|make|try|write|save|"
    r"copy|unset|restore|delete|check|leave|type|see|start|name|get|put|close|drop|keep|load|correct|switch|accept|"
    r"convert|download|update|did you mean|override|belongs? to|quote|widen|"
    r"there are|there is|here it is|top it up|serve|look|needs?|wants?|must)\b"
)
# Raises whose words come from elsewhere: from an error or problem collected where it is made, or from another program.
PASSED_ON = {
    ("lwexp/config/base.py", "validate"): "lines of _explain",
    ("lwexp/config/secrets.py", "refuse_arguments"): "a ConfigError of secrets.py",
    ("lwexp/generate/select.py", "_check_teacher"): "an error of the teacher, and two phrases chosen in a loop",
    ("lwexp/llm/answer.py", "outcome_of"): "a provider's reply",
    ("lwexp/llm/client.py", "_ask"): "the stop of Health",
    ("lwexp/mix/hub.py", "_read_files"): "an error of a file in a folder",
    ("lwexp/mix/parse.py", "_parsed"): "what the JSON reader says",
    ("lwexp/mix/parse.py", "read"): "a BrokenRowError, with the row's form",
    ("lwexp/pack/chat.py", "_pieces"): "the number of a message, for the caller",
    ("lwexp/pack/tokens.py", "_naming_rows"): "an UnencodableError, with its row",
    ("lwexp/recipe/training.py", "_check"): "problems of the planner",
    ("lwexp/records/files.py", "read_json_lines"): "what the JSON reader says",
    ("lwexp/rowfiles/packed.py", "refuse_other_encodings"): "a text of a table in a loop",
    ("lwexp/runs/find.py", "find_run"): "_problem, by run",
    ("lwexp/sample/answer_files.py", "_whole"): "what the row reader says",
    ("lwexp/sample/pairing.py", "_by_id_of"): "ids, for the caller",
    ("lwexp/sample/pairing.py", "_by_text_of"): "a text, for the caller",
    ("lwexp/sample/pairing.py", "prompt_of"): "a text, for the caller",
    ("lwexp/score/given_scores.py", "_dimensions"): "a ValueError of the scores",
    ("lwexp/train/model/build.py", "_pretrained"): "an error of load_weights",
}


def test_the_page_has_every_message():
    assert page_with_part() == messages.PAGE.read_text(encoding="utf-8"), "run python -m tests.messages"


def test_each_message_says_what_to_do_or_the_page_does():
    """A text that ends with a gap after a semicolon ends with advice that a table or a caller gives."""
    by_hand = explained()
    silent = [
        one
        for one in collect()[0]
        if one.ends_command and not ADVICE.search(one.text) and not one.text.endswith(f"; {GAP}")
        and not any(part in one.text for part in by_hand)
    ]  # fmt: skip
    assert silent == []


def test_what_the_page_explains_is_still_said():
    said = [one.text for one in collect()[0]]
    assert [part for part in explained() if not any(part in text for text in said)] == []


def test_every_error_and_every_room_is_looked_at():
    known = messages.ERRORS | messages.ROW_ERRORS
    classes = [node for path in messages.FILES for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
    bases = {one.name: {base.id for base in one.bases if isinstance(base, ast.Name)} for one in classes}
    assert {name for name, above in bases.items() if above & known - {"ValueError"}} <= known
    rooms = {one.path.split("/")[1] for one in collect()[0] if one.ends_command}
    assert rooms <= {room for topic in messages.TOPICS.values() for room in topic}


def test_no_other_raise_hides_its_words():
    assert {(one.path, one.function) for one in collect()[1]} == set(PASSED_ON)


SOURCE = """
from lwexp.records import LwexpError

_FIX = "set a colour, or leave it out"


class ClashError(LwexpError):
    def __init__(self):
        super().__init__("clashes with the wall; choose another")


class Paint(Colour):
    def __init__(self):
        super().__init__("the words of a class that is no error")


def refuse(colour):
    if problem := colour_problem(colour):
        raise LwexpError(f"{colour}: {problem}")
    raise LwexpError(colour)


def colour_problem(colour):
    if colour == "grey":
        return f"{colour} is no colour that prints; {_FIX}"
    return "the paint is dry" if colour else None
"""


@pytest.fixture
def invented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "lwexp").mkdir()
    file = tmp_path / "lwexp" / "paint.py"
    file.write_text(SOURCE)
    monkeypatch.setattr(messages, "ROOT", tmp_path)
    monkeypatch.setattr(messages, "FILES", [file])
    monkeypatch.setattr(messages, "ERRORS", messages.ERRORS | {"ClashError"})


def test_a_new_message_is_collected_with_the_words_of_its_parts(invented):
    """Read off SOURCE by eye. The last raise passes on an argument, so its words are not known."""
    found, opaque = collect()
    assert {one.text for one in found} == {
        "…: … is no colour that prints; …",
        "…: the paint is dry",
        "… is no colour that prints; …",
        "the paint is dry",
        "clashes with the wall; choose another",
    }
    assert [tuple(one) for one in opaque] == [("lwexp/paint.py", "refuse")]


def test_a_new_message_fails_the_page_and_one_without_advice_the_second_test(invented):
    with pytest.raises(AssertionError, match=r"python -m tests\.messages"):
        test_the_page_has_every_message()
    with pytest.raises(AssertionError, match="the paint is dry"):
        test_each_message_says_what_to_do_or_the_page_does()


def test_a_place_inside_a_place_is_one_place():
    found = messages._shortened(f"rows[{GAP}]...text is {GAP}  {GAP}, sha {GAP}...")
    assert found == f"rows[{GAP}].text is {GAP}, sha {GAP}..."


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('"a" + "b"', ["ab"]),
        ('f"{n} rows are left"', ["… rows are left"]),
        ('"yes" if x else f"no {y}"', ["yes", "no …"]),
        ('"{a} of {b}".format(a=1, b=2)', ["… of …"]),
        ("str(error)", []),
    ],
)
def test_texts_of_an_expression(code, found):
    assert texts(ast.parse(code, mode="eval").body, Place(Path(__file__), None, None)) == found
