"""Rows: imports, mixtures and packing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path

Work = Callable[[int, Path], Mapping[str, float]]
_MB = 1_000_000
_WORDS = 170
"""Of an answer, on average; as in ``benchmarks.data_prep``."""


def _words() -> str:
    draw = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(20_000)]
    return " ".join(draw.choice(words) for _ in range(20_000))


def many_rows(count: int, folder: Path) -> None:
    """A file of conversations of about 1 KB, cut from one text at random."""
    text, draw = _words(), random.Random(1)
    (folder / "input").mkdir()
    with (folder / "input" / "rows.jsonl").open("w", encoding="utf-8") as out:
        for number in range(count):
            start = draw.randrange(len(text) - 20_000)
            answer = text[start : start + min(15_000, int(draw.expovariate(1 / (6 * _WORDS))) + 20)].strip()
            asked = {"role": "user", "content": f"Write about {number}: {text[start : start + 60].strip()}"}
            row = {"messages": [asked, {"role": "assistant", "content": answer}]}
            out.write(json.dumps(row) + "\n")


def one_row(megabytes: int, folder: Path) -> None:
    """One conversation whose answer has that many megabytes of English words in paragraphs."""
    words = _words().split()
    paragraphs = [" ".join(words[start : start + 80]) for start in range(0, len(words), 80)]
    _one_row(folder, "\n\n".join(paragraphs) + "\n\n", megabytes)


def one_chinese_row(megabytes: int, folder: Path) -> None:
    """The same in Chinese characters, which take three bytes each in the file and two in Python."""
    draw = random.Random(0)
    sentence = ["".join(chr(draw.randrange(0x4E00, 0x9FA5)) for _ in range(20)) + "。" for _ in range(1_000)]
    _one_row(folder, "".join(sentence), megabytes)


def _one_row(folder: Path, piece: str, megabytes: int) -> None:
    (folder / "input").mkdir()
    coded = json.dumps(piece, ensure_ascii=False)[1:-1]
    times = megabytes * _MB // len(coded.encode())
    asked = '{"messages": [{"role": "user", "content": "Write a long book."}, {"role": "assistant", "content": "'
    with (folder / "input" / "row.jsonl").open("w", encoding="utf-8") as out:
        out.write(asked)
        for _ in range(times):
            out.write(coded)
        out.write('"}]}\n')


def imported() -> Work:
    """``task=import`` of the input."""
    import pyarrow.json
    import pyarrow.parquet  # noqa: F401

    from lwexp.config import compose
    from lwexp.mix.importer import import_conversations

    def work(size: int, folder: Path) -> Mapping[str, float]:
        [file] = (folder / "input").iterdir()
        run = import_conversations(compose("task=import", f"source={file}", f"root={folder / 'runs'}"))
        assert run is not None
        assert run.is_finished
        return {}

    compose("task=import", "source=x.jsonl")
    return work


def mixed() -> Work:
    """The draw of a mixture of all rows, which training holds in memory."""
    from lwexp.config import compose
    from lwexp.mix.mixture import take
    from lwexp.mix.resolve import resolve_mixture

    def work(size: int, folder: Path) -> Mapping[str, float]:
        [file] = (folder / "input").iterdir()
        config = compose("mixture=file", f"mixture.path={file}")
        mixture = take(resolve_mixture(config), config.seed, config.objective.rows)
        assert len(mixture.rows) == size
        return {}

    compose("mixture=file", "mixture.path=x.jsonl")
    return work


def packed() -> Work:
    """Packs of 32,768 tokens, and the order of the steps of one epoch."""
    import numpy as np

    from benchmarks.packing import CAPACITY, lengths
    from lwexp.pack.batch_schedule import BatchSchedule
    from lwexp.pack.packing import pack

    def work(size: int, folder: Path) -> Mapping[str, float]:
        sizes = np.concatenate(
            [
                lengths(size // 31, mean=7_770, sigma=0.6, seed=1),
                lengths(size - size // 31, mean=900, sigma=1.0, seed=2),
            ]
        )
        sizes = np.random.default_rng(3).permutation(sizes)
        packs = pack(sizes, CAPACITY)
        squares = np.array([float((sizes[items] ** 2).sum()) for items in packs])
        steps = sum(1 for _ in BatchSchedule(len(packs), squares, seed=0, epochs=1, global_batch=8, order="balanced"))
        return {"packs": len(packs), "steps": steps, "fill": float(sizes.sum()) / (len(packs) * CAPACITY)}

    return work
