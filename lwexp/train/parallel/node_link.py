"""Notices a node that has lost its power or its network, which a collective would wait for until its time-out.

Each other node holds a TCP connection to the node of rank 0. The kernels of both ends probe it, so a busy or stopped
process is no false alarm, and a node that does not answer for 80 seconds ends the ranks that wait for it.
"""

import errno
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

_PROBES = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}
"""Seconds of silence before the first probe, seconds between probes, and unanswered probes until the node is lost."""
_CONNECT_SECONDS = 30.0
_LOST = {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH}
"""What the kernel says of a host that does not answer. The end of a process there is another error, or none."""


class NodeLink:
    """The connections between the node of rank 0 and the others.

    Args:
        on_loss: Called in a thread of its own with a line that names the lost node.
    """

    def __init__(self, on_loss: Callable[[str], None]) -> None:
        self._on_loss = on_loss
        self._open: list[socket.socket] = []

    def listen(self, nodes: int) -> int:
        """On rank 0: accept a connection of each other node. Returns the port.

        Args:
            nodes: Nodes of the run, this one included.
        """
        server = socket.create_server(("", 0), backlog=nodes)
        self._open.append(server)
        _in_background(lambda: self._accept(server, nodes - 1))
        port: int = server.getsockname()[1]
        return port

    def connect(self, host: str, port: int) -> None:
        """On each other node: connect to rank 0. Without a connection, training goes on and the node is not watched."""
        try:
            connection = socket.create_connection((host, port), timeout=_CONNECT_SECONDS)
        except OSError as error:
            log.warning(
                "this node is not watched: no connection to %s, port %d (%s); if it loses its power, the others wait "
                "for hardware.timeout_minutes", host, port, error.strerror or error,
            )  # fmt: skip
            return
        connection.sendall(socket.gethostname().encode())
        self._watch(connection, host)

    def close(self) -> None:
        """Stop watching."""
        for connection in self._open:
            connection.close()

    def _accept(self, server: socket.socket, count: int) -> None:
        for _ in range(count):
            try:
                connection, (host, *_) = server.accept()
            except OSError:  # closed
                return
            connection.settimeout(_CONNECT_SECONDS)
            try:
                name = connection.recv(256).decode()
            except OSError:
                continue
            self._watch(connection, name or host)

    def _watch(self, connection: socket.socket, name: str) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _PROBES.items():
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._open.append(connection)
        _in_background(lambda: self._wait_for_its_end(connection, name))

    def _wait_for_its_end(self, connection: socket.socket, name: str) -> None:
        try:
            connection.recv(1)  # returns when the process at the other end has ended, which other errors report
        except OSError as error:
            if error.errno in _LOST:
                self._on_loss(
                    f"{name} does not answer any more ({error.strerror}): it has lost its power or its network; "
                    f"run the same command again to go on"
                )


def link_nodes(store: Any) -> NodeLink | None:
    """Connect the nodes of this run, or return None if it has one node or this is not the first rank of its node.

    Args:
        store: The key-value store of the ranks.
    """
    world, here = int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    if world <= here or int(os.environ["LOCAL_RANK"]) != 0:
        return None
    link = NodeLink(_end_this_process)
    if int(os.environ["RANK"]) == 0:
        store.set("node_link", str(link.listen(world // here)))
    else:
        link.connect(os.environ["MASTER_ADDR"], int(store.get("node_link")))
    return link


def _end_this_process(line: str) -> None:
    """End at once: the main thread waits in a collective, which nothing can interrupt. The run's files are complete."""
    print(f"error: {line}", file=sys.stderr, flush=True)
    os._exit(1)


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()
