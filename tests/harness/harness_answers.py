"""A small bench, answers to it with the S_l that they have by hand, and what ``lwexp evaluate`` says of a file."""

import json
from pathlib import Path

from lwexp import api
from lwexp.records import Verdict, read_rows
from lwexp.runs.artifacts import VERDICTS

# Prompt, requested words, answer, S_l by the paper's formula. The third is over twice as long as asked:
# 100 (1 - (25/10 - 1)/3) = 50. The fourth has 10 of 40 words: 100 max(0, 1 - (40/10 - 1)/2) = 0. The fifth has 30 of
# 40: 100 (1 - (40/30 - 1)/2) = 83.33. The sixth is empty. Words within <think> do not count.
ROWS = (
    ("Write 10 words on tea.", 10, "word " * 10, 100.0),
    ("Write 10 words on rain.", 10, "<think>one two three</think>" + "word " * 5, 50.0),
    ("Write 10 words on snow.\n\nIn one paragraph.", 10, "word " * 12 + "\n\n" + "word " * 13, 50.0),
    ("Write 40 words on fog.", 40, "word " * 10, 0.0),
    ("写40字，题目是雾。", 40, "雾" * 30, 100 * (1 - (40 / 30 - 1) / 2)),
    ("Write 10 words on ice.", 10, "", 0.0),
)
UNFINISHED = ("Write 10 words on hail.", 10, "<think>Hail is")
S_L = sum(row[3] for row in ROWS) / len(ROWS)
TEXTS = {row[0]: row[2] for row in (*ROWS, UNFINISHED)}


def write_bench(path: Path) -> Path:
    rows = [{"prompt": row[0], "length": row[1]} for row in (*ROWS, UNFINISHED)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def evaluated(bench: Path, answers: Path, root: Path) -> float:
    """The mean S_l of a file of answers by ``lwexp evaluate``."""
    run = api.evaluate(
        api.compose(
            "bench=jsonl", f"bench.path={bench}", "bench.name=own", f"responses={answers}", "judge=none", f"root={root}"
        )
    )
    assert run is not None
    scores = [verdict.score for verdict in read_rows(run.path / VERDICTS, Verdict)]
    assert len(scores) == len(TEXTS)
    assert scores.count(None) == 1
    known = [score for score in scores if score is not None]
    return sum(known) / len(known)
