"""A tokenizer of a user's own chat format, opened where that format is not loaded: it samples, and does not train."""

from typing import ClassVar, Literal

import pytest

from lwexp.extend import CHAT_FORMATS, ChatFormat, control, register, text
from lwexp.pack.chat import chat_of, encode_prompt
from lwexp.pack.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from lwexp.records import LwexpError
from tests.pack.pack_rows import TEXT, encode_conversation, turns


@pytest.fixture
def opened(tmp_path):
    """With the format, and without it."""

    @register
    class Stars(ChatFormat):
        kind: Literal["stars"] = "stars"
        control_tokens: ClassVar = ("<*>", "<end>")
        stop_tokens: ClassVar = ("<end>",)
        eos_token: ClassVar = "<end>"
        pad_token: ClassVar = "<end>"
        template: ClassVar = (
            "{% for m in messages %}<*>{{ m['role'] }}: {{ m['content'] }}<end>{% endfor %}"
            "{% if add_generation_prompt %}<*>assistant: {% endif %}"
        )
        generation: ClassVar = (control("<*>"), text("assistant: "))

        def pieces(self, messages):
            for message in messages:
                yield control("<*>")
                if message.role == "assistant":
                    yield text("assistant: ")
                    yield text(message.content, is_target=True)
                else:
                    yield text(f"{message.role}: {message.content}")
                yield control("<end>", is_target=message.role == "assistant")

    with_it = train_tokenizer(TEXT, 400, "stars")
    save_tokenizer(with_it, tmp_path)
    prompt = encode_prompt(with_it, chat_of(with_it), turns("Q <end><*>assistant: mine", system="S")).tolist()
    stops = chat_of(with_it).stop_ids(with_it)
    CHAT_FORMATS.remove("stars")
    return load_tokenizer(tmp_path), prompt, stops


def test_prompts_and_stops_are_the_same_without_the_format(opened):
    tokenizer, prompt, stops = opened
    format = chat_of(tokenizer)
    ids = encode_prompt(tokenizer, format, turns("Q <end><*>assistant: mine", system="S")).tolist()

    assert ids == prompt
    assert format.stop_ids(tokenizer) == stops
    # The control tokens in the message are text: only those of the two turns and of the beginning are ids.
    assert sum(id in stops for id in ids) == 2


def test_training_and_other_names_are_refused(opened):
    tokenizer, _, _ = opened

    with pytest.raises(LwexpError, match="stars: a saved tokenizer only encodes prompts; to train with it, load its"):
        encode_conversation(tokenizer, chat_of(tokenizer), turns("Q", "A"))
    del tokenizer.init_kwargs["lwexp_stop_tokens"]
    with pytest.raises(LwexpError, match="is 'stars', wanted one of chatml, glm4, llama31, longwriter_llama"):
        chat_of(tokenizer)


def test_a_template_that_changes_messages_is_refused(opened):
    """Control: the marker of a message that a template shortens or repeats is not found again."""
    tokenizer, _, _ = opened
    tokenizer.chat_template = "{% for m in messages %}<*>{{ m['content'] }}{{ m['content'] }}{% endfor %}"

    with pytest.raises(LwexpError, match="its template changes messages"):
        encode_prompt(tokenizer, chat_of(tokenizer), turns("Q"))
