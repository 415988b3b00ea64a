"""The server of the live page: what it answers, and to whom."""

import json
import socket
import struct
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.watch.conftest import Runs

Address = tuple[str, int]


def ask(address: Address, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, dict[str, str]]:
    connection = HTTPConnection(*address, timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        if value:
            connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    is_json = answer.headers["Content-Type"] == "application/json"
    return answer.status, json.loads(body) if is_json and body else body, dict(answer.headers)


def test_the_list_has_every_run_with_its_state_and_the_working_ones_first(address: Address) -> None:
    """data-1 is done; killed-2 says running but has no process; sft-4's lock is held; the sweep's process has gone."""
    status, found, _ = ask(address, "/api/runs")
    assert status == 200
    assert {row["key"]: row["state"] for row in found["rows"]} == {
        "sft-4": "running", "data-1": "finished", "demo/killed-2": "stopped", "wrong-3": "failed",
        "sweep-lr-5": "failed",
    }  # fmt: skip
    assert found["counts"] == {"failed": 2, "finished": 1, "running": 1, "stopped": 1}
    first = found["rows"][0]
    assert (first["key"], first["share"], first["text"]) == ("sft-4", 0.25, "10 of 40, 0:30 left")
    (done,) = [row for row in found["rows"] if row["key"] == "data-1"]
    assert (done["result"], done["cost_usd"]) == ("24 conversations", 1.5)
    (sweep,) = [row for row in found["rows"] if row["kind"] == "sweep"]
    assert sweep["text"] == "1 of 3 trials finished, 1 failed, 1 stopped"


@pytest.mark.parametrize(
    ("query", "keys"),
    [("text=glm4", {"sft-4"}), ("text=DEMO", {"demo/killed-2"}), ("state=failed&text=wrong", {"wrong-3"}),
     ("text=nothing", set())],
)  # fmt: skip
def test_the_list_is_searched_on_the_server(address: Address, query: str, keys: set[str]) -> None:
    _, found, _ = ask(address, f"/api/runs?{query}")
    assert {row["key"] for row in found["rows"]} == keys


def test_a_working_run_has_its_progress_curves_log_and_settings(address: Address, runs: Runs) -> None:
    status, run, _ = ask(address, "/api/runs/sft-4")
    assert status == 200
    charts = {chart["title"]: chart["lines"] for chart in run["charts"]}
    assert charts["Loss"] == [{"name": "training", "points": [[n, 4 - n / 16] for n in range(1, 11)]}]
    assert set(charts) == {"Loss", "Learning rate", "Gradient norm"}
    assert run["log"] == ["2026-01-01 00:00:01,000 WARNING lwexp: <b>bold[U+202E]</b>"]
    assert ask(address, "/api/settings/sft-4")[1][:2] == [["seed", "7"], ["objective.kind", "sft"]]
    with (runs.working / "metrics.jsonl").open("a") as out:
        out.write('{"step": 11, "loss": 1.0}\n')
    _, later, _ = ask(address, "/api/runs/sft-4")
    assert later["charts"][0]["lines"][0]["points"][-1] == [11, 1.0]


def test_a_sweep_has_its_trials_with_links_to_their_runs(address: Address) -> None:
    _, sweep, _ = ask(address, "/api/runs/sweep-lr-5")
    assert sweep["trials"][0]["runs"] == [["killed-2", "demo/killed-2"], ["gone-8", ""]]
    assert [(trial["label"], trial["state"]) for trial in sweep["trials"]] == [
        ("lr=0", "finished"), ("lr=1", "failed"), ("lr=2", "stopped"),
    ]  # fmt: skip


def test_what_has_not_changed_is_not_sent_again(address: Address, runs: Runs) -> None:
    _, _, headers = ask(address, "/api/runs/sft-4")
    status, body, _ = ask(address, "/api/runs/sft-4", If_None_Match=headers["ETag"])
    assert (status, body) == (304, "")
    (runs.working / "log.txt").write_text("another line\n")
    assert ask(address, "/api/runs/sft-4", If_None_Match=headers["ETag"])[0] == 200


def test_a_browser_that_closes_its_connection_leaves_no_traceback(
    address: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    """SO_LINGER of 0 seconds resets the connection, as a closed tab does, in the middle of a request."""
    with socket.create_connection(address) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ask(address, "/api/runs")[0] == 200
    deadline = time.monotonic() + 10
    while any("process_request_thread" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8042", "127.0.0.1.evil.example", "", "[::1", "1.2.3.4"])
def test_a_page_of_another_host_gets_nothing(address: Address, host: str) -> None:
    """After DNS rebinding the browser sends the name of the page's own host."""
    for path in ("/", "/api/runs", "/api/runs/sft-4"):
        status, body, _ = ask(address, path, Host=host)
        assert status == 403
        assert "sft-4" not in json.dumps(body)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9000", "[::1]:80", "LOCALHOST"])
def test_this_machine_is_answered_at_any_port(address: Address, host: str) -> None:
    """Control for the test above; behind ssh -L 9000:127.0.0.1:8042 the browser sends localhost:9000."""
    assert ask(address, "/api/runs", Host=host)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"])
def test_nothing_but_get_is_answered(address: Address, method: str) -> None:
    status, _, headers = ask(address, "/api/runs", method)
    assert (status, headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize(
    "path",
    ["../secret-1", "..%2fsecret-1", "%2e%2e/secret-1", "demo/../../secret-1", "//etc/passwd", "/etc/passwd",
     "linked-9", "sft-4/log.txt", "sft-4/../data-1", ""],
)  # fmt: skip
def test_no_path_leads_out_of_the_root_or_to_a_file(address: Address, runs: Runs, path: str) -> None:
    from tests.made_runs import make_run

    outside = make_run(runs.root.parent, "secret-1", "train", "finished", command="secret words")
    (runs.root / "linked-9").symlink_to(outside)
    for kind in ("runs", "settings"):
        status, body, _ = ask(address, f"/api/{kind}/{path}")
        assert (status, body) == (404, {"error": "no such run"})
    assert ask(address, f"/{path}")[0] in (200, 404)
    assert "secret" not in json.dumps(ask(address, "/api/runs")[1])


def test_a_log_that_is_a_link_out_of_the_run_is_not_read(address: Address, runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("secret words")
    (runs.working / "log.txt").unlink()
    (runs.working / "log.txt").symlink_to(tmp_path / "private")
    assert ask(address, "/api/runs/sft-4")[1]["log"] == []


def test_the_page_may_run_its_own_script_only_and_ask_its_own_server_only(address: Address) -> None:
    status, page, headers = ask(address, "/")
    assert status == 200
    assert "default-src 'none'; script-src 'sha256-" in page
    assert "connect-src 'self';" in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert (headers["X-Content-Type-Options"], headers["X-Frame-Options"]) == ("nosniff", "DENY")
