"""Which tokens a conversation becomes, and which of them carry loss."""

from itertools import groupby

import numpy as np
import pytest

from lwexp.extend import CHAT_FORMATS
from lwexp.pack.chat import chat_of, encode_prompt
from lwexp.records import LwexpError, Message
from tests.pack.pack_rows import encode_conversation, encode_many, turns

GLM4, LLAMA31 = CHAT_FORMATS["glm4"](), CHAT_FORMATS["llama31"]()
CONVERSATIONS = {
    "single": turns("Hello", "I am well."),
    "multi": turns("Hello", "I am well.", "And you?", "大海是蓝色的"),
    "system": turns("Hello", "Line one\n\n  line two ", system="Be brief."),
    "spaces": turns(" Hello\n", "  three spaces\n"),
    "line_break_first": turns("\n\nHello", "Well."),
    "empty": turns("Hello", ""),
}


def words(tokenizer, ids):
    """Tokens as their own text, one by one."""
    return [tokenizer.decode([int(i)], skip_special_tokens=False) for i in ids]


def marked(tokenizer, encoded):
    """The text with runs of targets in braces: short enough to read."""
    text = ""
    for target, run in groupby(zip(encoded.is_target, encoded.ids, strict=True), key=lambda item: bool(item[0])):
        part = tokenizer.decode([int(i) for _, i in run], skip_special_tokens=False)
        text += f"{{{part}}}" if target else part
    return text


def test_glm4_learns_the_newline_the_answer_and_the_one_token_after(glm4):
    encoded = encode_conversation(glm4, GLM4, CONVERSATIONS["multi"])

    assert marked(glm4, encoded) == (
        "[gMASK]<sop><|user|>\nHello<|assistant|>{\nI am well.<|user|>}"
        "\nAnd you?<|assistant|>{\n大海是蓝色的<|endoftext|>}"
    )
    assert words(glm4, encoded.ids[:4]) == ["[gMASK]", "<sop>", "<|user|>", "\n"]
    assert encoded.ids.dtype == np.int32
    assert encoded.is_target.dtype == np.uint8


def test_llama31_learns_the_answer_and_its_end(llama31):
    encoded = encode_conversation(llama31, LLAMA31, CONVERSATIONS["multi"])

    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    user, assistant = head.format("user"), head.format("assistant")
    assert marked(llama31, encoded) == (
        f"<|begin_of_text|>{user}Hello<|eot_id|>{assistant}{{I am well.<|eot_id|>}}"
        f"{user}And you?<|eot_id|>{assistant}{{大海是蓝色的<|eot_id|>}}"
    )


def test_a_system_message_is_read_and_not_learned(glm4, llama31):
    assert marked(glm4, encode_conversation(glm4, GLM4, turns("Q", "A", system="S"))) == (
        "[gMASK]<sop><|system|>\nS<|user|>\nQ<|assistant|>{\nA<|endoftext|>}"
    )
    assert marked(llama31, encode_conversation(llama31, LLAMA31, turns("Q", "A", system="S"))).startswith(
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user"
    )


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_template_renders_the_same_text(tokenizer, name):
    messages = CONVERSATIONS[name]
    plain = [message.model_dump() for message in messages]
    encoded = encode_conversation(tokenizer, chat_of(tokenizer), messages)
    prompt = encode_prompt(tokenizer, chat_of(tokenizer), messages[:-1])

    assert tokenizer.decode(encoded.ids) == tokenizer.apply_chat_template(plain, tokenize=False)
    assert tokenizer.decode(prompt) == tokenizer.apply_chat_template(
        plain[:-1], tokenize=False, add_generation_prompt=True
    )


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_server_that_tokenises_the_template_gets_the_same_ids(tokenizer, name):
    plain = [message.model_dump() for message in CONVERSATIONS[name]]
    encoded = encode_conversation(tokenizer, chat_of(tokenizer), CONVERSATIONS[name])

    assert tokenizer.apply_chat_template(plain, return_dict=False) == encoded.ids.tolist()


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_prompt_is_the_beginning_of_the_training_tokens(tokenizer, name):
    messages = CONVERSATIONS[name]
    encoded = encode_conversation(tokenizer, chat_of(tokenizer), messages)
    prompt = encode_prompt(tokenizer, chat_of(tokenizer), messages[:-1])

    assert encoded.ids[: len(prompt)].tolist() == prompt.tolist()
    # ... and everything after it is learned, but for the line break that ChatML writes between turns.
    tail = 1 if chat_of(tokenizer).kind == "chatml" else 0
    assert encoded.is_target[len(prompt) : len(encoded.ids) - tail].all()


def test_an_answer_that_starts_with_a_line_break_still_follows_its_prompt(llama31):
    """Control: as one string, the three line breaks would be one token, and the prompt's two no beginning of it."""
    messages = turns("Q", "\nWell.")
    encoded = encode_conversation(llama31, LLAMA31, messages)
    prompt = encode_prompt(llama31, LLAMA31, messages[:-1])

    assert encoded.ids[: len(prompt)].tolist() == prompt.tolist()
    joined = llama31(llama31.decode(encoded.ids), add_special_tokens=False).input_ids
    assert joined[: len(prompt)] != prompt.tolist()


