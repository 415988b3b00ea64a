"""Training, saving and opening tokenizers."""

import json
import os
import subprocess
import sys

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lwexp.extend import CHAT_FORMATS
from lwexp.pack.build import tokenizer_fingerprint
from lwexp.pack.chat import chat_of, encode_prompt
from lwexp.pack.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from lwexp.records import LwexpError
from tests import ROOT
from tests.pack.pack_rows import TEXT, encode_conversation, turns


def with_tokens(*tokens, special=True):
    """A tokenizer that nobody has given a chat format."""
    backend = Tokenizer.from_str(train_tokenizer(TEXT, 300, "glm4").backend_tokenizer.to_str())
    tree = json.loads(backend.to_str())
    tree["added_tokens"] = [
        token | {"special": special} for token in tree["added_tokens"] if token["content"] in tokens
    ]
    for token in CHAT_FORMATS["glm4"]().control_tokens:
        if token not in tokens:
            tree["model"]["vocab"][f"unused {token}"] = tree["model"]["vocab"].pop(token)
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(tree)))


def test_training_twice_gives_the_same_tokenizer(glm4):
    assert tokenizer_fingerprint(train_tokenizer(TEXT, 400, "glm4")) == tokenizer_fingerprint(glm4)
    assert tokenizer_fingerprint(train_tokenizer(TEXT[1:], 400, "glm4")) != tokenizer_fingerprint(glm4)


def test_another_process_with_other_hash_seeds_and_threads_trains_the_same(glm4):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from tests.pack.pack_rows import TEXT\n"
        "from lwexp.pack.tokenizer import train_tokenizer; from lwexp.pack.build import tokenizer_fingerprint\n"
        "print(tokenizer_fingerprint(train_tokenizer(TEXT, 400, 'glm4')))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip

    assert done.stdout.split()[-1] == tokenizer_fingerprint(glm4)


def test_every_text_survives_the_round_trip(tokenizer):
    text = "  Ünïcode 你好 \t\r\n\n  \U0001f30a 1234567 don't\u200b"

    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_vocab_size_is_kept_and_too_small_a_one_refused():
    assert len(train_tokenizer(TEXT, 300, "llama31")) == 300
    with pytest.raises(LwexpError, match="set 263 or more"):  # 256 bytes and 7 control tokens
        train_tokenizer(TEXT, 262, "glm4")


def test_a_saved_tokenizer_knows_its_format_and_encodes_alike(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path)
    opened = load_tokenizer(tmp_path, None, None)
    messages = turns("Hello", "大海", system="Be brief.")

    assert chat_of(opened) == chat_of(tokenizer)
    assert tokenizer_fingerprint(opened) == tokenizer_fingerprint(tokenizer)
    assert (opened.eos_token, opened.pad_token) == (tokenizer.eos_token, tokenizer.pad_token)
    for other in (opened, AutoTokenizer.from_pretrained(tmp_path)):
        assert other.chat_template == chat_of(tokenizer).template
        assert (
            encode_conversation(other, chat_of(other), messages).ids.tolist()
            == encode_conversation(tokenizer, chat_of(tokenizer), messages).ids.tolist()
        )


def test_a_saved_tokenizer_has_no_word_that_transformers_4_refuses(tmp_path):
    """Its 4.57.6 knows neither the class TokenizersBackend nor a list of extra_special_tokens."""
    tokenizer = train_tokenizer(TEXT, 300, "glm4")
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|extra|>"]}, replace_extra_special_tokens=False)
    save_tokenizer(tokenizer, tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())

    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "extra_special_tokens" not in config
    assert "<|extra|>" in config["additional_special_tokens"]


def test_a_base_tokenizer_gets_our_template_and_ends(tmp_path):
    with_tokens(*CHAT_FORMATS["glm4"]().control_tokens).save_pretrained(tmp_path)
    opened = load_tokenizer(tmp_path, None, "glm4")

    assert opened.chat_template == CHAT_FORMATS["glm4"]().template
    assert opened.eos_token == "<|endoftext|>"
    assert chat_of(opened).kind == "glm4"


