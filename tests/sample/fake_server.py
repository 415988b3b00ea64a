"""A program that looks like vLLM's or SGLang's server from outside: same arguments, a child process, real HTTP.

Its options come from ``fake.json`` in the model's folder: ``tokens`` (text -> ids), ``die_after`` (answers before it
kills itself), ``lives`` (how often it does so), ``name`` (served instead of the wanted one), ``root`` (the folder it
says it loaded), ``broken`` (ends at once), ``sick`` (never healthy). With --model-path it is SGLang's: /tokenize reads
plain text only, and the folder is at /get_model_info.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

IS_SGLANG = "--model-path" in sys.argv
parser = argparse.ArgumentParser()
for name in ("served-model-name", "host", "port", "dtype"):
    parser.add_argument(f"--{name}", required=True)
for name in ("model-path", "sampling-defaults") if IS_SGLANG else ("model", "generation-config"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--context-length" if IS_SGLANG else "--max-model-len", dest="context", type=int, default=2000)
given = parser.parse_args()
folder = Path(given.model_path if IS_SGLANG else given.model)
fake: dict[str, Any] = json.loads((folder / "fake.json").read_text(encoding="utf-8"))
if fake.get("broken"):
    sys.exit("no room for the weights")
child = subprocess.Popen(["sleep", "600"])
with open(folder / ".pids", "a", encoding="utf-8") as pids:  # hidden: not part of the model's fingerprint
    pids.write(f"{os.getpid()} {child.pid}\n")
starts = len((folder / ".pids").read_text(encoding="utf-8").splitlines())
answered = 0


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        served, root = fake.get("name", given.served_model_name), fake.get("root", str(folder))
        if self.path == "/health":
            self._send({}, 503 if fake.get("sick") else 200)
        elif self.path == "/v1/models":
            self._send(
                {"data": [{"id": served, "max_model_len": given.context, "root": served if IS_SGLANG else root}]}
            )
        elif self.path == "/get_model_info" and IS_SGLANG:
            self._send({"model_path": root})
        elif self.path == ("/server_info" if IS_SGLANG else "/version"):
            self._send({"version": "0.0.fake"})
        else:
            self._send({}, 404)

    def do_POST(self) -> None:
        global answered
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize" and IS_SGLANG and "prompt" not in body:
            self._send({"error": "prompt: field required"}, 400)
            return
        if self.path == "/tokenize":
            self._send({"tokens": fake["tokens"][body["prompt"] if IS_SGLANG else body["messages"][-1]["content"]]})
            return
        text = body["messages"][-1]["content"]
        if body["max_tokens"] > 1:  # else it is asked how many tokens the prompt has
            answered += 1
        if answered > fake.get("die_after", 10**9) and starts <= fake["lives"]:
            os.kill(os.getpid(), signal.SIGKILL)
        message = {"role": "assistant", "content": f"Answer to {text}"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        prompt = len(fake["tokens"][text])
        usage = {"prompt_tokens": prompt, "completion_tokens": 1, "total_tokens": prompt + 1}
        kind = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
        self._send({**kind, "choices": [choice], "usage": usage})

    def _send(self, value: object, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


ThreadingHTTPServer((given.host, int(given.port)), Handler).serve_forever()
