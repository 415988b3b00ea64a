"""From conversations in a file to packs on disk: speed beside the tokenizer alone, bytes per token, peak memory.

    python -m benchmarks.data_prep            20k and 200k rows of about 230 tokens
    python -m benchmarks.data_prep 20k_rows   one case
    python -m benchmarks.data_prep --quick    1/200 of the rows, one repeat, and a tokenizer of 2,000 entries

Every system reads the same file with the same tokenizer (a BPE of 30,000 entries, trained once on text like it and
kept in the temporary folder), each in a process of its own. "ours" is all of ``build_packs``: rows read,
validated and fingerprinted, tokens, targets, packs, everything written. "raw_batched" is the
tokenizer's ``encode_batch_fast`` on the texts alone, already in memory in batches of the same size; its encodings are
discarded. "raw_to_ids" also reads the ids of each encoding, as any user of them must. Imports are not timed.
"cpu_seconds" is the CPU time of all threads, which hardly depends on other work on the machine.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.output import Results, show

SYSTEMS = {
    "20k_rows": ("ours", "raw_batched", "raw_to_ids"),
    "200k_rows": ("ours", "raw_batched"),  # more than a minute each
}
CASES = {"20k_rows": 20_000, "200k_rows": 200_000}
MEAN_WORDS = 170
CAPACITY = 32_768
BATCH_CHARACTERS = 1 << 21
# Small cases are repeated, each in a new process. The case of 200k rows takes minutes, long enough to average out
# noise.
REPEATS = {"20k_rows": 3, "200k_rows": 1}


def main() -> None:
    """Run all cases, every system in its own process."""
    is_quick = "--quick" in sys.argv[1:]
    scale = 200 if is_quick else 1
    cache = Path(tempfile.gettempdir()) / ("lwexp-data-prep-quick" if is_quick else "lwexp-data-prep")
    cache.mkdir(exist_ok=True)
    if not (cache / "tokenizer" / "tokenizer_config.json").is_file():
        entries, texts = (2_000, 200) if is_quick else (30_000, 12_000)
        in_own_process("make_tokenizer", cache, str(entries), str(texts))
    results: Results = {}
    wanted = [case for case in CASES if case in sys.argv[1:]] or list(CASES)
    for case in wanted:
        rows = CASES[case]
        path = cache / f"{rows // scale}.jsonl"
        if not path.is_file():
            in_own_process("make_rows", path, str(rows // scale))
        measured: dict[str, list[dict[str, float]]] = {system: [] for system in SYSTEMS[case]}
        for _ in range(1 if is_quick else REPEATS[case]):  # in turn, so that a busy moment affects all systems
            for system in measured:
                measured[system].append(in_own_process(system, path))
        results[case] = {system: middle(numbers) for system, numbers in measured.items()}
        for numbers in results[case].values():
            numbers["share_of_raw"] = results[case]["raw_batched"]["seconds"] / numbers["seconds"]
    show("data_prep", results, ("tokenizers", "transformers", "numpy", "lwexp"))


def middle(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each number over repeats."""
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def in_own_process(system: str, path: Path, *more: str) -> dict[str, float]:
    """Run one system of this file in a new process and read the numbers it prints."""
    command = [sys.executable, "-m", "benchmarks.data_prep", "--child", system, str(path), *more]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}
    )
    numbers: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return numbers


def child(system: str, path: Path, *more: str) -> dict[str, float]:
    """What a child process does."""
    if system == "make_tokenizer":
        return make_tokenizer(path, *map(int, more))
    if system == "make_rows":
        return make_rows(path, int(more[0]))
    from lwexp.pack.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(path.parent / "tokenizer")
    if system == "ours":
        return ours(path, tokenizer)
    backend = tokenizer.backend_tokenizer
    work: dict[str, Callable[[list[str]], object]] = {
        "raw_batched": lambda texts: backend.encode_batch_fast(texts, add_special_tokens=False),
        "raw_to_ids": lambda texts: [e.ids for e in backend.encode_batch_fast(texts, add_special_tokens=False)],
    }
    seconds, cpu, tokens = 0.0, 0.0, 0
    for texts in text_batches(path):
        start, cpu_start = time.perf_counter(), time.process_time()
        done = work[system](texts)
        seconds += time.perf_counter() - start
        cpu += time.process_time() - cpu_start
        assert isinstance(done, list)
        tokens += sum(len(item) for item in done)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "tokens": float(tokens),
        "tokens_per_second": tokens / seconds,
        "peak_mib": peak_mib(),
    }


