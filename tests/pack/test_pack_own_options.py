"""Options of the tokenizer's own template: what they change, that a server renders the same, and what is refused."""

import json
from typing import Any

import pytest
from transformers import AutoTokenizer

from lwexp.config import compose
from lwexp.pack.chat import chat_of, encode_prompt
from lwexp.pack.formats.own import OwnTemplate
from lwexp.pack.tokenizer import load_tokenizer, save_tokenizer
from lwexp.records import LwexpError
from tests.pack.own_templates import (
    DATED,
    DATED_BY_CLOCK,
    MARKED,
    PLAIN,
    THINKING,
    TRIMMED,
    WITH_DEFAULT,
    own_folder,
    rendered,
)
from tests.pack.pack_rows import encode_conversation, turns
from tests.pack.test_pack_own import target_texts

ONE, TWO = turns("Hi", "Yo"), turns("Hi", "Yo", "Q", "A")
SYSTEM = turns("Hi", "Yo", system="S")


@pytest.fixture(scope="module")
def open_with(tmp_path_factory):
    """A tokenizer opened with settings, and transformers' own of the folder it is saved to: what a server has."""

    def opened(template, like="chatml", **settings):
        tokenizer = load_tokenizer(
            own_folder(tmp_path_factory.mktemp("own"), template, like), None, OwnTemplate.model_validate(settings)
        )
        saved = tmp_path_factory.mktemp("saved")
        save_tokenizer(tokenizer, saved)
        return tokenizer, AutoTokenizer.from_pretrained(saved)

    return opened


def text_of(tokenizer, served, messages):
    """The trained text of a conversation, after checking that the server renders it and its prompt."""
    encoded = encode_conversation(tokenizer, chat_of(tokenizer), messages)
    prompt = rendered(served, messages[:-1], add_generation_prompt=True)
    assert encoded.ids.tolist() == rendered(served, messages)
    assert encoded.ids[: len(prompt)].tolist() == prompt
    assert encode_prompt(tokenizer, chat_of(tokenizer), messages[:-1]).tolist() == prompt
    return tokenizer.decode(encoded.ids)


TURN = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n"
DEFAULT = "<|im_start|>system\nYou are a small model.<|im_end|>\n"
SYSTEM_TURN = "<|im_start|>system\nS<|im_end|>\n"


@pytest.mark.parametrize(
    ("setting", "without", "with_system"),
    [
        (None, DEFAULT + TURN, SYSTEM_TURN + TURN),
        ("", TURN, SYSTEM_TURN + TURN),
        ('He said "é大😀"\n.', '<|im_start|>system\nHe said "é大😀"\n.<|im_end|>\n' + TURN, SYSTEM_TURN + TURN),
    ],
)
def test_the_default_system_message_is_kept_left_out_or_set(open_with, setting, without, with_system):
    tokenizer, served = open_with(WITH_DEFAULT, default_system=setting)

    assert text_of(tokenizer, served, ONE) == without
    assert text_of(tokenizer, served, SYSTEM) == with_system


def test_a_default_system_message_in_a_question_stays(open_with):
    """Only the one that the template wrote is left out."""
    tokenizer, served = open_with(WITH_DEFAULT, default_system="")
    quoted = turns(f"What is {DEFAULT}?", "Yo")
    encoded = encode_conversation(tokenizer, chat_of(tokenizer), quoted)

    assert tokenizer.decode(encoded.ids) == served.apply_chat_template([m.model_dump() for m in quoted], tokenize=False)
    assert DEFAULT in tokenizer.decode(encoded.ids)


@pytest.mark.parametrize("template", [DATED, DATED_BY_CLOCK])
def test_the_date_is_the_one_that_is_set(open_with, template):
    tokenizer, served = open_with(template, "llama31", date="26 Jul 2024")
    block = "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\n{}<|eot_id|>"
    turn = "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    answer = "<|start_header_id|>assistant<|end_header_id|>\n\nYo<|eot_id|>"

    assert text_of(tokenizer, served, ONE) == block.format("") + turn + answer
    assert text_of(tokenizer, served, SYSTEM) == block.format("S") + turn + answer
    without, _ = open_with(template, "llama31", date="26 Jul 2024", default_system="")
    assert chat_of(without).identity != chat_of(tokenizer).identity
    encoded = encode_conversation(without, chat_of(without), ONE)
    assert without.decode(encoded.ids) == "<|begin_of_text|>" + turn + answer


EMPTY = "<think>\n\n</think>\n\n"


