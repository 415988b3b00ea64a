"""The server's answers through a client that others wrote; tests/sample/test_sample_remote.py asks through litellm."""

import threading
import time
from typing import Any

import pytest
from openai import OpenAI

from lwexp.config.evaluate import SampleConfig
from lwexp.records import Prompt
from lwexp.sample.engine import TransformersEngine
from lwexp.sample.requests import SampleRequest
from tests.serve.chat_requests import TEXTS, Served, asked, post


def test_the_openai_client_gets_transformers_answers(client: OpenAI, expected: dict[str, str]) -> None:
    assert len(set(expected.values())) == len(TEXTS)
    for text in TEXTS[:4]:
        done = client.chat.completions.create(**asked(text))
        assert done.choices[0].message.content == expected[text]
        assert done.choices[0].finish_reason in ("stop", "length")
        assert done.usage is not None
        assert 0 < done.usage.completion_tokens <= 40
        assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens


def test_a_stream_adds_up_to_the_whole_answer(client: OpenAI, expected: dict[str, str]) -> None:
    for text in TEXTS[:4]:
        chunks = list(
            client.chat.completions.create(**asked(text), stream=True, stream_options={"include_usage": True})
        )
        pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        assert "".join(pieces) == expected[text]
        assert len([piece for piece in pieces if piece]) > 3
        assert chunks[-1].usage is not None
        assert chunks[-2].choices[0].finish_reason in ("stop", "length")


def test_eight_requests_at_once_share_the_models_steps(
    client: OpenAI, served: Served, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lwexp.sample.decode import Decoder

    busy: list[int] = []
    advance = Decoder.advance

    def counted(self: Decoder) -> None:
        busy.append(8 - self.free)
        time.sleep(0.005)  # a step of a real model takes longer than the arrival of the others
        advance(self)

    monkeypatch.setattr(Decoder, "advance", counted)
    got: dict[str, str | None] = {}

    def ask(text: str) -> None:
        got[text] = client.chat.completions.create(**asked(text)).choices[0].message.content

    threads = [threading.Thread(target=ask, args=(text,)) for text in TEXTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == expected
    assert max(busy) > 4, busy


def test_several_turns_and_system_messages_are_the_templates_tokens(client: OpenAI, served: Served) -> None:
    """Counted by the tokenizer's own template; and another system message gives another answer."""
    turns = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello "}, {"type": "text", "text": "there"}]},
        {"role": "assistant", "content": "Hello rivers."},
        {"role": "user", "content": "Old maps"},
    ]
    plain = [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello there"},
        {"role": "assistant", "content": "Hello rivers."}, {"role": "user", "content": "Old maps"},
    ]  # fmt: skip
    rendered = served.engine.tokenizer.apply_chat_template(plain, add_generation_prompt=True, return_dict=False)
    status, counted = post(served, {"model": "tiny", "messages": turns}, "/tokenize")
    assert (status, counted["tokens"]) == (200, list(rendered))
    first = client.chat.completions.create(**asked("") | {"messages": turns})
    assert first.usage is not None
    assert first.usage.prompt_tokens == len(rendered)
    turns[0] = {"role": "system", "content": "请写一篇关于茶的文章。"}
    other = client.chat.completions.create(**asked("") | {"messages": turns})
    assert other.choices[0].message.content != first.choices[0].message.content


def test_a_stop_and_a_seed_are_honoured(client: OpenAI, expected: dict[str, str]) -> None:
    text = expected[TEXTS[0]]
    stop = text[10:14]
    done = client.chat.completions.create(**asked(TEXTS[0], stop=[stop]))
    assert done.choices[0].message.content == text[: text.index(stop)].rstrip()
    assert done.choices[0].finish_reason == "stop"

    def drawn(**more: Any) -> str:
        done = client.chat.completions.create(**asked("tea", **more) | {"temperature": 1})
        return str(done.choices[0].message.content)

    assert drawn(seed=1) == drawn(seed=1)
    assert drawn(seed=1) != drawn(seed=2)
    assert drawn() != drawn()


def test_without_a_limit_an_answer_may_fill_the_positions(served: Served, client: OpenAI) -> None:
    body = asked("old maps and rivers " * 30)
    del body["max_tokens"]
    done = client.chat.completions.create(**body)
    assert done.usage is not None
    assert done.choices[0].finish_reason == "stop" or done.usage.total_tokens == served.decoder.positions


def test_half_an_emoji_in_a_message_is_replaced_and_a_tiny_temperature_is_greedy(served: Served) -> None:
    assert post(served, asked("tea \ud83d"))[0] == 200
    first, again = (post(served, asked("tea", temperature=1e-320))[1]["choices"][0] for _ in range(2))
    assert first["message"] == again["message"] == post(served, asked("tea"))[1]["choices"][0]["message"]


def test_an_answer_at_the_local_engine_is_the_same(served: Served, expected: dict[str, str]) -> None:
    """The engine that evaluations use on the same folder."""
    prompt = Prompt(id="q", text=TEXTS[0], language="en", type="t", required_words=None)
    sample = SampleConfig(temperature=0, max_new_tokens=40, repeats=1, batch_size=1, plan_first=False)
    (here,) = TransformersEngine(served.engine.folder).answers([SampleRequest("q", prompt, 0)], sample)
    assert here.text == expected[TEXTS[0]]
