"""Instructions for the teacher: made from topics and lengths, or read from a file."""

import hashlib
import logging
import random
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from lwexp.config.data import InstructionFile, SelectedInstructions, SyntheticInstructions
from lwexp.extend.columns import MAX_WORDS
from lwexp.llm.offline.grammar import TOPICS, instruction_text
from lwexp.records import Instruction, LwexpError, first_problem, read_json_lines
from lwexp.runs import Run, find_run
from lwexp.runs.artifacts import INSTRUCTIONS
from lwexp.text.encodable import Replaced, encodable_json
from lwexp.text.stated_lengths import stated_words
from lwexp.text.words import LANGUAGES, language_of

log = logging.getLogger(__name__)

_TEXT_KEYS = ("text", "prompt", "instruction")
_LENGTH_KEYS = ("required_words", "length")


class Loaded(NamedTuple):
    """The instructions of a run, with the file that they came from and the run that wrote it, if any."""

    rows: list[Instruction]
    file: Path | None
    run: Run | None


def find_instructions(
    config: SyntheticInstructions | InstructionFile | SelectedInstructions, *, seed: int, root: Path
) -> Loaded:
    """The instructions of a run, in the order of its outputs; a selection is looked for under ``root``.

    Raises:
        LwexpError: If the file or the selection is missing or holds no usable row.
    """
    if isinstance(config, SelectedInstructions):
        run = find_run(
            config.run, root=root, stages=("select",), key="generate.instructions.run",
            make_it="python generate_data.py task=select source=<file, folder or hub id>",
        )  # fmt: skip
        selected = run.path / INSTRUCTIONS
        return Loaded(read_instructions(selected, count=config.count), selected, run)
    file = Path(config.path) if isinstance(config, InstructionFile) else None
    return Loaded(load_instructions(config, seed=seed), file, None)


def load_instructions(config: SyntheticInstructions | InstructionFile, *, seed: int) -> list[Instruction]:
    """Instructions made from topics, or read from the user's file."""
    if isinstance(config, SyntheticInstructions):
        return make_instructions(config.count, config.required_words, seed=seed)
    return read_instructions(Path(config.path), count=config.count)


def make_instructions(count: int, required_words: tuple[int, ...], *, seed: int) -> list[Instruction]:
    """Topics x lengths x languages, as evenly as ``count`` allows.

    Row i does not depend on ``count``: a larger run begins with the rows of a smaller one, so it reuses their answers
    in the ledger.
    """
    cells = [(words, language) for words in required_words for language in LANGUAGES]
    # A sample of all topics is a shuffle.
    topics = {cell: random.Random(f"{seed}|{cell}").sample(TOPICS[cell[1]], len(TOPICS[cell[1]])) for cell in cells}
    rows = []
    for i in range(count):
        words, language = cell = cells[i % len(cells)]
        turn = i // len(cells)
        text = instruction_text(
            topic=topics[cell][turn % len(topics[cell])],
            words=words,
            language=language,
            seed=stable_seed(seed, str(turn)),
        )
        name = f"synthetic-{language}-{words:05d}-{turn:04d}"
        rows.append(Instruction(id=name, text=text, language=language, source="synthetic", required_words=words))
    return rows


def read_instructions(path: Path, *, count: int | None) -> list[Instruction]:
    """Rows of a JSONL file: ``Instruction`` rows, or objects with a text and optionally a length.

    If a row gives no length, the length that its text states is used.

    Raises:
        LwexpError: At the first line that is neither, at the first repeated id, or if there is no row.
    """
    if not path.is_file():
        raise LwexpError(f"generate.instructions.path: {path} does not exist; give a JSONL file of instructions")
    rows: list[Instruction] = []
    seen: dict[str, int] = {}
    unstorable = Replaced()
    for number, raw in islice(read_json_lines(path), count):
        value, replaced = encodable_json(raw)
        unstorable.count(replaced, "rows")
        row = _instruction(value, path, number)
        if row.id in seen:
            raise LwexpError(f"{path} line {number}: id {row.id!r} is already in line {seen[row.id]}; make it unique")
        seen[row.id] = number
        rows.append(row)
    if not rows:
        raise LwexpError(f"{path} holds no instructions; wanted one JSON object on each line, with a text")
    if unstorable:
        log.warning("%s: %s", path, unstorable)
    return rows


def stable_seed(seed: int, name: str) -> int:
    """31 bits from the run's seed and a name, the same on every machine; providers take no wider seeds."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big") >> 1


def seed_of(seed: int, instruction: Instruction) -> int:
    """The seed of an instruction's calls: from its id, or from its position in the file if the row has no id.

    So a copy of the file under another name causes no new paid calls.
    """
    place = instruction.id.removeprefix(f"{instruction.source}-")
    is_own = place == instruction.id or not place.isdigit()
    return stable_seed(seed, instruction.id if is_own else place)


def _instruction(row: Any, path: Path, number: int) -> Instruction:
    where = f"{path} line {number}"
    text_key = next((key for key in _TEXT_KEYS if isinstance(row, dict) and isinstance(row.get(key), str)), None)
    if text_key is None or not row[text_key].strip():
        raise LwexpError(f"{where}: wanted an object with a text under one of {', '.join(_TEXT_KEYS)}")
    text: str = row[text_key].strip()
    words = next((row[key] for key in _LENGTH_KEYS if row.get(key) is not None), stated_words(text))
    if isinstance(words, int | float) and words > MAX_WORDS:
        raise LwexpError(f"{where}: required_words: wanted at most {MAX_WORDS:,}")
    try:
        return Instruction(
            id=str(row.get("id", f"{path.stem}-{number:06d}")),
            text=text,
            language=row.get("language") or language_of(text),
            source=str(row.get("source", path.stem)),
            required_words=words,
        )
    except ValidationError as error:
        raise LwexpError(f"{where}: {first_problem(error)}") from None
