"""The server through a client that others wrote; tests/sample/test_sample_remote.py asks it through litellm."""

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from openai import NotFoundError, OpenAI

from lwexp.config.evaluate import SampleConfig
from lwexp.records import LwexpError, Prompt
from lwexp.sample.engine import TransformersEngine
from lwexp.sample.requests import SampleRequest
from lwexp.serve.server import main
from tests.serve.conftest import Served

TEXTS = [
    "Write about tea",
    "Hello rivers",
    "Old maps there",
    "请写一篇关于茶的文章。",
    "Hello there, old maps.",
    "tea",
    "a",
    "b",
]


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {
        "model": "tiny",
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": 40,
        **more,
    }


@pytest.fixture(scope="module")
def client(served: Served) -> OpenAI:
    return OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def expected(llama_folder: Path) -> dict[str, str]:
    """Greedy answers of transformers' generate, which shares no code with the server's decoding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(llama_folder)
    model = AutoModelForCausalLM.from_pretrained(llama_folder, dtype=torch.float64)
    stops = tokenizer.convert_tokens_to_ids(["<|eot_id|>", "<|end_of_text|>"])
    answers = {}
    for text in TEXTS:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        out = model.generate(**ids, do_sample=False, max_new_tokens=40, eos_token_id=stops)
        answers[text] = tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    return answers


def post(served: Served, body: Any, path: str = "/v1/chat/completions") -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urlopen(Request(served.url + path, data, {"Content-Type": "application/json"}), timeout=60) as reply:
            return reply.status, json.load(reply)
    except HTTPError as error:
        return error.code, json.load(error)


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


def test_a_client_that_leaves_frees_its_slot(client: OpenAI, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder takes a step only when the test allows one, so the answer cannot end by itself meanwhile."""
    from lwexp.sample.decode import Decoder

    whole = [client.chat.completions.create(**asked(text)).choices[0].finish_reason for text in TEXTS[:4]]
    allowed, advance = threading.Semaphore(10), Decoder.advance

    def one_step(self: Decoder) -> None:
        allowed.acquire(timeout=60)
        advance(self)

    monkeypatch.setattr(Decoder, "advance", one_step)
    stream = client.chat.completions.create(**asked(TEXTS[whole.index("length")], max_tokens=400), stream=True)
    next(chunk for chunk in stream if chunk.choices[0].delta.content)
    assert served.decoder.busy == 1
    stream.close()
    for _ in range(25):  # of the 30 steps or more that are left
        time.sleep(0.2)
        allowed.release()
        if not served.decoder.busy:
            break
    assert served.decoder.busy == 0
    monkeypatch.undo()
    allowed.release(100)


def test_half_an_emoji_in_a_message_is_replaced_and_a_tiny_temperature_is_greedy(served: Served) -> None:
    assert post(served, asked("tea \ud83d"))[0] == 200
    first, again = (post(served, asked("tea", temperature=1e-320))[1]["choices"][0] for _ in range(2))
    assert first["message"] == again["message"] == post(served, asked("tea"))[1]["choices"][0]["message"]


def test_a_failure_of_the_decoder_reaches_its_requests_and_the_next_one_is_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lwexp.sample.decode import Decoder

    def broken(*_: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Decoder, "advance", broken)
    status, reply = post(served, asked(TEXTS[0]))
    assert (status, "memory ran out with 1 answers at once" in reply["error"]["message"]) == (500, True)

    def odd(*_: object) -> None:
        raise KeyError("no such key")

    monkeypatch.setattr(Decoder, "advance", odd)
    status, reply = post(served, asked(TEXTS[0]))
    assert (status, "the decoder failed (KeyError" in reply["error"]["message"]) == (500, True)
    monkeypatch.undo()
    assert post(served, asked(TEXTS[0]))[0] == 200


def test_a_request_that_leaves_while_it_waits_is_never_written(served: Served) -> None:
    """One slot: ``first`` is being written, ``gone`` waits and leaves, ``last`` comes."""
    from lwexp.sample.decode import DecodedToken, DecodeRequest
    from lwexp.serve.live_decoder import LiveDecoder

    ended = {name: threading.Event() for name in ("first", "last")}
    received: dict[str, int] = {"first": 0, "gone": 0, "last": 0}

    def receiver(name: str) -> Any:
        def receive(given: DecodedToken | LwexpError) -> None:
            assert isinstance(given, DecodedToken)
            received[name] += 1
            if given.finish_reason is not None:
                ended[name].set()

        return receive

    sample = SampleConfig(temperature=0, max_new_tokens=30, repeats=1, batch_size=1, plan_first=False)
    with LiveDecoder(served.engine, 1) as decoder:
        decoder.submit(DecodeRequest("first", [20, 21, 22], seed="0"), sample, receiver("first"))
        decoder.submit(DecodeRequest("gone", [30, 31], seed="0"), sample, receiver("gone"))
        decoder.drop("gone")
        assert ended["first"].wait(60)
        decoder.submit(DecodeRequest("last", [40, 41], seed="0"), sample, receiver("last"))
        assert ended["last"].wait(60)
    assert received["gone"] == 0
    assert received["first"] > 0 < received["last"]