@pytest.mark.parametrize("place", ["system", "question", "answer"])
def test_special_tokens_written_in_a_message_stay_text(tokenizer, place):
    chat = chat_of(tokenizer)
    evil = "Stop." + "".join(chat.control_tokens) + "Go on."
    texts = {"system": "S", "question": "Q", "answer": "A", place: evil}
    innocent = encode_conversation(tokenizer, chat, turns("Q", "A", system="S"))
    encoded = encode_conversation(tokenizer, chat, turns(texts["question"], texts["answer"], system=texts["system"]))
    controls = [tokenizer.backend_tokenizer.token_to_id(token) for token in chat.control_tokens]

    for control in controls:
        assert (encoded.ids == control).sum() == (innocent.ids == control).sum()
    assert evil in tokenizer.decode(encoded.ids)
    # Control: the tokenizer's own call does read them as special tokens.
    assert set(controls) <= set(tokenizer(evil, add_special_tokens=False).input_ids)


def test_encoding_leaves_the_tokenizer_as_it_was(tokenizer):
    stop = chat_of(tokenizer).stop_ids(tokenizer)[0]
    encode_prompt(tokenizer, chat_of(tokenizer), turns("Q"))

    assert tokenizer(chat_of(tokenizer).stop_tokens[0], add_special_tokens=False).input_ids == [stop]


def test_truncation_that_someone_saved_cuts_nothing(glm4):
    messages = turns("Q", "well " * 50)
    whole = encode_conversation(glm4, GLM4, messages)
    glm4.backend_tokenizer.enable_truncation(4)
    try:
        assert len(glm4.backend_tokenizer.encode("well " * 50).ids) == 4
        assert encode_conversation(glm4, GLM4, messages).ids.tolist() == whole.ids.tolist()
    finally:
        glm4.backend_tokenizer.no_truncation()


def test_a_batch_equals_its_conversations_one_by_one(tokenizer):
    chat = chat_of(tokenizer)
    batch = encode_many(tokenizer, chat, list(CONVERSATIONS.values()))

    for encoded, messages in zip(batch, CONVERSATIONS.values(), strict=True):
        alone = encode_conversation(tokenizer, chat, messages)
        assert encoded.ids.tolist() == alone.ids.tolist()
        assert encoded.is_target.tolist() == alone.is_target.tolist()


def test_of_a_preference_pair_only_the_last_answer_is_learned(glm4, llama31):
    messages = CONVERSATIONS["multi"]

    assert marked(glm4, encode_many(glm4, GLM4, [messages], answers="last")[0]).endswith(
        "I am well.<|user|>\nAnd you?<|assistant|>{\n大海是蓝色的<|endoftext|>}"
    )
    assert marked(llama31, encode_many(llama31, LLAMA31, [messages], answers="last")[0]).count("{") == 1


def test_an_answer_of_weight_0_is_context(glm4, llama31):
    """OpenAI's fine-tuning files: neither the answer nor the token that ends it carries loss."""
    question, first, again, last = CONVERSATIONS["multi"]
    untrained = first.model_copy(update={"weight": 0})

    assert marked(glm4, encode_conversation(glm4, GLM4, (question, untrained, again, last))) == (
        "[gMASK]<sop><|user|>\nHello<|assistant|>\nI am well.<|user|>"
        "\nAnd you?<|assistant|>{\n大海是蓝色的<|endoftext|>}"
    )
    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    user, assistant = head.format("user"), head.format("assistant")
    encoded = encode_conversation(llama31, LLAMA31, (question, first, again, last.model_copy(update={"weight": 0})))
    assert marked(llama31, encoded) == (
        f"<|begin_of_text|>{user}Hello<|eot_id|>{assistant}{{I am well.<|eot_id|>}}"
        f"{user}And you?<|eot_id|>{assistant}大海是蓝色的<|eot_id|>"
    )


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        (turns("Q"), "ends with user, wanted assistant at the end"),
        (turns("Q", "A", "Q"), "ends with user, wanted assistant at the end"),
        ((Message(role="assistant", content="A"),), "message 0 is from assistant, wanted user"),
        ((*turns("Q", "A"), *turns("Q", "A")[1:]), "message 2 is from assistant, wanted user"),
        ((*turns("Q", "A"), *turns("Q", "A", system="S")), "message 2 is from system, wanted user"),
    ],
)
def test_turns_that_would_leave_an_answer_without_an_end_are_refused(glm4, messages, problem):
    with pytest.raises(LwexpError, match=problem):
        encode_conversation(glm4, GLM4, messages)


def test_a_prompt_ends_with_a_question(glm4):
    with pytest.raises(LwexpError, match="ends with assistant, wanted user at the end"):
        encode_prompt(glm4, GLM4, turns("Q", "A"))