def test_an_empty_think_block_is_trained_given_or_left_out(open_with):
    kept, served = open_with(THINKING)
    assert EMPTY + "Yo" in text_of(kept, served, ONE)
    assert target_texts(kept, encode_conversation(kept, chat_of(kept), ONE)) == [EMPTY + "Yo<|im_end|>"]

    given, served = open_with(THINKING, enable_thinking=False)
    assert EMPTY + "Yo" in text_of(given, served, ONE)
    assert target_texts(given, encode_conversation(given, chat_of(given), ONE)) == ["Yo<|im_end|>"]

    for settings in ({}, {"enable_thinking": False}):
        dropped, served = open_with(THINKING, think_blocks="drop", **settings)
        assert text_of(dropped, served, ONE) == TURN
        assert text_of(dropped, served, TWO).startswith(TURN)
        assert target_texts(dropped, encode_conversation(dropped, chat_of(dropped), TWO)) == [
            "Yo<|im_end|>", "A<|im_end|>",
        ]  # fmt: skip


def test_a_template_that_renders_earlier_answers_otherwise_trains_the_last(open_with):
    """Control: with all answers the same conversation is refused, and the message names both ways out."""
    last, served = open_with(THINKING, answers="last")
    assert target_texts(last, encode_conversation(last, chat_of(last), TWO)) == [EMPTY + "A<|im_end|>"]
    assert text_of(last, served, TWO).startswith(TURN)

    every, _ = open_with(THINKING)
    with pytest.raises(LwexpError, match=r"set model.chat.answers=last.*model.chat.think_blocks=drop"):
        encode_conversation(every, chat_of(every), TWO)


REFUSED: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "a date of the day": (DATED_BY_CLOCK, "llama31", {}, r"model.chat.date: .* writes the date of the day"),
    "a date in a template without": (PLAIN, "chatml", {"date": "1 May 2025"}, "writes no date"),
    "thinking in a template without": (PLAIN, "chatml", {"enable_thinking": False}, "does not use the variable"),
    "no think block to drop": (PLAIN, "chatml", {"think_blocks": "drop"}, "writes no empty think block"),
    "no system message to drop": (TRIMMED, "llama31", {"default_system": ""}, "adds no system message of its own"),
    "a control token in a setting": (PLAIN, "chatml", {"default_system": "a<|im_end|>"}, r"would write <\|im_end\|>"),
    "marks that would move": (DEFAULT + MARKED, "chatml", {"default_system": ""}, r"\{% generation %\}"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_option_that_cannot_do_anything_is_refused(open_with, what):
    template, like, settings, message = REFUSED[what]
    with pytest.raises(LwexpError, match=message):
        open_with(template, like, **settings)


def test_a_fixed_date_needs_no_option(open_with):
    tokenizer, served = open_with(DATED, "llama31")

    assert "Today: 1 Jan 2024" in text_of(tokenizer, served, ONE)


def test_settings_are_kept_with_the_tokenizer_and_others_are_refused(open_with, tmp_path):
    tokenizer, _ = open_with(THINKING, enable_thinking=False, answers="last")
    save_tokenizer(tokenizer, tmp_path)
    again = load_tokenizer(tmp_path, None, OwnTemplate(enable_thinking=False, answers="last"))

    assert again.chat_template == tokenizer.chat_template  # the options are not written into it twice
    assert chat_of(again).identity == chat_of(tokenizer).identity == chat_of(load_tokenizer(tmp_path)).identity
    with pytest.raises(LwexpError, match=r"was trained with model.chat.answers=\"last\", got \"all\""):
        load_tokenizer(tmp_path, None, OwnTemplate(enable_thinking=False))


def test_options_are_typed_as_keys_or_as_a_mapping():
    base = ("model=hf", "model.path=m")
    keys = compose(*base, "model.chat=own", "model.chat.date='26 Jul 2024'", "model.chat.think_blocks=drop")
    mapping = compose(*base, "model.chat={kind: own, date: 26 Jul 2024, think_blocks: drop}")

    assert keys.model.chat == mapping.model.chat == OwnTemplate(date="26 Jul 2024", think_blocks="drop")
    assert compose(*base, "model.chat=own").model.chat == OwnTemplate()
    assert json.loads(compose(*base, "model.chat=chatml").model.model_dump_json())["chat"] == "chatml"
    with pytest.raises(LwexpError, match=r"think_block: no such key; did you mean model.chat.think_blocks\?"):
        compose(*base, "model.chat=own", "model.chat.think_block=drop")
