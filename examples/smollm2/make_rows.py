"""Rows to train SmolLM2 on: its own answers, each cut at the end of a sentence to three lengths.

    python -m examples.smollm2.make_rows runs/smollm2_data/texts-<id> examples/smollm2/rows.jsonl

A row's instruction states the length of its answer, rounded to five words, so that a model trained on short rows alone
has seen nothing but lengths that it was asked for. ``mixture.sources.texts.max_words`` then chooses the cap.
"""

import json
import random
import re
import sys
from pathlib import Path
from typing import Any

BANDS = ((15, 40), (41, 100), (101, 250))
"""Words of the three cuts of a text; a text that is too short for a band gives no row for it."""

_SENTENCE_END = re.compile(r'[.!?]["\')\u201d]*(?=\s|$)')


def main(run: Path, out: Path) -> None:
    """Write ``out`` from the answers of an evaluation run."""
    answers = [json.loads(line) for line in (run / "responses.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [row for answer in sorted(answers, key=lambda one: one["id"]) for row in cuts(answer)]
    out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{out}: {len(rows)} rows from {len(answers)} texts")


def cuts(answer: dict[str, str]) -> list[dict[str, Any]]:
    """One row per band that the text is long enough for."""
    text, draws = answer["text"].strip(), random.Random(answer["id"])
    ends = [(len(text[: end.end()].split()), text[: end.end()]) for end in _SENTENCE_END.finditer(text)]
    task = answer["prompt"].removesuffix(" Write about 300 words.")
    rows: list[dict[str, Any]] = []
    for low, high in BANDS:
        wanted = draws.randint(low, high)
        inside = [(abs(words - wanted), words, part) for words, part in ends if low <= words <= high]
        if inside and not repeats_itself(min(inside)[2]):
            _, words, part = min(inside)
            prompt = f"{task} Write about {max(5, 5 * round(words / 5))} words."
            rows.append({"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": part}]})
    return rows


def repeats_itself(text: str) -> bool:
    """Whether any eight consecutive words occur twice: small models loop, and loops must not be trained on."""
    words = text.split()
    grams = [tuple(words[start : start + 8]) for start in range(len(words) - 7)]
    return len(set(grams)) < len(grams)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
