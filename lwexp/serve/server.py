"""An OpenAI-compatible server for a model folder, to try a model or connect a chat program to it.

    lwexp serve run=newest port=8000
    lwexp serve run=runs/long-1a2b3c4d
    lwexp serve model=<folder in Hugging Face format> chat=llama31
    python evaluate.py engine=vllm engine.model=hosted_vllm/<name> engine.base_url=http://127.0.0.1:8000/v1

run=     a training run's directory, its name or id, or newest; its exported model is served
root=    where runs live (runs)
model=   or a folder in Hugging Face format
chat=    chat format, for a tokenizer that lwexp has not saved
port=    on 127.0.0.1 (a free one)
slots=   answers written at the same time; others wait (8)

It answers POST /v1/chat/completions, whole or as a stream, GET /v1/models, POST /tokenize and GET /health. System
messages, several turns and text parts are understood, and temperature, top_p, top_k, repetition_penalty, max_tokens,
max_completion_tokens, seed and stop honoured. Any other field that would change the answer is refused. To serve many
users, use vLLM.
"""

import asyncio
import contextlib
import json
import logging
import socket
import sys
import uuid
from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import web

from lwexp.records import LwexpError
from lwexp.runs.command_line import run_command
from lwexp.serve.completion_request import ChatRequest, read_request
from lwexp.serve.model_choice import chosen_model
from lwexp.serve.replies import Ended, error_reply, reply

log = logging.getLogger(__name__)

_EXAMPLES = {
    "run": "runs/long-1a2b3c4d", "root": "runs", "model": "models/longwriter", "chat": "llama31", "port": "8000",
    "slots": "8",
}  # fmt: skip
_LARGEST_BODY = 4_000_000  # bytes; a prompt is encoded while other requests wait
_BODY_SECONDS = 30.0  # a client that sends nothing more does not hold its connection
_MOST_REQUESTS = 256  # answered or waiting
_SLOTS = 8
_LAST_PORT = 65535
_SHUTDOWN_SECONDS = 2.0
_RETRY = {"Retry-After": "5"}


