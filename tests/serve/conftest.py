"""A tiny model behind the server's real HTTP, in a thread of the test's process."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from aiohttp import web

from lwexp.sample.engine import TransformersEngine
from lwexp.serve.live_decoder import LiveDecoder
from lwexp.serve.server import Server
from tests.sample.conftest import glm_folder, llama_folder  # noqa: F401  # fixtures


class Served(NamedTuple):
    url: str
    engine: TransformersEngine
    decoder: LiveDecoder


@pytest.fixture(scope="module")
def served(llama_folder: Path) -> Iterator[Served]:  # noqa: F811
    torch.set_num_threads(1)  # two threads wait for each other on a busy machine
    engine = TransformersEngine(llama_folder)
    loop = asyncio.new_event_loop()
    ports: list[int] = []

    async def start(decoder: LiveDecoder) -> web.AppRunner:
        runner = web.AppRunner(Server(engine, decoder, "tiny").app(), handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ports.append(runner.addresses[0][1])
        return runner

    with LiveDecoder(engine, 8) as decoder:
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        runner = asyncio.run_coroutine_threadsafe(start(decoder), loop).result(30)
        yield Served(f"http://127.0.0.1:{ports[0]}", engine, decoder)
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
    loop.close()
