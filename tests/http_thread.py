"""An HTTP server in a thread of the tests' own process."""

import threading
from socketserver import BaseServer


def start(server: BaseServer) -> None:
    """Serve until ``shutdown``, which waits for the server's next look: by default half a second, in each test."""
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
