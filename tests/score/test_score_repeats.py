"""Canned replies through HTTP, repeated judgements, judged segments, and the published cells."""

import json
from pathlib import Path

import pytest

from lwexp.records import Judgement, LwexpError, PublishedCell, Verdict, published_cells, read_rows
from lwexp.score.checks import check_texts
from lwexp.score.verdicts import score_responses
from tests.score.scripted_judge import Judge, response
from tests.score.test_score_quality import NAMES, READABLE, UNREADABLE
from tests.score.test_score_reply_shapes import HARMLESS, NOT_SCORES


def test_a_hundred_canned_replies_become_verdicts_or_are_counted_unscored(
    judge: Judge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each reply is given twice, to the question and to the second one. 5 4 3 2 1 3 has the mean 3: S_q 50."""
    caplog.set_level("INFO")
    good = [*READABLE.values(), *HARMLESS.values()]
    bad = [reply for reply in [*UNREADABLE.values(), *NOT_SCORES.values()] if reply.strip()]  # blank: the client's
    # Good and bad ones are mixed evenly, because ten bad ones in a row would stop the run.
    mixed = sorted((place / len(kind), kind is good, reply) for kind in (good, bad) for place, reply in enumerate(kind))
    replies = [reply for _, _, reply in mixed]
    assert len(replies) >= 100
    judge.say = lambda messages: replies[int(messages[0]["content"].split("Answer number ")[1].split(".")[0])]
    rows = [response(f"p{n}#0", text=f"Answer number {n}.") for n in range(len(replies))]
    verdicts = score_responses(rows, judge.config(), seed=0, out_dir=tmp_path)
    scores = [verdict.score for verdict in verdicts if verdict.kind == "quality"]
    assert scores == [50.0 if is_good else None for _, is_good, _ in mixed]
    found = json.loads((tmp_path / "judge.json").read_text())
    unfinished = 2  # a think block and a harmony channel that never end
    unscored = {"unreadable": len(bad) - unfinished, "unfinished_reasoning": unfinished}
    assert (found["answers"], found["scored"], found["unscored"]) == (len(replies), len(good), unscored)
    lost = f"{unfinished} unfinished reasoning + {len(bad) - unfinished} unreadable"
    assert f"{len(replies)} in = {len(good)} kept + {lost}" in caplog.text


def test_repeats_are_kept_averaged_and_compared(judge: Judge, tmp_path: Path) -> None:
    """Answer 0 gets 3 and 5 in every dimension, answer 1 gets 1 twice: S_q 75 and 0, differences 50 and 0."""
    given: dict[str, list[int]] = {"0": [3, 5], "1": [1, 1]}
    judge.say = lambda messages: json.dumps(
        dict.fromkeys(NAMES, given[messages[0]["content"].split("Answer number ")[1][0]].pop(0))
    )
    rows = [response(f"p{n}#0", text=f"Answer number {n}.") for n in range(2)] + [response("p2#0", text="", words=0)]
    verdicts = score_responses(rows, judge.config(concurrency=1, repeats=2), seed=0, out_dir=tmp_path)
    assert [verdict.score for verdict in verdicts if verdict.kind == "quality"] == [75, 0, 0]
    assert [row.score for row in read_rows(tmp_path / "judgements.jsonl", Judgement)] == [50, 100, 0, 0, 0, 0]
    found = json.loads((tmp_path / "judge.json").read_text())
    # The empty answer, which no judge saw, takes no part: it would count as agreement.
    assert (found["compared"], found["mean_absolute_difference"]) == (2, 25)
    # Values 50 100 | 0 0: observed 2*2500/1/4; expected over 12 ordered pairs: 2*(2500+2500+2500+10000+10000)/12.
    assert found["alpha"]["S_q"] == pytest.approx(1 - 1250 / (55000 / 12))
    assert list(read_rows(tmp_path / "verdicts.jsonl", Verdict)) == verdicts


def test_segments_are_judged_as_parts(judge: Judge, tmp_path: Path) -> None:
    """Four paragraphs of 50 words in two parts; the second is worse."""
    text = "\n\n".join(" ".join(f"w{n}x{k}" for k in range(50)) for n in range(4))
    score = {"part 1 of 2": 5, "part 2 of 2": 2}

    def say(messages: list[dict[str, str]]) -> str:
        content = messages[0]["content"]
        return json.dumps(dict.fromkeys(NAMES, next(value for key, value in score.items() if key in content)))

    judge.say = say
    _, rows = check_texts([response(text=text)], judge.config(segments=True), parts=2, seed=0, out_dir=tmp_path)
    assert [(row.segment, row.segments, row.words, row.quality) for row in rows] == [(0, 2, 100, 100), (1, 2, 100, 25)]
    assert [row.repeated for row in rows] == [0, 0]
    _, plain = check_texts([response(text=text)], judge.config(), parts=2, seed=0, out_dir=tmp_path)
    assert [row.quality for row in plain] == [None, None]
    assert len(judge.seen) == 2


def test_published_cells_name_their_source_and_leave_unknown_ones_empty() -> None:
    cells = published_cells()
    paper = {cell.metric: cell.value for cell in cells if cell.model == "LongWriter-9B" and cell.range is None}
    assert (paper["S_bar"], paper["S_l"], paper["S_q"]) == (80.5, 78.6, 82.3)
    assert any(cell.value is None for cell in cells)
    assert all(cell.source and cell.setup for cell in cells)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"value": 101}, "off the scale"), ({"judge": "gpt-4o"}, "a judge belongs to S_q"), ({"source": " "}, "source")],
)
def test_a_published_cell_without_sense_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    row = {
        "model": "m", "bench": "longbench_write", "range": None, "metric": "S_l", "value": 50.0, "judge": None,
        "source": "paper", "setup": "theirs", "is_second_hand": False,
    }  # fmt: skip
    path = tmp_path / "cells.jsonl"
    path.write_text(json.dumps(row))
    assert published_cells(path) == [PublishedCell.model_validate(row)]
    path.write_text(json.dumps(row | changes))
    with pytest.raises(LwexpError, match=said):
        published_cells(path)
    path.write_text(json.dumps(row) + "\n" + json.dumps(row))
    with pytest.raises(LwexpError, match="is repeated"):
        published_cells(path)
