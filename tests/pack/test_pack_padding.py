"""A tokenizer without a padding token is used with one line, and a refusal names the format that fits."""

import json
import logging

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from lwexp.extend import CHAT_FORMATS
from lwexp.pack import fitting
from lwexp.pack.chat import chat_of
from lwexp.pack.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from lwexp.records import LwexpError
from tests.pack.own_templates import DATED_BY_CLOCK, PLAIN, own_folder
from tests.pack.pack_rows import TEXT, encode_conversation, turns


@pytest.fixture
def one_line(caplog):
    caplog.set_level(logging.INFO, "lwexp")
    fitting._log_once.cache_clear()
    return lambda: [line for line in caplog.messages if "padding" in line]


def renamed(folder, like, names, template=None):
    """A base tokenizer with the tokens of a format under other names."""
    text = train_tokenizer(TEXT, 400, like).backend_tokenizer.to_str()
    for old, new in names.items():
        text = text.replace(json.dumps(old)[1:-1], new)
    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(text))
    made.chat_template = template
    made.save_pretrained(folder)
    return folder


def test_llama_3_has_no_padding_token_and_trains(tmp_path, one_line):
    """Llama 3's vocabulary has reserved tokens where Llama 3.1's has <|finetune_right_pad_id|>."""
    pad, reserved = "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>"
    folder = renamed(tmp_path / "a", "llama31", {pad: reserved})
    whole = train_tokenizer(TEXT, 400, "llama31")
    tokenizer = load_tokenizer(folder, None, "llama31")
    load_tokenizer(folder, None, "llama31")

    assert tokenizer.pad_token == reserved
    (line,) = one_line()
    assert f"no padding token {pad}, so {reserved} stands in" in line
    messages = turns("Hi", "Yo")
    ids = encode_conversation(tokenizer, chat_of(tokenizer), messages).ids.tolist()
    assert ids == encode_conversation(whole, chat_of(whole), messages).ids.tolist()
    save_tokenizer(tokenizer, tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").pad_token == reserved


def test_without_a_reserved_token_another_end_stands_in(tmp_path, one_line):
    folder = renamed(tmp_path, "longwriter_llama", {"<|finetune_right_pad_id|>": "<|other|>"})

    assert load_tokenizer(folder, None, "longwriter_llama").pad_token == "<|end_of_text|>"
    assert len(one_line()) == 1


def test_a_padding_token_that_is_there_needs_no_line(llama31, tmp_path, one_line):
    save_tokenizer(llama31, tmp_path)
    load_tokenizer(tmp_path, None, "llama31")

    assert one_line() == []


@pytest.mark.parametrize(
    ("like", "template", "wanted"),
    [
        ("chatml", None, "set model.chat=chatml (the tokenizer has its tokens), or model.path"),
        ("chatml", PLAIN, "has its tokens) or model.chat=own (the tokenizer's own template), or model.path"),
        ("llama31", None, "set model.chat=llama31 (the tokenizer has its tokens), or model.path"),
    ],
)
def test_a_format_whose_tokens_are_missing_names_the_one_that_fits(tmp_path, like, template, wanted):
    folder = own_folder(tmp_path, template, like)
    with pytest.raises(LwexpError, match=r"lacks \[gMASK\], .*which chat format glm4 needs") as refused:
        load_tokenizer(folder, None, "glm4")

    assert wanted in str(refused.value)


def test_no_format_fits_a_tokenizer_of_other_tokens(tmp_path):
    folder = renamed(tmp_path, "chatml", {"<|im_start|>": "<start>", "<|im_end|>": "<end>"})
    with pytest.raises(LwexpError, match=r"set model.chat to the format of the model, or model.path"):
        load_tokenizer(folder, None, "chatml")


def test_a_folder_of_another_tool_is_sampled_by_its_own_template(tmp_path, caplog):
    caplog.set_level(logging.INFO, "lwexp")
    fitting._log_once.cache_clear()
    own = load_tokenizer(own_folder(tmp_path / "own", PLAIN))

    assert chat_of(own).kind == "own"
    assert own.chat_template == PLAIN
    assert "prompts are rendered by its own chat template" in caplog.text
    with pytest.raises(LwexpError, match=r"no lwexp_chat in tokenizer_config.json .* set engine.chat=chatml"):
        load_tokenizer(own_folder(tmp_path / "none", None))
    with pytest.raises(LwexpError, match="writes the date of the day"):
        load_tokenizer(own_folder(tmp_path / "dated", DATED_BY_CLOCK, "llama31"))
    dated = CHAT_FORMATS["own"].model_validate({"date": "1 May 2025"})
    assert "1 May 2025" in load_tokenizer(tmp_path / "dated", None, dated).chat_template
