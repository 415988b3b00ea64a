"""What sampling workers gain: the same seeded answers with one worker and with two, in turn."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.sampling.task import Task

_NAMES = {1: "ours", 2: "two_workers"}
_UNSEEN_SECONDS = 0.5  # workers report tokens this often, so their first token is up to this much earlier than seen


@dataclass
class _Round:
    answers: dict[str, str]
    whole: float
    sampling: float


def compare(task: Task) -> dict[str, Any]:
    """Both numbers of workers in each round, because the speed of a machine changes within minutes."""
    rounds: dict[int, list[_Round]] = {number: [] for number in _NAMES}
    _answered(task, 1, few=True)  # imports, and the first calls of each kernel
    for _ in range(task.rounds):
        for number, done in rounds.items():
            done.append(_answered(task, number))
    wanted = rounds[1][0].answers
    one = statistics.median(each.sampling for each in rounds[1])
    return {
        "systems": {
            _NAMES[number]: {
                "sampling_s": (sampling := statistics.median(each.sampling for each in done)),
                "over_one": sampling / one,
                "whole_s": statistics.median(each.whole for each in done),
                "equal": min(sum(text == wanted[id] for id, text in each.answers.items()) for each in done),
                "answers": len(wanted),
            }
            for number, done in rounds.items()
        }
    }


def _answered(task: Task, workers: int, *, few: bool = False) -> _Round:
    """All answers through the path that ``evaluate`` and ``task=pairs`` take."""
    from lwexp.sample.collect import repeat_seed
    from lwexp.sample.local.answering import answer_here
    from lwexp.sample.requests import SampleRequest

    prompts = task.prompts()
    requests = [
        SampleRequest(f"{prompt.id}|{repeat}", prompt, repeat_seed(0, repeat))
        for prompt in (prompts[:2] if few else prompts)
        for repeat in range(1 if few else task.repeats)
    ]
    found: dict[str, str] = {}
    first: list[float] = []

    def written(tokens: int) -> None:
        if tokens and not first:
            first.append(time.perf_counter())

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        answer_here(
            requests, task.model, task.sampling(temperature=1.0, batch_size=192), chat=None, workers=workers,
            folder=Path(folder), keep=lambda answer: found.update({answer.id: answer.text}), written=written,
        )  # fmt: skip
    ended = time.perf_counter()
    if not first:  # so few tokens that no worker has reported any
        return _Round(found, ended - began, ended - began)
    return _Round(found, ended - began, ended - first[0] + (_UNSEEN_SECONDS if workers > 1 else 0))
