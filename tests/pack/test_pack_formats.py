"""Every chat format against ids written out by hand, and against what the published code does."""

import json

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lwexp.extend import CHAT_FORMATS, control
from lwexp.pack.chat import chat_of, encode_prompt
from lwexp.pack.tokenizer import load_tokenizer, save_tokenizer
from tests.pack.own_templates import PLAIN
from tests.pack.pack_rows import encode_conversation, encode_many, turns

# As in the published vocabularies of GLM-4-9B, Llama-3.1-8B and Qwen2.
REAL_IDS = {
    "glm4": {
        "<|endoftext|>": 151329, "[MASK]": 151330, "[gMASK]": 151331, "<sop>": 151333, "<|system|>": 151335,
        "<|user|>": 151336, "<|assistant|>": 151337, "<|observation|>": 151338,
    },
    "llama31": {
        "<|begin_of_text|>": 128000, "<|end_of_text|>": 128001, "<|finetune_right_pad_id|>": 128004,
        "<|start_header_id|>": 128006, "<|end_header_id|>": 128007, "<|eot_id|>": 128009,
    },
    "chatml": {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645},
}  # fmt: skip
REAL_IDS["longwriter_llama"] = REAL_IDS["llama31"]
REAL_IDS["own"] = REAL_IDS["chatml"]  # with a template that comes with the tokenizer
CONVERSATION = turns("Hi", "Yo", "Q", "A", system="S")


@pytest.fixture(scope="session")
def ascii_tokenizer(tmp_path_factory):
    """ASCII characters are their own codes, special tokens have the ids of the published vocabularies."""

    def make(chat, *, adds_begin_token=False):
        as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        vocabulary = {as_bytes.pre_tokenize_str(chr(code))[0][0]: code for code in range(128)}
        backend = Tokenizer(models.BPE(vocab=vocabulary | REAL_IDS[chat], merges=[]))
        backend.pre_tokenizer, backend.decoder = as_bytes, decoders.ByteLevel()
        backend.add_special_tokens(list(REAL_IDS[chat]))
        if adds_begin_token:
            backend.post_processor = processors.TemplateProcessing(
                single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 128000)]
            )
        folder = tmp_path_factory.mktemp(chat)
        made = PreTrainedTokenizerFast(tokenizer_object=backend)
        if chat == "own":
            made.chat_template, made.eos_token = PLAIN, "<|im_end|>"
        made.save_pretrained(folder)
        return load_tokenizer(folder, None, chat)

    return make


USER, SYSTEM, ASSISTANT = [*b"user"], [*b"system"], [*b"assistant"]
# Ids of CONVERSATION: targets in tuples, the rest in lists. 10 is the line break; 83 S; 72, 105 Hi; 81 Q; 65 A.
BY_HAND = {
    "glm4": [
        [151331, 151333, 151335, 10, 83, 151336, 10, 72, 105, 151337], (10, 89, 111, 151336),
        [10, 81, 151337], (10, 65, 151329),
    ],
    "llama31": [
        [128000, 128006, *SYSTEM, 128007, 10, 10, 83, 128009, 128006, *USER, 128007, 10, 10, 72, 105, 128009],
        [128006, *ASSISTANT, 128007, 10, 10], (89, 111, 128009),
        [128006, *USER, 128007, 10, 10, 81, 128009, 128006, *ASSISTANT, 128007, 10, 10], (65, 128009),
    ],
    "longwriter_llama": [
        [128000, *b"<<SYS>>", 10, 83, 10, *b"<</SYS>>", 10, 10, *b"[INST]", 72, 105, *b"[/INST]"], (89, 111, 128001),
        [*b"[INST]", 81, *b"[/INST]"], (65, 128001),
    ],
    "chatml": [
        [151644, *SYSTEM, 10, 83, 151645, 10, 151644, *USER, 10, 72, 105, 151645, 10],
        [151644, *ASSISTANT, 10], (89, 111, 151645),
        [10, 151644, *USER, 10, 81, 151645, 10, 151644, *ASSISTANT, 10], (65, 151645), [10],
    ],
}  # fmt: skip


