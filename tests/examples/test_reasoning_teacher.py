"""examples/reasoning_teacher: its options arrive at an OpenAI-compatible server."""

import json
import os
import shutil
import sys
from pathlib import Path

from tests import forked
from tests.llm.loopback import loopback_server

EXAMPLE = Path(__file__).parents[2] / "examples" / "reasoning_teacher"


def test_the_options_of_the_teacher_arrive(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "mine")
    row = {"text": "Write a 40-word text about tea.", "required_words": 40}
    (tmp_path / "mine" / "ask.jsonl").write_text(json.dumps(row) + "\n")
    with loopback_server("--canned") as server:
        done = forked.run(
            [
                sys.executable, "-m", "lwexp", "generate", "--config-dir", "conf", "teacher=reasoning",
                f"teacher.base_url={server.url}", "instructions=file", "generate.instructions.path=ask.jsonl",
                "generate.min_words=1", "name=tea",
            ],
            cwd=tmp_path / "mine", env=os.environ | {"OPENAI_API_KEY": "canary-0"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        sent = server.stats()["requests"]
    assert len(sent) >= 2  # a plan and a paragraph
    for request in sent:
        assert request["reasoning_effort"] == "low"
        assert request["team"] == "writing"
        assert request["max_completion_tokens"] == 32768
        assert "temperature" not in request
    (run,) = (tmp_path / "mine" / "runs").glob("tea-*")
    assert json.loads((run / "config.json").read_text())["teacher"]["options"]["reasoning_effort"] == "low"
