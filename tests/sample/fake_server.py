"""A program that looks like vLLM's server from outside: same arguments, a child process, real HTTP.

Its options come from ``fake.json`` in the model's folder: ``tokens`` (text -> ids), ``die_after`` (answers before it
kills itself), ``lives`` (how often it does so), ``name`` (served instead of the wanted one), ``broken`` (ends at once).
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

parser = argparse.ArgumentParser()
for name in ("model", "served-model-name", "host", "port", "dtype", "generation-config"):
    parser.add_argument(f"--{name}", required=True)
given = parser.parse_args()
folder = Path(given.model)
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
        self._send({"data": [{"id": fake.get("name", given.served_model_name), "max_model_len": 512}]})

    def do_POST(self) -> None:
        global answered
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][-1]["content"]
        if self.path == "/tokenize":
            self._send({"tokens": fake["tokens"][text]})
            return
        answered += 1
        if answered > fake.get("die_after", 10**9) and starts <= fake["lives"]:
            os.kill(os.getpid(), signal.SIGKILL)
        message = {"role": "assistant", "content": f"Answer to {text}"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        kind = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
        self._send({**kind, "choices": [choice], "usage": usage})

    def _send(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


ThreadingHTTPServer((given.host, int(given.port)), Handler).serve_forever()
