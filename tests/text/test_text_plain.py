"""Outside text: single lines, names for folders, replies read whole."""

import pytest
from pydantic import BaseModel, ConfigDict, StrictBool

from lwexp.text.plain import first_difference, first_line, one_line, slug, without_unseen
from lwexp.text.replies import UnreadableError, read_object


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Qwen/Qwen2.5 (7B)", "Qwen-Qwen2.5-7B"),
        ("my  data!.", "my-data"),
        ("../..", "x"),
        ("数据", "x"),
        ("a" * 39 + "-b", "a" * 39),
        ("", "x"),
    ],
)
def test_a_slug_is_a_plain_folder_name(text, wanted):
    assert slug(text, "x") == wanted


def test_an_error_is_reported_by_its_first_line_or_its_name():
    assert first_line(ValueError("\nfirst \nsecond")) == "first "
    assert first_line(ValueError()) == "ValueError"
    assert first_line(ValueError(), "no message") == "no message"


def test_a_line_is_cut_and_shows_what_hides():
    assert one_line("a\n b\u202ec", 20) == "a b[U+202E]c"
    assert one_line("abcdef", 4) == "abc\u2026"
    assert without_unseen("a\u200bb\u00ad\u2066c") == "abc"
    assert without_unseen("é 茶 \t\n") == "é 茶 \t\n"


class Yes(BaseModel):
    model_config = ConfigDict(extra="forbid")

    yes: StrictBool


@pytest.mark.parametrize(
    "reply",
    [
        '{"yes": true}', '\n```json\n{"yes": true}\n```', '```\n{"yes":true}```', '{"yes": true,}',
        '{"yes": true, "why": 1}', '{"answer": {"Yes": true}}', "<think>no</think>{\"yes\": true}",
    ],
)  # fmt: skip
def test_one_object_is_read(reply):
    assert read_object(reply, Yes).yes is True


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ("yes", "does not start with"),
        ('So: {"yes": true}', "does not start with"),
        ('{"yes": true} I hope this helps', "text after"),
        ('{"yes": true, "yes": false}', "a key twice"),
        ('{"yes": true', "not valid JSON"),
        ('{"yes": 1}', "yes"),
        ('{"no": true, "why": 1}', "no key yes"),
        ('{"first": {"yes": true}, "second": {"yes": true}}', "twice"),
        ('{"yes": true, "Yes": false}', "a key twice"),
        ("[" * 100_000, "does not start with"),
        ('{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_anything_else_is_refused_with_its_reason(reply, problem):
    with pytest.raises(UnreadableError, match=problem):
        read_object(reply, Yes)


def test_punctuation_is_mended_only_where_the_caller_believes_it():
    assert read_object('{"yes": true', Yes, mends=lambda text, value: value == {"yes": True}).yes is True
    with pytest.raises(UnreadableError, match="not valid JSON"):
        read_object('{"yes": true', Yes, mends=lambda text, value: False)


def test_the_first_difference_of_two_sequences():
    assert first_difference([1, 2, 3], [1, 5, 3]) == 1
    assert first_difference("abc", "abd") == 2
    assert first_difference([1, 2], [1, 2, 3]) == first_difference([1, 2, 3], [1, 2]) == 2  # one begins the other
    assert first_difference([], [1]) == 0
