"""Compare the answers of several evaluation runs pair by pair, in both orders, and rate them as players.

python arena.py runs/eval-a-... runs/eval-b-... runs/eval-c-... judge=gpt4o out=arena

Writes <out>/<a>-vs-<b>/ with pairwise.jsonl for every two runs, and <out>/arena.json. The same command again asks only
what no ledger under <out> holds.
"""

from __future__ import annotations

import logging
import sys
from itertools import combinations
from pathlib import Path

from lwexp.config import compose
from lwexp.extend import AskedJudge
from lwexp.records import LwexpError, PairJudgement, Response, read_rows, write_json
from lwexp.runs import Run
from lwexp.runs.artifacts import RESPONSES
from lwexp.score.pairwise import compare_pairwise, pair_scores
from lwexp.stats.bradley_terry import Game, ratings


def games(a: Run, b: Run, judge: AskedJudge, out: Path) -> list[Game]:
    """One game for each prompt and repeat that both runs answered and the judge compared in both orders."""
    folder = out / f"{a.id}-vs-{b.id}"
    folder.mkdir(parents=True, exist_ok=True)
    mine, theirs = (list(read_rows(run.path / RESPONSES, Response)) for run in (a, b))
    rows: list[PairJudgement] = compare_pairwise(mine, theirs, b.id, judge, seed=0, out_dir=folder)
    return [Game(prompt, a.id, b.id, score) for (prompt, _), score in pair_scores(rows).items()]


def main(words: list[str]) -> None:
    """Play, print the table and write arena.json."""
    options = dict(word.split("=", 1) for word in words if "=" in word)
    runs = [Run.load(Path(word)) for word in words if "=" not in word]
    if len(runs) < 2:
        raise LwexpError("arena: wanted two evaluation runs or more, such as runs/eval-a-1a2b3c4d runs/eval-b-5e6f7a8b")
    out = Path(options.pop("out", "arena"))
    judge = compose(*(f"{key}={value}" for key, value in options.items())).judge
    if not isinstance(judge, AskedJudge):
        raise LwexpError("arena: judge=none cannot compare; choose one, such as judge=gpt4o")
    played = [game for a, b in combinations(runs, 2) for game in games(a, b, judge, out)]
    if not played:
        raise LwexpError("arena: no two runs have answered the same prompt, so nothing was compared")
    table = ratings(played)
    write_json(out / "arena.json", {"judge": judge.model, "models": [rating._asdict() for rating in table]})
    for rating in table:
        low, high = rating.interval
        print(f"{rating.score:7.0f}  [{low:.0f} to {high:.0f}]  {rating.games:4d} games  {rating.model}")
    for run in runs:
        if not any(run.id == rating.model for rating in table):
            print(f"not rated: {run.id} has no answer that could be compared with another run's")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main(sys.argv[1:])
    except LwexpError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
