"""Time of AgentWrite beside the time of the teacher itself, the client's time per call, and the speed of a replay.

    python -m benchmarks.teacher              320 documents at 2 s per call, 64 in flight: about four minutes
    python -m benchmarks.teacher --quick      16 documents at 0.05 s per call: seconds
    python -m benchmarks.teacher ours replay  only these parts; there are ours, replay, original and overload

The teacher is a server in its own process that answers after a fixed time, whatever the load. Documents have 8 to 16
paragraphs. They are written one after the other, so each call of a document starts after the previous one has ended.

``ideal`` is the shortest time for any client with C calls in flight: calls x latency / C, or the number of calls of the
longest document x latency if that is more. It does not include starting the client and opening connections.
``ours`` is ``write_all`` as ``generate_data.py`` calls it, from the instructions to the files on disk, with the
import of litellm, the ledger that waits for the disk, and the export.
``original`` is the loop of THUDM/LongWriter agentwrite (plan.py and write.py at 3fcfdff), reimplemented: 8 workers
with one blocking request each, up to ten tries without a pause, and then the words "Max tries. Failed." as the text. It
writes fewer documents, because its rate does not depend on their number; its ``wall_over_ideal`` is the ideal rate with
64 calls in flight divided by its own rate.

Cases: ``latency_2s_64``; ``overload_1s``, where one request in 20 is refused with 429 until a second has passed;
``replay``, which gives answers per second from the ledger, through ``Client.ask`` alone and in a whole repeated run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.output import Results, show
from benchmarks.teacher_systems import call_counts, instructions
from tests.llm.loopback import LoopbackServer, loopback_server

CONCURRENCY = 64
ORIGINAL_WORKERS = 8
QUICK_LATENCY = 0.05
PARTS = ["ours", "replay", "original", "overload"]
OVERLOAD_LATENCY = 0.1


def main() -> None:
    """Run all cases."""
    quick = "--quick" in sys.argv[1:]
    parts = [word for word in sys.argv[1:] if word in PARTS] or PARTS
    latency = QUICK_LATENCY if quick else 2.0
    documents, original_documents = (16, 8) if quick else (320, 24)
    results: Results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with loopback_server("--canned", "--record", "0", "--latency", str(latency)) as server:
            calm = {}
            if "ours" in parts:
                calm["ours"] = our_case(server, folder / "calm", latency, documents)
                calm["ideal"] = {"seconds": ideal_seconds(documents, latency), "wall_over_ideal": 1.0}
            if "original" in parts:
                calm["original"] = original_case(server, folder / "original", latency, original_documents)
            results["latency_2s_64"] = calm
            if "replay" in parts and "ours" in parts:
                results["replay"] = replay_case(server, folder / "calm", documents)
        if "overload" in parts:
            results["overload_1s"] = overload_case(folder / "busy", 16 if quick else 64)
    show("teacher", {name: case for name, case in results.items() if case}, ("litellm", "aiohttp", "lwexp"))


def our_case(server: LoopbackServer, folder: Path, latency: float, documents: int) -> dict[str, float]:
    """Wall time of a whole run with 64 calls in flight."""
    ours = measured("ours", server.url, folder, documents)
    assert server.now()["answered"] == sum(call_counts(documents))
    return rates(ours, documents, latency)


def original_case(server: LoopbackServer, folder: Path, latency: float, documents: int) -> dict[str, float]:
    """The original's loop with its eight workers."""
    slow = rates(measured("original", server.url, folder, documents), documents, latency)
    return {**slow, "wall_over_ideal": CONCURRENCY / latency / slow["calls_per_second"]}


def overload_case(folder: Path, documents: int) -> dict[str, dict[str, float]]:
    """The effect on drafts of a provider that is busy for a second; its other answers take 0.1 s."""
    cases = {}
    for system in ("ours", "original"):
        options = ("--canned", "--record", "0", "--latency", str(OVERLOAD_LATENCY), "--busy-rate", "0.05")
        with loopback_server(*options) as server:
            found = measured(system, server.url, folder, documents)
            refused = server.now()["faults"].get("429", 0)
        kept = ("documents", "documents_with_error_text", "seconds")
        cases[system] = {"refusals": float(refused), **{name: found[name] for name in kept}}
    return cases


def replay_case(server: LoopbackServer, folder: Path, documents: int) -> dict[str, dict[str, float]]:
    """Answers per second from the ledger of the first case; litellm is not imported, and the server gets no request."""
    before = server.now()["attempts"]
    ask = measured("replay", server.url, folder, documents)
    run = measured("ours", server.url, folder, documents)
    assert server.now()["attempts"] == before
    assert not ask["litellm_imported"]
    assert not run["litellm_imported"]
    return {
        "ours": {"calls_per_second": ask["calls"] / ask["seconds"], "answers": ask["calls"]},
        "whole_run": {"calls_per_second": run["calls"] / run["seconds"], "answers": run["calls"]},
    }


def rates(found: dict[str, float], documents: int, latency: float) -> dict[str, float]:
    """A system's numbers in the units of the table."""
    calls = found["calls"]
    return {
        "seconds": found["seconds"],
        "wall_over_ideal": found["seconds"] / ideal_seconds(documents, latency),
        "calls_per_second": calls / found["seconds"],
        "cpu_ms_per_call": found["cpu_seconds"] / calls * 1000,
        "calls": calls,
    }


def ideal_seconds(documents: int, latency: float) -> float:
    """The shortest time for ``documents``: all slots always busy, and the calls of one document one after another."""
    counts = call_counts(documents)
    return max(sum(counts) / CONCURRENCY, max(counts)) * latency


def measured(system: str, url: str, folder: Path, documents: int) -> dict[str, float]:
    """Run a system in a new process; the last line of its output is its measurements."""
    folder.mkdir(exist_ok=True)
    file = folder / "instructions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in instructions(documents)), encoding="utf-8")
    workers = ORIGINAL_WORKERS if system == "original" else CONCURRENCY
    command = [sys.executable, "-m", "benchmarks.teacher_systems", system, url, str(file), str(workers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    numbers: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return numbers


if __name__ == "__main__":
    main()