@pytest.mark.parametrize("chat", BY_HAND)
def test_ids_and_targets_are_those_written_by_hand(ascii_tokenizer, chat):
    encoded = encode_conversation(ascii_tokenizer(chat), CHAT_FORMATS[chat](), CONVERSATION)

    assert encoded.ids.tolist() == [number for part in BY_HAND[chat] for number in part]
    assert encoded.is_target.tolist() == [int(isinstance(part, tuple)) for part in BY_HAND[chat] for _ in part]


@pytest.mark.parametrize("chat", BY_HAND)
def test_transformers_makes_the_same_ids_from_the_saved_template(ascii_tokenizer, chat, tmp_path):
    """The witness is transformers' own rendering and tokenising; it adds no begin token of its own either."""
    save_tokenizer(ascii_tokenizer(chat), tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    plain = [message.model_dump() for message in CONVERSATION]
    by_hand = [number for part in BY_HAND[chat] for number in part]
    prompt = encode_prompt(ascii_tokenizer(chat), CHAT_FORMATS[chat](), CONVERSATION[:-1]).tolist()

    assert opened.apply_chat_template(plain, return_dict=False) == by_hand
    assert opened.apply_chat_template(plain[:-1], return_dict=False, add_generation_prompt=True) == prompt
    assert by_hand[: len(prompt)] == prompt


def test_a_tokenizer_that_adds_begin_tokens_gives_one_where_the_published_code_gives_six(ascii_tokenizer):
    """Negative example: train/pre_tokenize_llama3.py encodes each turn with the tokenizer's default, behind one begin
    token of its own. Each of the five turns brings another, and each answer learns it as its first token."""
    tokenizer = ascii_tokenizer("longwriter_llama", adds_begin_token=True)
    parts = ["<<SYS>>\nS\n<</SYS>>\n\n", "[INST]Hi[/INST]", "Yo", "[INST]Q[/INST]", "A"]
    published = [128000]
    first_targets = []
    for number, part in enumerate(parts):
        ids = tokenizer(part).input_ids
        first_targets += [ids[0]] if number in (2, 4) else []
        published += ids
    ours = encode_conversation(tokenizer, CHAT_FORMATS["longwriter_llama"](), CONVERSATION)

    assert published.count(128000) == 6
    assert first_targets == [128000, 128000]
    assert (ours.ids == 128000).sum() == 1
    assert not ours.is_target[ours.ids == 128000].any()
    assert ours.ids.tolist() == [number for part in BY_HAND["longwriter_llama"] for number in part]


@pytest.mark.parametrize("chat", list(CHAT_FORMATS))
def test_an_end_token_inside_a_text_ends_nothing(ascii_tokenizer, chat):
    """Negative example: train/sort_and_group.py takes the first end id as a document's end (L6 of the notes)."""
    tokenizer = ascii_tokenizer(chat)
    end = chat_of(tokenizer).eos_token
    encoded = encode_conversation(tokenizer, chat_of(tokenizer), turns("Q", f"A{end}B"))
    end_id = REAL_IDS[chat][end]
    places = (encoded.ids == end_id).nonzero()[0].tolist()

    assert places[-1] >= len(encoded.ids) - 2
    assert encoded.is_target[places[-1]]
    assert [*f"A{end}B".encode()] == encoded.ids[encoded.is_target == 1].tolist()[-len(f"A{end}B") - 1 : -1]


def test_a_format_whose_prompt_is_no_beginning_of_its_conversation_is_our_bug(glm4):
    """Control of the prefix assertion: a generation prompt that the conversation does not contain."""

    class Broken(CHAT_FORMATS["glm4"]):  # type: ignore[misc, valid-type]
        generation = (control("<sop>"),)

    with pytest.raises(AssertionError, match="does not begin with its prompt"):
        encode_many(glm4, Broken(), [turns("Q", "A")])


def test_the_saved_template_is_one_file_that_other_tools_read(ascii_tokenizer, tmp_path):
    save_tokenizer(ascii_tokenizer("chatml"), tmp_path)

    assert (tmp_path / "chat_template.jinja").read_text() == CHAT_FORMATS["chatml"]().template
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["eos_token"] == "<|im_end|>"
