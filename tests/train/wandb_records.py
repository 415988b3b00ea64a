"""Reads the contents of a W&B offline folder. W&B 0.31 has no reader in Python any more; its files are LevelDB logs."""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

_HEADER, _BLOCK, _WHOLE, _LAST = 7, 32768, 1, 4


def records(run: Path) -> list[Any]:
    """The records of the only offline folder of a run. Its last one may come after ``finish`` has returned."""
    [path] = (run / "wandb").glob("offline-run-*/*.wandb")
    for _ in range(100):
        found = []
        with contextlib.suppress(DecodeError):  # a record is still being written
            found = list(_records(path.read_bytes()))
        if found and found[-1].WhichOneof("record_type") == "exit":
            return found
        time.sleep(0.1)
    raise AssertionError(f"{path} has no end")


def _records(data: bytes) -> Iterator[Any]:
    """Blocks of 32 KiB; a record has a checksum, its length and its kind before it, and may be in several pieces."""
    from wandb.proto import wandb_internal_pb2

    place, record = _HEADER, b""
    while place + _HEADER <= len(data):
        if (left := _BLOCK - place % _BLOCK) < _HEADER:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        record += data[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (_WHOLE, _LAST):
            whole = wandb_internal_pb2.Record()
            whole.ParseFromString(record)
            yield whole
            record = b""
