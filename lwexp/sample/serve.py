"""A small OpenAI-compatible server for a model folder, to try the API engine; not for production.

    python -m lwexp.sample.serve run=runs/long-1a2b3c4d port=8000
    python -m lwexp.sample.serve model=<folder in Hugging Face format> chat=llama31
    python evaluate.py engine=vllm engine.model=hosted_vllm/<name> engine.base_url=http://127.0.0.1:8000/v1

run=     a training run's directory, whose exported model is served
model=   or a folder in Hugging Face format
chat=    chat format, for a tokenizer that lwexp has not saved
port=    on 127.0.0.1 (a free one)

It answers POST /v1/chat/completions and GET /v1/models, one request at a time, without streaming, and takes
temperature, top_p, top_k, repetition_penalty, max_tokens and seed. Serve real models with vLLM.
"""

import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lwexp.config.evaluate import SampleConfig
from lwexp.records import LwexpError, Prompt
from lwexp.runs.command_line import run_command
from lwexp.sample.requests import SampleRequest

_EXAMPLES = {"run": "runs/long-1a2b3c4d", "model": "models/longwriter", "port": "8000", "chat": "llama31"}
_LARGEST_BODY = 10_000_000  # bytes


class Service:
    """One model, and a lock: two requests at once would only wait for each other inside torch."""

    def __init__(self, folder: Path, name: str, chat: str | None = None) -> None:
        from lwexp.sample.engine import TransformersEngine  # torch takes seconds to load, --help must not

        self.name = name
        self._engine = TransformersEngine(folder, chat=chat)
        self._lock = threading.Lock()

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """A chat completion.

        Raises:
            LwexpError: If the request cannot be answered; its message is sent to the client.
        """
        messages = request.get("messages")
        if not isinstance(messages, list) or len(messages) != 1 or messages[0].get("role") != "user":
            raise LwexpError("messages must be one user message; this server knows single turns only")
        text = str(messages[0]["content"])
        sample = SampleConfig(
            temperature=float(request.get("temperature", 1.0)),
            top_p=float(request.get("top_p") or 1.0),
            top_k=max(0, int(request.get("top_k") or 0)),  # -1 switches it off too
            repetition_penalty=float(request.get("repetition_penalty") or 1.0),
            max_new_tokens=int(request.get("max_tokens") or request.get("max_completion_tokens") or 1024),
            repeats=1, batch_size=1, plan_first=False,
        )  # fmt: skip
        # The same text and seed give the same answer, whatever was asked before.
        id = hashlib.sha256(text.encode()).hexdigest()[:16]
        prompt = Prompt(id=id, text=text, language="en", type="chat", required_words=None)
        with self._lock:
            (answer,) = self._engine.answers([SampleRequest(id, prompt, int(request.get("seed") or 0))], sample)
            tokens = len(self._engine.tokenizer.encode(answer.text, add_special_tokens=False))
        message = {"role": "assistant", "content": answer.text}
        return {
            "id": f"chatcmpl-{id}",
            "object": "chat.completion",
            "created": 0,
            "model": self.name,
            "choices": [{"index": 0, "finish_reason": answer.finish_reason, "message": message}],
            "usage": {"prompt_tokens": len(text) // 4, "completion_tokens": tokens, "total_tokens": tokens},
        }


def server_of(service: Service, port: int) -> ThreadingHTTPServer:
    """A server on 127.0.0.1; port 0 picks a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._send(200, {"object": "list", "data": [{"id": service.name, "object": "model"}]})

        def do_POST(self) -> None:
            try:
                size = int(self.headers.get("Content-Length") or 0)
                if size > _LARGEST_BODY:
                    raise LwexpError(f"the request has {size} bytes, at most {_LARGEST_BODY} are read")
                self._send(200, service.complete(json.loads(self.rfile.read(size))))
            except (LwexpError, ValueError, KeyError, TypeError, AttributeError) as error:
                self._send(400, {"error": {"message": str(error), "type": "invalid_request_error", "code": None}})

        def _send(self, status: int, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    return server


def main(arguments: list[str]) -> int:
    """Serve until Ctrl-C; the first line printed is the base URL. Returns the exit code."""
    return run_command("serve", arguments, __doc__ or "", _EXAMPLES, _serve)


def _serve(options: dict[str, str]) -> None:
    if ("run" in options) == ("model" in options):
        raise LwexpError("serve: wanted run=<run directory> or model=<folder>, not both")
    port = options.get("port", "0")
    if not port.isdecimal():
        raise LwexpError(f"serve: port={port}: wanted a whole number, such as port=8000")
    folder = Path(options["run"]) / "model" if "run" in options else Path(options["model"])
    name = Path(options.get("run") or options["model"]).resolve().name
    server = server_of(Service(folder, name, options.get("chat")), int(port))
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    print(f"serving {name}; evaluate it with engine=vllm engine.model=hosted_vllm/{name}", file=sys.stderr, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