def ours(path: Path, tokenizer: object) -> dict[str, float]:
    """Build packs from the file."""
    from lwexp.config.data import PackConfig
    from lwexp.pack.build import build_packs
    from lwexp.pack.rows import ConversationRows
    from lwexp.records import Conversation, StoredRows

    config = PackConfig(max_tokens=CAPACITY, overflow="error", strategy="exact_fit", order="balanced")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        start, cpu_start = time.perf_counter(), time.process_time()
        report = build_packs(
            StoredRows(path, Conversation), ConversationRows(), tokenizer, config, Path(folder) / "packs"
        )
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
        size = sum(file.stat().st_size for file in (Path(folder) / "packs").iterdir())
    tokens = report.packed.tokens
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "tokens": float(tokens),
        "tokens_per_second": tokens / seconds,
        "peak_mib": peak_mib(),
        "bytes_per_token": size / tokens,
        "fill": report.fill,
    }


def peak_mib() -> float:
    """Peak resident memory of this process since it started its program; ``ru_maxrss`` would include its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def text_batches(path: Path) -> Iterator[list[str]]:
    """All texts of the file, in batches of the size that ``ours`` uses."""
    batch: list[str] = []
    size = 0
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            for message in json.loads(line)["messages"]:
                batch.append(message["content"])
                size += len(batch[-1])
            if size >= BATCH_CHARACTERS:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def text_maker(seed: int) -> Callable[[int], str]:
    """Words of 1 to 4 syllables, frequent ones short, by Zipf's law; sentences, paragraphs and some Chinese."""
    rng = np.random.default_rng(5)
    onsets, vowels = (
        ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "st", "tr"),
        ("a", "e", "i", "o", "u", "ea"),
    )
    syllables = [onset + vowel + tail for onset in onsets for vowel in vowels for tail in ("", "n", "r", "s")]
    words = ["".join(rng.choice(syllables, 1 + int(np.log10(rank + 1)) % 4)) for rank in range(40_000)]
    weights = 1 / np.arange(2, 40_002)
    bounds = np.cumsum(weights / weights.sum())
    draw = np.random.default_rng(seed)

    def make(count: int) -> str:
        chosen = [words[i] for i in np.minimum(np.searchsorted(bounds, draw.random(count)), 39_999)]
        ends = draw.random(count)
        marked = [
            word + (".\n\n" if end < 0.01 else ". " if end < 0.07 else ", " if end < 0.12 else " ")
            for word, end in zip(chosen, ends, strict=True)
        ]
        if draw.random() < 0.1:
            marked.append("".join(map(chr, draw.integers(0x4E00, 0x5E00, count // 8))))
        return "".join(marked).strip() or "yes"

    return make


def make_rows(path: Path, count: int) -> dict[str, float]:
    """Write conversations of one question and one answer, lengths lognormal."""
    make, rng = text_maker(7), np.random.default_rng(8)
    answers = np.clip(rng.lognormal(np.log(MEAN_WORDS) - 0.5, 1.0, count).astype(int), 5, 10_000)
    aside = path.with_suffix(".tmp")
    with aside.open("w", encoding="utf-8") as out:
        for number, words in enumerate(answers.tolist()):
            messages = [{"role": "user", "content": make(20)}, {"role": "assistant", "content": make(words)}]
            row = {
                "id": f"row-{number}",
                "source": "general",
                "language": "en",
                "messages": messages,
                "actual_words": words,
            }
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    aside.replace(path)
    return {"rows": float(count)}


def make_tokenizer(cache: Path, entries: int, texts: int) -> dict[str, float]:
    """Train the BPE on text of the same kind."""
    from lwexp.pack.tokenizer import save_tokenizer, train_tokenizer

    make = text_maker(9)
    save_tokenizer(train_tokenizer((make(300) for _ in range(texts)), entries, "llama31"), cache / "tokenizer")
    return {"vocabulary": float(entries)}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])))
    else:
        main()
