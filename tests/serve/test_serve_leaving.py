"""Clients that leave or stop sending, and a decoder that fails: the others are answered."""

import logging
import socket
import threading
import time
from typing import Any

import pytest
from aiohttp import ClientConnectionResetError, web
from openai import OpenAI

from lwexp.config.evaluate import SampleConfig
from lwexp.records import LwexpError
from tests.serve.chat_requests import TEXTS, Served, asked, post


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


def test_a_client_that_leaves_between_two_tokens_is_no_failure_of_the_server(
    client: OpenAI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """aiohttp raises this error if it writes after the connection has broken."""
    monkeypatch.setattr(logging.getLogger("lwexp"), "propagate", True)
    written = []

    async def write(self: web.StreamResponse, data: bytes) -> None:
        written.append(data)
        raise ClientConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr(web.StreamResponse, "write", write)
    assert list(client.chat.completions.create(**asked(TEXTS[0]), stream=True)) == []
    assert len(written) == 1
    assert not caplog.records
    monkeypatch.undo()
    assert client.chat.completions.create(**asked(TEXTS[0])).choices[0].finish_reason


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