def test_a_foreign_template_is_replaced_with_a_warning(tmp_path, caplog):
    base = with_tokens(*CHAT_FORMATS["glm4"]().control_tokens)
    base.chat_template = "{{ 'something else' }}"
    base.save_pretrained(tmp_path)
    opened = load_tokenizer(tmp_path, None, "glm4")

    assert opened.chat_template == CHAT_FORMATS["glm4"]().template
    assert "is replaced by glm4" in caplog.text


def test_control_tokens_that_were_saved_as_ordinary_ones_cannot_be_written_by_a_user(tmp_path):
    """Special tokens are switched off by their flag, so the flag is mended when opening."""
    with_tokens(*CHAT_FORMATS["glm4"]().control_tokens, special=False).save_pretrained(tmp_path)
    opened = load_tokenizer(tmp_path, None, "glm4")
    ids = encode_conversation(opened, chat_of(opened), turns("<|user|>", "A")).ids

    assert (ids == opened.convert_tokens_to_ids("<|user|>")).sum() == 1


def test_a_tokenizer_whose_words_are_its_control_tokens_is_refused(tmp_path):
    """With ignore_merges and no splitting, the word <|user|> is looked up whole, special tokens off or not."""
    tree = json.loads(with_tokens(*CHAT_FORMATS["glm4"]().control_tokens).backend_tokenizer.to_str())
    tree["model"]["ignore_merges"] = True
    tree["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(tree))).save_pretrained(tmp_path)

    with pytest.raises(LwexpError, match="could end its own turn"):
        load_tokenizer(tmp_path, None, "glm4")


@pytest.mark.parametrize(("prepend", "is_refused"), [("first", True), ("never", False)])
def test_a_tokenizer_that_puts_a_space_before_a_text_alone_is_refused(prepend, is_refused, tmp_path):
    """Mistral's pre-tokenizer: each text alone begins with a space, a rendered conversation has none after a token."""
    tree = json.loads(train_tokenizer(TEXT, 400, "chatml").backend_tokenizer.to_str())
    tree["normalizer"] = None
    tree["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": prepend, "split": False}
    tree["model"]["vocab"] |= {mark: len(tree["model"]["vocab"]) + n for n, mark in enumerate("\u2581\n")}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(tree))).save_pretrained(tmp_path)
    if is_refused:
        with pytest.raises(LwexpError, match=r"model.chat=chatml: .* encodes text differently by itself .* token 1 is"):
            load_tokenizer(tmp_path, None, "chatml")
        return
    tokenizer = load_tokenizer(tmp_path, None, "chatml")
    messages = [{"role": "user", "content": "Hi there"}]
    served = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert encode_prompt(tokenizer, chat_of(tokenizer), turns("Hi there")).tolist() == served


def test_a_missing_special_token_is_named(tmp_path):
    with_tokens("[gMASK]", "<sop>", "<|endoftext|>", "<|system|>", "<|user|>").save_pretrained(tmp_path)

    with pytest.raises(LwexpError, match=r"lacks <\|assistant\|>, <\|observation\|>.*set model.chat"):
        load_tokenizer(tmp_path, None, "glm4")


def test_a_tokenizer_keeps_the_format_it_was_trained_with(glm4, tmp_path):
    save_tokenizer(glm4, tmp_path)

    with pytest.raises(LwexpError, match=r"trained with chat format glm4.*set model.chat=glm4"):
        load_tokenizer(tmp_path, None, "llama31")


def test_a_folder_of_nobody_s_run_has_no_format(tmp_path):
    with_tokens(*CHAT_FORMATS["glm4"]().control_tokens).save_pretrained(tmp_path)

    with pytest.raises(LwexpError, match="lwexp_chat"):
        load_tokenizer(tmp_path, None, None)


def test_what_is_not_there_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))

    with pytest.raises(LwexpError, match=r"cannot be reached and its cache has no copy; set model.path=<folder>"):
        load_tokenizer("zai-org/glm-4-9b-hf", None, "glm4")
    with pytest.raises(LwexpError, match="neither a folder on this machine nor a hub id"):
        load_tokenizer(tmp_path / "no" / "such" / "folder", None, "glm4")
    with pytest.raises(LwexpError, match=r"no tokenizer.json"):
        load_tokenizer(tmp_path, None, "glm4")
