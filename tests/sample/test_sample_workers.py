"""Several workers give what one process gives, whatever happens to them; most tests use tests/sample/fake_worker.py."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from lwexp.config import compose
from lwexp.records import LwexpError, Preempted, Prompt, Response, read_rows
from lwexp.sample.collect import collect
from lwexp.sample.local.messages import Setup
from lwexp.sample.local.pool import Pool
from lwexp.sample.local.process import Place, Worker, places
from lwexp.sample.local.progress import AnswerProgress
from lwexp.sample.local.worker import main
from lwexp.sample.requests import SampleRequest, SampleResult

SAMPLE = compose().sample.model_copy(
    update={"temperature": 1.0, "max_new_tokens": 40, "repeats": 2, "batch_size": 3, "top_p": 0.9}
)


def requests(*texts: str) -> list[SampleRequest]:
    return [
        SampleRequest(f"{n}#0", Prompt(id=f"{n}", text=text, language="en", type="t", required_words=100 - n), seed=0)
        for n, text in enumerate(texts)
    ]


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Pool]:
    monkeypatch.setattr("lwexp.sample.local.process.MODULE", "tests.sample.fake_worker")

    def make(*texts: str, workers: int = 2, model: str = "model") -> Pool:
        asked = requests(*texts)
        # As many slots as a worker has requests of its own, or the first to start would take from the other at once.
        sample = SAMPLE.model_copy(update={"batch_size": min(2, -(-len(asked) // workers))})
        setup = Setup(Path(model), None, sample, (asked[0],), 1)
        return Pool(asked, [Place(None, 1)] * workers, [], setup, tmp_path / "workers.log")

    return make


def nothing(tokens: int) -> None:
    """Ignore tokens."""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Forked:
    """A worker as ``subprocess.Popen`` starts it, forked here to save its imports."""

    def __init__(self, command: list[str], **_: Any) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                main(Connection(int(command[-1])))
            finally:
                os._exit(0)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_two_workers_write_the_file_of_one(
    glm_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real model, seeded sampling; a worker decodes other batches than one process does."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("lwexp.sample.local.process.subprocess.Popen", Forked)
    prompts = [
        Prompt(id=f"p{n}", text=text, language="en", type="t", required_words=10 * (n + 1))
        for n, text in enumerate(["Write about tea", "Hello rivers", "Old maps there", "请写一篇", "tea and rivers"])
    ]
    files = [tmp_path / f"{workers}" / "responses.jsonl" for workers in (1, 2)]
    for workers, out in enumerate(files, start=1):
        collect(prompts, model=glm_folder, model_name="m", sample=SAMPLE, seed=0, out=out, workers=workers)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len({row.text for row in read_rows(files[0], Response)}) == 10
    assert "10 answers in 2 workers on the CPU" in caplog.text
    assert not (files[1].parent / "workers.log").exists()


def test_all_workers_take_part_and_none_remains(pool: Callable[..., Pool], tmp_path: Path) -> None:
    answers: dict[str, SampleResult] = {}
    tokens: list[int] = []
    (tmp_path / "here").mkdir()
    meet = f"meet {tmp_path / 'here'}"
    pool(meet, meet, *"cdefghij").answer(lambda answer: answers.update({answer.id: answer}), tokens.append)
    assert {id: answer.text.rpartition(" ")[0] for id, answer in answers.items()} == {
        f"{n}#0": text for n, text in enumerate([meet, meet, *"cdefghij"])
    }
    pids = {int(answer.text.rpartition(" ")[2]) for answer in answers.values()}
    assert len(pids) == 2
    assert not any(is_alive(pid) for pid in pids)


def test_answers_of_a_killed_worker_are_sampled_again_in_one_line(
    pool: Callable[..., Pool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[str] = []
    pool("a", f"die {tmp_path / 'once'}", "c", "d").answer(lambda answer: answers.append(answer.id), nothing)
    assert sorted(answers) == ["0#0", "1#0", "2#0", "3#0"]
    killed = [line for line in caplog.messages if "was killed by signal 9" in line]
    assert len(killed) == 1
    assert "will be sampled again" in killed[0]


def test_a_worker_that_crashes_after_its_work_costs_nothing(
    pool: Callable[..., Pool], caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[str] = []
    pool("crash", workers=1).answer(lambda answer: answers.append(answer.id), nothing)
    assert answers == ["0#0"]
    assert "killed" not in caplog.text


def test_a_message_that_a_kill_has_torn_ends_its_worker_alone(
    pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """``Connection`` raises a plain OSError then, which is neither EOFError nor ConnectionResetError."""
    receive, torn = Connection.recv, list[str]()

    def recv(connection: Connection) -> object:
        message = receive(connection)
        if isinstance(message, SampleResult) and not torn:
            torn.append(message.id)
            os.kill(int(message.text.rpartition(" ")[2]), signal.SIGKILL)
            raise OSError("got end of file during message")
        return message

    monkeypatch.setattr(Connection, "recv", recv)
    answers: list[str] = []
    pool("a", "b").answer(lambda answer: answers.append(answer.id), nothing)
    assert sorted(answers) == ["0#0", "1#0"]
    assert "was killed by signal 9; 1 answer will be sampled again" in caplog.text


def test_a_worker_that_always_dies_is_given_up(pool: Callable[..., Pool]) -> None:
    with pytest.raises(LwexpError, match=r"killed by signal 9 3 times without an answer; .*engine\.workers"):
        pool("die", workers=1).answer(lambda answer: None, nothing)


@pytest.mark.parametrize(
    ("text", "model", "said"),
    [
        ("raise", "model", r"worker \d of 2: ValueError: a bug .*traceback: .*workers\.log"),
        ("refuse", "model", r"worker \d of 2: set something else$"),
        ("a", "crash", r"worker \d of 2: ended with exit code 3: a library has crashed$"),
    ],
)
def test_a_fault_of_a_worker_is_one_line_and_ends_the_others(
    pool: Callable[..., Pool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, model: str, said: str
) -> None:
    """The first request of the second worker waits for ever, or the error would not be what ends it."""
    made = pool(text, "wait", model=model)
    started: list[Worker] = []
    start = made._start

    def noted(number: int) -> None:
        start(number)
        started.append(made._workers[number])

    monkeypatch.setattr(made, "_start", noted)
    with pytest.raises(LwexpError, match=said) as caught:
        made.answer(lambda answer: None, nothing)
    assert "\n" not in str(caught.value)
    assert not any(is_alive(worker._process.pid) for worker in started)
    if text == "raise":
        assert "in act" in (tmp_path / "workers.log").read_text()


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Preempted)])
def test_a_signal_ends_all_workers(pool: Callable[..., Pool], number: int, kind: type[BaseException]) -> None:
    made = pool("a", "wait", "wait", "wait")
    pids: list[int] = []

    def interrupt(answer: SampleResult) -> None:
        pids.extend(worker._process.pid for worker in made._workers.values())
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()

    with pytest.raises(kind):
        made.answer(interrupt, nothing)
    assert len(pids) == 2
    assert not any(is_alive(pid) for pid in pids)


def test_workers_die_with_the_process_that_started_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lwexp.sample.local.process.MODULE", "tests.sample.fake_worker")
    pipe_out, pipe_in = os.pipe()
    child = os.fork()
    if child == 0:
        worker = Worker(Place(None, 1), tmp_path / "workers.log")
        os.write(pipe_in, str(worker._process.pid).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    pid = int(os.read(pipe_out, 20))
    deadline = time.monotonic() + 10
    while is_alive(pid) and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_requests_are_dealt_out_in_turn_and_an_idle_worker_takes_short_ones_from_others(
    pool: Callable[..., Pool],
) -> None:
    """``requests`` asks for 100, 99, 98, ... words, so ids are in order of length."""
    made = pool(*"abcdefgh")
    assert [request.id for request in made._take(0, 2)] == ["0#0", "2#0"]
    assert [request.id for request in made._take(1, 1)] == ["1#0"]
    assert [request.id for request in made._take(0, 3)] == ["4#0", "6#0", "7#0"]
    assert [request.id for request in made._take(0, 9)] == ["5#0", "3#0"]
    assert made._take(1, 9) == []


def test_devices_are_taken_in_turn_and_cores_divided() -> None:
    assert [place.device for place in places(5, ["2", "3"], 64)] == ["2", "3", "2", "3", "2"]
    assert places(2, [], 5) == [Place(None, 2)] * 2
    assert places(3, [], 2) == [Place(None, 1)] * 3


def test_the_number_of_workers_is_no_part_of_a_runs_id() -> None:
    from lwexp.runs.identity import run_id

    ids = {run_id("evaluate", compose(f"engine.workers={n}"), {}) for n in ("null", "1", "2")}
    assert len(ids) == 1


def test_progress_shows_tokens_a_second_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of 100 and 300 words. 10 s after the first token there are 500: 200 are the finished answer of 100 words,
    so the other needs 600, of which it has 300; 300 more at 50 a second take 6 s."""
    now = 0.0
    monkeypatch.setattr("lwexp.sample.local.progress.time.monotonic", lambda: now)
    two = [request._replace(prompt=request.prompt.model_copy(update={"required_words": words}))
           for request, words in zip(requests("a", "b"), (100, 300), strict=True)]  # fmt: skip
    progress = AnswerProgress(two)
    assert (str(progress), progress.share) == ("0 of 2", 0)
    now = 5.0
    progress.write(100)
    now = 15.0
    progress.write(400)
    assert str(progress) == "0 of 2, 50 tokens/s"
    progress.finish(SampleResult("0#0", "text", "stop", num_tokens=200))
    assert (str(progress), progress.share) == ("1 of 2, 50 tokens/s, 0:06 left", 0.25)
    progress.finish(SampleResult("1#0", "text", "stop", num_tokens=600))
    assert progress.share == 1


def test_progress_without_tokens_counts_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("lwexp.sample.local.progress.time.monotonic", lambda: now)
    progress = AnswerProgress(requests("a", "b", "c"))
    now = 2.0
    progress.finish(SampleResult("0#0", "text", "stop"))
    assert str(progress) == "1 of 3, 0.50/s, 0:04 left"
