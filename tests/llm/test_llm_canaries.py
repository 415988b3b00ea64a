"""Twelve kinds of secret in an address, and where a run could keep them: files, pages, cards and logs, unpacked."""

from __future__ import annotations

import base64
import re
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

from lwexp.config import compose
from lwexp.recipe.data import write
from tests import ROOT, forked
from tests.llm.providers.behaviours import BEHAVIOURS
from tests.llm.providers.evaluations import bench_file, engine, evaluation, judge
from tests.llm.providers.runs import STORIES, instruction_file, teacher
from tests.llm.providers.server import Provider
from tests.llm.providers.wire import Call, Response, completion, refusal

PLAIN = "c4n4ryx7q2Ztail"
KEY = "c4n4ry+x7/q2=Z-tail"
FORMS = (KEY, quote(KEY, safe=""), base64.b64encode(f"me:{KEY}".encode()).decode())
WITNESS = "w1tness-8-is-no-key"
HOST = "127.0.0.1:1/v1"
# A secret in an address: in the query under names of clouds and gateways, as the user, in the path, in the fragment.
ADDRESSES = {
    "auth": "http://{host}?auth={key}", "subscription key": "http://{host}?subscription-key={key}",
    "signature": "http://{host}?X-Amz-Signature={key}", "code": "http://{host}?code={key}",
    "apiKey": "http://{host}?apiKey={key}", "API_KEY": "http://{host}?API_KEY={key}",
    "second parameter": "http://{host}?a=1;token={key}", "fragment": "http://{host}#token={key}",
    "user": "http://{key}@{host}", "password": "http://user:{key}@{host}",
    "parameter of the path": "http://{host};jsessionid={key}", "query alone": "http://{host}?{key}",
}  # fmt: skip


REPEATED = [
    address.format(host=HOST, key=FORMS[number % len(FORMS)]) for number, address in enumerate(ADDRESSES.values())
]
"""Each kind as a server repeats it: with the key as it is, quoted, or in base64 with a user."""


def test_there_are_twelve_kinds() -> None:
    assert len(ADDRESSES) == len(set(REPEATED)) == 12


@pytest.mark.parametrize("kind", ADDRESSES)
def test_a_command_with_a_secret_in_an_address_writes_nothing(tmp_path: Path, kind: str) -> None:
    section = ("teacher", "judge", "engine")[list(ADDRESSES).index(kind) % 3]
    script = "evaluate.py" if section == "engine" else "generate_data.py"
    typed = f"{section}.base_url={ADDRESSES[kind].format(host=HOST, key=PLAIN)}"
    done: subprocess.CompletedProcess[str] = forked.run(
        [sys.executable, str(ROOT / script), f"root={tmp_path / 'runs'}", typed], cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {section}.base_url: ")
    assert done.stderr.count("\n") == 1
    assert PLAIN not in done.stdout + done.stderr
    assert list(tmp_path.rglob("*")) == []


def repeated(call: Call) -> Response:
    """Repeats the key in every address: in answers of all kinds and, for one document in three, in refusals."""
    said = f"{WITNESS} {' '.join(REPEATED)}"
    if "part 2" in call.prompt or "part 5" in call.prompt:
        return refusal(400, f"no such deployment: {said}")
    if call.kind == "judge":
        return completion(f'{call.good[:-1]}, "reasons": {{"relevance": "{said}"}}}}')
    return completion(f"{call.good}\n{said}" if call.kind == "plan" else f"{call.good} {said}")


def unpacked(file: Path) -> Iterator[str]:
    """What a file holds: its bytes, packed texts of pages, the columns of Parquet files and the tables of SQLite."""
    raw = file.read_bytes()
    yield raw.decode("utf-8", errors="replace")
    for match in re.finditer(rb"[A-Za-z0-9+/]{40,}={0,2}", raw) if file.suffix in (".html", ".js") else ():
        try:
            packed = base64.b64decode(match[0])
        except ValueError:
            continue
        for bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS, 16 + zlib.MAX_WBITS):
            try:
                yield zlib.decompress(packed, bits).decode()
            except (zlib.error, UnicodeDecodeError):
                continue
    if file.suffix == ".parquet":
        yield str(pq.read_table(file).to_pylist())
    if file.suffix == ".sqlite":
        with closing(sqlite3.connect(file)) as db:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            yield str([db.execute(f"SELECT * FROM {table}").fetchall() for table in tables])


def test_no_file_of_a_run_holds_a_key_that_its_server_repeats_in_addresses(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Drafts, verdicts, failures, ledgers, logs, the card, the viewer and the report. A word that is no key and stands
    beside the addresses is the control: it is found wherever a key could be."""
    monkeypatch.setenv("CANARY_API_KEY", KEY)
    monkeypatch.setitem(BEHAVIOURS, "repeats", repeated)
    roots = [tmp_path / "runs"]
    written = write(
        compose(
            f"root={roots[0]}", "instructions=file", "teacher.api_key_env=CANARY_API_KEY", "generate.min_words=1",
            f"generate.instructions.path={instruction_file(tmp_path, STORIES)}", *teacher(provider, "repeats"),
        )
    )  # fmt: skip
    keys = ("engine.api_key_env=CANARY_API_KEY", "judge.api_key_env=CANARY_API_KEY")
    asked = bench_file(tmp_path)
    evaluated = evaluation(roots[0], asked, *engine(provider, "repeats"), *judge(provider, "repeats"), *keys)

    assert written is not None
    said = capfd.readouterr()
    held = {file: "\n".join(unpacked(file)) for file in sorted(tmp_path.rglob("*")) if file.is_file()}
    held[tmp_path / "console"] = said.out + said.err
    assert [(file.name, form) for file, text in held.items() for form in FORMS if form in text] == []
    places = {file.name for file, text in held.items() if WITNESS in text}
    wanted = {"drafts.jsonl", "conversations.parquet", "ledger.sqlite", "draft_failures.jsonl", "viewer.html",
              "responses.jsonl", "report.html"}  # fmt: skip
    assert wanted <= places
    assert {(written.path / name).is_file() for name in ("README.md", "log.txt")} == {True}
    assert (evaluated.path / "log.txt").is_file()