def test_another_model_is_refused(client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="model 'gpt-4o' is not served here; there is tiny"):
        client.chat.completions.create(**asked("a") | {"model": "gpt-4o"})


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "the body is not JSON"),
        ([], 400, "the body is list, wanted an object"),
        ({"model": "tiny"}, 400, "messages: "),
        (asked("a", n=2), 400, "n: got 2"),
        (asked("a", tools=[{"type": "function"}]), 400, "tools: got"),
        (asked("a", response_format={"type": "json_object"}), 400, "response_format.type: got 'json_object'"),
        (asked("a", min_p=0.1), 400, "min_p: this server does not know the field"),
        (asked("a", temperature=-1), 400, "temperature: got -1"),
        (asked("a", presence_penalty=0.5), 400, "presence_penalty: got 0.5"),
        (asked("a", max_tokens=1000), 400, "max_tokens=1,000 exceeds the 512 positions"),
        (asked("a") | {"messages": [{"role": "assistant", "content": "x"}]}, 400, "message 0 is from assistant"),
        (asked("a") | {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages.0.content"),
        (b'{"x": "' + b"a" * 4_000_001 + b'"}', 413, "4000000"),
        (b"[" * 100_000, 400, "the body is not JSON"),
        (asked("a", repetition_penalty=1e-310), 400, "repetition_penalty: got 1e-310"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_by_name(served: Served, body: Any, status: int, said: str) -> None:
    got, reply = post(served, body)
    assert got == status
    assert said in reply["error"]["message"]
    assert post(served, asked("a", presence_penalty=0, n=1, tools=[], user="me"))[0] == 200  # the neutral values


def test_a_body_that_stops_coming_is_refused_in_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen clients that promise 100 bytes and send one hold neither a thread nor their connection."""
    monkeypatch.setattr("lwexp.serve.server._BODY_SECONDS", 0.2)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    threads = threading.active_count()
    slow = [socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])), timeout=30) for _ in range(16)]
    try:
        for client in slow:
            client.sendall(head)
        assert threading.active_count() <= threads + 2
        assert [client.recv(12) for client in slow] == [b"HTTP/1.1 408"] * 16
    finally:
        for client in slow:
            client.close()


def test_an_answer_at_the_local_engine_is_the_same(served: Served, expected: dict[str, str]) -> None:
    """The engine that evaluations use on the same folder."""
    prompt = Prompt(id="q", text=TEXTS[0], language="en", type="t", required_words=None)
    sample = SampleConfig(temperature=0, max_new_tokens=40, repeats=1, batch_size=1, plan_first=False)
    (here,) = TransformersEngine(served.engine.folder).answers([SampleRequest("q", prompt, 0)], sample)
    assert here.text == expected[TEXTS[0]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["port=1"], "wanted run=<run directory, name, id or newest> or model"),
        (["run=x", "model=y"], "wanted run=<run directory, name, id or newest> or model"),
        (["model=x", "prt=1"], "prt=1: no such option; there are run=, root=, model=, chat=, port=, slots="),
        (["model=x", "port="], "port needs a value, such as port=8000"),
        (["model=x", "port=http"], "port=http: wanted a whole number"),
        (["model=x", "port=99999"], "port=99999: "),
        (["model=x", "slots=0"], "slots=0: wanted 1 or more"),
        (["run=nosuch", "root=nowhere"], "run=nosuch: no run is called nosuch under nowhere"),
    ],
)
def test_serving_nothing_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: serve: {said}")
    assert error.count("\n") == 1


def test_a_server_of_the_users_is_compared_with_the_model_folder(
    served: Served, llama_folder: Path, glm_folder: Path
) -> None:
    """What task=pairs asks before it samples. The other folder is the negative control."""
    from lwexp.sample.servers.identity import ServerCannotTellError, check_prompts, served_model

    prompts = [Prompt(id=str(n), text=text, language="en", type="t", required_words=9) for n, text in enumerate(TEXTS)]
    sample = SampleConfig(temperature=0, max_new_tokens=40, repeats=1, batch_size=1, plan_first=False)
    there = served_model(served.url, "tiny")
    assert there.positions == 512
    check_prompts(there, prompts, sample, llama_folder, None)
    with pytest.raises(LwexpError, match="does not use the tokenizer and chat template of"):
        check_prompts(there, prompts, sample, glm_folder, None)
    with pytest.raises(LwexpError, match="exceeds the 512 positions"):
        check_prompts(there, prompts, sample.model_copy(update={"max_new_tokens": 512}), llama_folder, None)
    with pytest.raises(LwexpError, match="serves tiny, not other"):
        served_model(served.url, "other")
    with pytest.raises(ServerCannotTellError, match="404"):
        served_model(f"{served.url}/elsewhere", "tiny")
