"""The real worker around an engine without torch, which does what each prompt says. Takes half a second to start.

words            is answered with the same words
die <path>       the process kills itself, unless the file exists; it makes the file first
die              the process kills itself every time
meet <folder>    is answered once two processes have come to the folder
crash            the process crashes after all its work
raise            an unexpected exception
refuse           an error for the user
wait             no answer ever comes
"""

import atexit
import os
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lwexp.records import LwexpError
from lwexp.sample.local.worker import main
from lwexp.sample.requests import SampleRequest, SampleResult


class Engine:
    def __init__(self, folder: Path, chat: object = None) -> None:
        if folder.name == "crash":
            os.write(2, b"a library has crashed\n")  # in one call, because both workers write to one file
            os._exit(3)

    def slots(self, requests: Sequence[SampleRequest], sample: Any, *, sharing: int) -> int:
        return int(sample.batch_size)

    def answers_taken(
        self, take: Callable[[int], Sequence[SampleRequest]], sample: Any, *, written: Callable[[int], None]
    ) -> Iterator[SampleResult]:
        while given := take(sample.batch_size):
            for request in given:
                text = request.prompt.text
                act(text)
                written(1)
                yield SampleResult(request.id, f"{text} {os.getpid()}", "stop", num_tokens=1)


def act(text: str) -> None:
    word, _, path = text.partition(" ")
    if word == "die" and not (path and Path(path).exists()):
        if path:
            Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "meet":
        (Path(path) / str(os.getpid())).touch()
        while len(list(Path(path).iterdir())) < 2:
            time.sleep(0.01)
    if word == "crash":
        atexit.register(os.abort)
    if word == "raise":
        raise ValueError("a bug\nof two lines")
    if word == "refuse":
        raise LwexpError("set something else")
    if word == "wait":
        time.sleep(1000)


if __name__ == "__main__":
    sys.modules["lwexp.sample.engine"] = types.ModuleType("lwexp.sample.engine")
    sys.modules["lwexp.sample.engine"].TransformersEngine = Engine  # type: ignore[attr-defined]
    main(Connection(int(sys.argv[1])))
