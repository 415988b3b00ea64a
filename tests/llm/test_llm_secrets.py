"""Keys: refused in every wrong place, and in no file of a run that has one in the right place."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lwexp.config.base import validate
from lwexp.config.compose import compose_tree
from lwexp.config.schema import Config
from lwexp.config.secrets import refuse_arguments
from lwexp.records import LwexpError
from tests import forked
from tests.llm.loopback import loopback_server

REPOSITORY = Path(__file__).resolve().parents[2]
CANARY = "sk-canary-0123456789abcdef"


def generate(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run generate_data.py in ``folder``, with no keys but those given."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    command = [sys.executable, str(REPOSITORY / "generate_data.py"), f"root={folder / 'runs'}", *words]
    return forked.run(command, cwd=folder, env={**kept, **environment})


def files_with(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_no_key_is_one_line_and_no_heavy_import(tmp_path: Path) -> None:
    script = (
        "import sys, runpy\n"
        "sys.argv = ['generate_data.py', 'teacher=gpt4o', f'root={sys.argv[1]}', 'generate.instructions.count=2']\n"
        "try: runpy.run_path('generate_data.py', run_name='__main__')\n"
        "finally: print([name for name in ('litellm', 'torch', 'transformers') if name in sys.modules])"
    )
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=REPOSITORY, env=kept, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "export OPENAI_API_KEY=<your key>" in errors[0]
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "word",
    [
        f"teacher.model=openai/{CANARY}",
        f"teacher.api_key_env={CANARY}",
        f"+teacher.api_key={CANARY}",
        "+teacher.api_key=anything-else",
        f"teacher.base_url=http://user:{CANARY}@127.0.0.1:1/v1",
        "teacher.base_url=http://127.0.0.1:1/v1?api_key=0123456789",
        f"name={CANARY}",
        f"{CANARY}=1",
    ],
)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(word: str) -> None:
    with pytest.raises(LwexpError) as caught:
        refuse_arguments(["teacher=gpt4o", word])
    assert CANARY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_refused_key_leaves_no_file_behind(tmp_path: Path) -> None:
    done = generate(tmp_path, "teacher=gpt4o", f"teacher.api_key_env={CANARY}")
    assert done.returncode == 2
    assert CANARY not in done.stdout + done.stderr
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("key", ["model", "base_url", "api_key_env"])
def test_a_key_in_a_yaml_file_is_refused(key: str) -> None:
    tree = compose_tree("teacher=gpt4o")
    tree["teacher"][key] = f"http://x/{CANARY}"
    with pytest.raises(LwexpError, match=rf"^teacher\.{key}: ") as caught:
        validate(tree, Config)
    assert CANARY not in str(caught.value)


def test_the_value_of_a_key_variable_is_refused_whatever_it_looks_like(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_arguments(["teacher.model=openai/wonderland"])  # negative control
    monkeypatch.setenv("SOME_API_KEY", "wonderland")
    with pytest.raises(LwexpError):
        refuse_arguments(["teacher.model=openai/wonderland"])


def test_ordinary_values_are_no_keys() -> None:
    refuse_arguments(
        [
            "teacher.model=openai/gpt-4o-2024-08-06", "teacher.api_key_env=OPENAI_API_KEY", "teacher.max_tokens=10",
            "teacher.base_url=http://127.0.0.1:8000/v1", "model.path=/data/task-12345678901234567890/glm",
        ]
    )  # fmt: skip


def test_a_run_whose_calls_fail_and_repeat_the_key_keeps_it_out_of_every_file(tmp_path: Path) -> None:
    row = '{{"id": "{0}", "text": "Write a 100-word article about tea. {1}", "required_words": 100}}\n'
    faults = ["", "[[faults: 401]]", "[[faults: 500, 429]]", "[[faults: 400]]"]
    (tmp_path / "set.jsonl").write_text("".join(row.format(i, fault) for i, fault in enumerate(faults)))
    with loopback_server("--record", "0") as server:
        started = time.monotonic()
        done = generate(
            tmp_path, "teacher=local_openai", f"teacher.base_url={server.url}", "teacher.api_key_env=MY_API_KEY",
            "teacher.limits.initial_backoff_seconds=0.1", "instructions=file",
            f"generate.instructions.path={tmp_path / 'set.jsonl'}", MY_API_KEY=CANARY,
        )  # fmt: skip
        assert server.now()["faults"]["401"] == 1, time.monotonic() - started
    assert done.returncode == 0, done.stderr
    assert "Incorrect API key provided: ***" in files_with(tmp_path, "Incorrect API key")[0].read_text()
    assert files_with(tmp_path, CANARY) == []
    assert CANARY not in done.stdout + done.stderr
