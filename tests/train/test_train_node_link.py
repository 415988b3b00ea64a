"""The connections that notice a node without power. A real power-off is a case of ``make cluster-test``."""

from __future__ import annotations

import errno
import os
import socket
import threading
from typing import Any

import pytest
from torch.distributed.elastic.multiprocessing import errors

from lwexp.train.parallel import node_link, torchrun
from lwexp.train.parallel.node_link import NodeLink, link_nodes


class Connection(socket.socket):
    """A connection whose other end ends as it is told: with an error, or closed (None)."""

    def __init__(self, number: int | None) -> None:
        super().__init__()
        self.number = number

    def recv(self, *_: int) -> bytes:
        if self.number is None:
            return b""
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EHOSTUNREACH])
def test_a_node_that_does_not_answer_is_lost(number: int) -> None:
    lost: list[str] = []
    with Connection(number) as connection:
        NodeLink(lost.append)._wait_for_its_end(connection, "node2")
    (line,) = lost
    assert line.startswith(f"node2 does not answer any more ({os.strerror(number)}): it has lost its power")


@pytest.mark.parametrize("number", [errno.ECONNRESET, errno.EBADF, None])
def test_a_process_that_has_ended_is_no_lost_node(number: int | None) -> None:
    """Negative control: killed, closed at this end, and ended."""
    lost: list[str] = []
    with Connection(number) as connection:
        NodeLink(lost.append)._wait_for_its_end(connection, "node2")
    assert not lost


def test_the_kernel_probes_both_ends_and_gives_a_node_up_within_two_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []
    both = threading.Event()
    watch = NodeLink._watch

    def seen(link: NodeLink, connection: socket.socket, name: str) -> None:
        watch(link, connection, name)
        made.append(connection)
        if len(made) == 2:
            both.set()

    monkeypatch.setattr(NodeLink, "_watch", seen)
    first, second = NodeLink(pytest.fail), NodeLink(pytest.fail)
    second.connect("127.0.0.1", first.listen(nodes=2))
    assert both.wait(10)
    for connection in made:
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, between, count = (
            connection.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + between * count <= 120
    second.close()
    first.close()


def test_a_node_that_cannot_connect_trains_unwatched(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    NodeLink(pytest.fail).connect("127.0.0.1", port)
    assert f"this node is not watched: no connection to 127.0.0.1, port {port}" in caplog.text


@pytest.mark.parametrize(("world", "here", "local"), [("8", "8", "0"), ("16", "8", "3")])
def test_one_node_and_later_ranks_of_a_node_have_no_link(
    monkeypatch: pytest.MonkeyPatch, world: str, here: str, local: str
) -> None:
    for name, value in (("WORLD_SIZE", world), ("LOCAL_WORLD_SIZE", here), ("LOCAL_RANK", local), ("RANK", local)):
        monkeypatch.setenv(name, value)
    assert link_nodes(None) is None


def test_the_probes_are_those_of_the_page() -> None:
    """docs/training.md says that a node is given up after 80 seconds."""
    probes = node_link._PROBES
    assert probes["TCP_KEEPIDLE"] + probes["TCP_KEEPINTVL"] * probes["TCP_KEEPCNT"] == 80


def failure(rank: int, code: int, at: int) -> errors.ProcessFailure:
    return errors.ProcessFailure(local_rank=rank, pid=1, exitcode=code, error_file=f"none-{at}")


@pytest.mark.parametrize(
    ("code", "ends", "said"), [(2, 2, ""), (143, 143, ""), (-9, 1, "error: rank 1 was killed by SIGKILL\n")]
)
def test_torchrun_ends_with_the_code_of_its_first_failed_rank_and_without_pages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int, ends: int, said: str
) -> None:
    def fail(_: Any) -> None:
        raise errors.ChildFailedError("train.py", {1: failure(1, code, 1)})

    monkeypatch.setattr("torch.distributed.run.run", fail)
    monkeypatch.setattr("sys.argv", ["torchrun", "--nproc_per_node=2", "train.py"])
    assert torchrun.main() == ends
    assert capsys.readouterr().err == said