class Server:
    """The routes of one model.

    Args:
        engine: A ``TransformersEngine``.
        decoder: A running ``LiveDecoder`` of that engine.
        name: The model's name in requests.
    """

    def __init__(self, engine: Any, decoder: Any, name: str) -> None:
        self._engine = engine
        self._decoder = decoder
        self._name = name
        self._open = 0

    def app(self) -> web.Application:
        app = web.Application(client_max_size=_LARGEST_BODY, middlewares=[_errors_as_json])
        app.router.add_get("/health", self.health)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_post("/tokenize", self.tokenize)
        return app

    async def health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def models(self, _: web.Request) -> web.Response:
        model = {"id": self._name, "object": "model", "created": 0, "owned_by": "lwexp"}
        return web.json_response({"object": "list", "data": [model | {"max_model_len": self._decoder.positions}]})

    async def tokenize(self, request: web.Request) -> web.Response:
        """The tokens of a prompt, as vLLM's /tokenize gives them."""
        body = await _json(request)
        tokens = self._tokens(read_request({key: body.get(key) for key in ("model", "messages")}))
        return web.json_response({"count": len(tokens), "max_model_len": self._decoder.positions, "tokens": tokens})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        asked = read_request(await _json(request))
        tokens = self._tokens(asked)
        asked = self._limited(asked, len(tokens))
        if self._open >= _MOST_REQUESTS:
            raise web.HTTPServiceUnavailable(text=f"{self._open} requests wait already; try again", headers=_RETRY)
        self._open += 1
        try:
            return await (self._streamed if asked.stream else self._whole)(request, asked, tokens)
        finally:
            self._open -= 1

    def _tokens(self, asked: ChatRequest) -> list[int]:
        from lwexp.pack.chat import encode_prompt

        if asked.model != self._name:
            text = f"model {asked.model!r} is not served here; there is {self._name}"
            raise web.HTTPNotFound(text=text)
        ids: list[int] = encode_prompt(self._engine.tokenizer, self._engine.chat, asked.messages).tolist()
        return ids

    def _limited(self, asked: ChatRequest, prompt: int) -> ChatRequest:
        """The request with a limit that fits the model's positions."""
        left = self._decoder.positions - prompt
        if left < 1 or (asked.has_limit and asked.sample.max_new_tokens > left):
            limit = f" and max_tokens={asked.sample.max_new_tokens:,}" if asked.has_limit else ""
            raise LwexpError(f"a prompt of {prompt:,} tokens{limit} exceeds the {self._decoder.positions:,} positions")
        limit_tokens = asked.sample.max_new_tokens if asked.has_limit else left
        return asked._replace(sample=asked.sample.model_copy(update={"max_new_tokens": limit_tokens}))

    async def _answer(self, asked: ChatRequest, tokens: list[int]) -> AsyncGenerator[str | Ended]:
        """The text in pieces, then its end."""
        from lwexp.sample.decode import DecodeRequest
        from lwexp.serve.text_stream import TextStream

        loop, received = asyncio.get_running_loop(), asyncio.Queue[Any]()
        id = uuid.uuid4().hex
        text, count = TextStream(self._engine.tokenizer, asked.stops), 0
        question = DecodeRequest(id, tokens, seed=f"{asked.seed}|{tokens}")
        self._decoder.submit(
            question, asked.sample, lambda given: loop.call_soon_threadsafe(received.put_nowait, given)
        )
        has_ended = False
        try:
            while True:
                given = await received.get()
                has_ended = isinstance(given, LwexpError) or given.finish_reason is not None
                if isinstance(given, LwexpError):
                    raise web.HTTPInternalServerError(text=str(given))
                if given.token is not None:
                    count += 1
                    if piece := text.add(given.token):
                        yield piece
                reason = "stop" if text.is_stopped else given.finish_reason
                if reason is not None:
                    if piece := text.finish():
                        yield piece
                    yield Ended(reason, len(tokens), count)
                    return
        finally:
            if not has_ended:
                self._decoder.drop(id)

    async def _whole(self, _: web.Request, asked: ChatRequest, tokens: list[int]) -> web.Response:
        pieces: list[str] = []
        async with contextlib.aclosing(self._answer(asked, tokens)) as answer:
            async for piece in answer:
                if isinstance(piece, str):
                    pieces.append(piece)
                    continue
                message = {"role": "assistant", "content": "".join(pieces)}
                choice = {"index": 0, "message": message, "finish_reason": piece.finish_reason}
                whole = reply(self._name, "chat.completion") | {"choices": [choice], "usage": piece.usage()}
                return web.json_response(whole)
        raise AssertionError("an answer has an end")

    async def _streamed(self, request: web.Request, asked: ChatRequest, tokens: list[int]) -> web.StreamResponse:
        """Server-sent events. After the first event, an error can only be sent as another event."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client has left
            await self._send_events(response, asked, tokens)
        return response

    async def _send_events(self, response: web.StreamResponse, asked: ChatRequest, tokens: list[int]) -> None:
        chunk = reply(self._name, "chat.completion.chunk")

        async def send(choices: list[dict[str, Any]], **more: Any) -> None:
            await response.write(f"data: {json.dumps(chunk | {'choices': choices} | more)}\n\n".encode())

        await send([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
        try:
            async with contextlib.aclosing(self._answer(asked, tokens)) as answer:
                async for piece in answer:
                    if isinstance(piece, str):
                        await send([{"index": 0, "delta": {"content": piece}, "finish_reason": None}])
                        continue
                    await send([{"index": 0, "delta": {}, "finish_reason": piece.finish_reason}])
                    if asked.with_usage:
                        await send([], usage=piece.usage())
        except web.HTTPInternalServerError as error:
            await response.write(f"data: {json.dumps(error_reply(500, error.text or ''))}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await request.json()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {_BODY_SECONDS:g} s") from None
    except (ValueError, LookupError, RecursionError) as error:
        raise LwexpError(f"the body is not JSON ({error})") from None
    if not isinstance(body, dict):
        raise LwexpError(f"the body is {type(body).__name__}, wanted an object with model and messages")
    return body


@web.middleware
async def _errors_as_json(request: web.Request, handler: Any) -> web.StreamResponse:
    """OpenAI's form of errors."""
    try:
        response: web.StreamResponse = await handler(request)
        return response
    except LwexpError as error:
        return web.json_response(error_reply(400, str(error)), status=400)
    except web.HTTPException as error:
        headers = _RETRY if error.status == 503 else None
        return web.json_response(
            error_reply(error.status, error.text or error.reason), status=error.status, headers=headers
        )
    except Exception as error:
        log.exception("a request failed")
        return web.json_response(error_reply(500, f"{type(error).__name__}: {error}"), status=500)


def main(arguments: list[str]) -> int:
    """Serve until Ctrl-C or SIGTERM; the first line printed is the base URL. Returns the exit code."""
    return run_command("serve", arguments, __doc__ or "", _EXAMPLES, _serve)


def _serve(options: dict[str, str]) -> None:
    port, slots = _number(options, "port", 0), _number(options, "slots", _SLOTS)
    if slots < 1:
        raise LwexpError("serve: slots=0: wanted 1 or more")
    if port > _LAST_PORT:
        raise LwexpError(f"serve: port={port}: wanted at most {_LAST_PORT}, such as port=8000")
    folder, name = chosen_model("serve", options)
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise LwexpError(f"serve: port={port}: {error}; choose another, or leave port= out") from None
    # torch takes seconds to load, --help must not
    from lwexp.sample.engine import TransformersEngine
    from lwexp.serve.live_decoder import LiveDecoder

    engine = TransformersEngine(folder, chat=options.get("chat"))
    with LiveDecoder(engine, slots) as decoder:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        print(address, flush=True)
        hint = f"serving {name}; evaluate it with engine=vllm engine.base_url={address} engine.model={name}"
        print(hint, file=sys.stderr, flush=True)
        # A client that has gone cancels its request, which frees the slot.
        app = Server(engine, decoder, name).app()
        web.run_app(app, sock=listener, print=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS)


def _number(options: dict[str, str], key: str, default: int) -> int:
    value = options.get(key, str(default))
    if not value.isdecimal():
        raise LwexpError(f"serve: {key}={value}: wanted a whole number, such as {key}={_EXAMPLES[key]}")
    return int(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
