"""A tiny model behind the server's real HTTP, in a thread of the test's process."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from aiohttp import web
from openai import OpenAI

from lwexp.sample.engine import TransformersEngine
from lwexp.serve.live_decoder import LiveDecoder
from lwexp.serve.server import Server
from tests.sample.conftest import glm_folder, llama_folder  # noqa: F401  # fixtures
from tests.serve.chat_requests import TEXTS, Served


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


@pytest.fixture(scope="module")
def client(served: Served) -> OpenAI:
    return OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def expected(llama_folder: Path) -> dict[str, str]:  # noqa: F811
    """Greedy answers of transformers' generate, which shares no code with the server's decoding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(llama_folder)
    model = AutoModelForCausalLM.from_pretrained(llama_folder, dtype=torch.float64)
    stops = tokenizer.convert_tokens_to_ids(["<|eot_id|>", "<|end_of_text|>"])
    answers = {}
    for text in TEXTS:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        out = model.generate(**ids, do_sample=False, max_new_tokens=40, eos_token_id=stops)
        answers[text] = tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    return answers
