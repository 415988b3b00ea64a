"""Three cuts of a constructed file. All prompts ask for 100 words; S_l = 100 (1 - (y/l - 1)/3) above, and
100 (1 - (l/y - 1)/2) below.

              as written   no reasoning   no next turn   no loop
    thinks    150: 83.33   100: 100       100: 100       100: 100
    leaks     144: 85.33   144: 85.33      80: 87.5       80: 87.5
    loops     160: 80      160: 80        160: 80         80: 87.5
    mean           82.89        88.44          89.17           91.67
"""

import csv
import itertools
import json

import pytest

from lwexp.llm.endpoints.none import NoJudge
from lwexp.pages.display import quoted
from lwexp.records import Prompt, write_rows
from lwexp.report import compare
from lwexp.report.cuts import stages
from lwexp.report.load import load
from lwexp.sample.external_responses import read_responses
from lwexp.score.checks import check_texts
from lwexp.score.verdicts import score_responses
from tests.report import report_runs

LETTERS = ["".join(pair) for pair in itertools.product("abcdefghij", repeat=3)]
PASSAGE = " ".join(LETTERS[500:520])


def words(count, start=0):
    return " ".join(LETTERS[start : start + count])


ANSWERS = {
    "thinks": f"<think>{words(50, 300)}</think>\n\n{words(100)}",
    "leaks": f"{words(80)}\n[INST] Write more [/INST]\n{words(60, 600)}",  # the markers and "Write more" are 4 words
    "loops": f"{words(60)} {' '.join([PASSAGE] * 5)}",
}


@pytest.fixture
def run(tmp_path):
    prompts = [
        Prompt(id=f"b-{name}", text=f"Write {name}.", language="en", type="t", required_words=100) for name in ANSWERS
    ]
    file = tmp_path / "pred.jsonl"
    rows = [{"prompt": f"Write {name}.", "response": text} for name, text in ANSWERS.items()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = report_runs.make_run(
        tmp_path, "eval-pred-00000001", "evaluate", config={"bench": report_runs.bench(), "judge": {"kind": "none"}}
    )
    responses = read_responses(file, prompts, bench="b")
    write_rows(path / "responses.jsonl", responses)
    score_responses(responses, NoJudge(), seed=0, out_dir=path)
    check_texts(responses, NoJudge(), parts=5, seed=0, out_dir=path)
    return path


def test_each_cut_gives_the_hand_computed_lengths_and_scores(run):
    (each,) = load([run]).evaluations
    found = stages(each)
    assert [stage.name for stage in found] == [
        "as written", "without reasoning", "without next turns", "without loops",
    ]  # fmt: skip
    assert [stage.length for stage in found] == [
        pytest.approx(mean, abs=0.005) for mean in (82.89, 88.44, 89.17, 91.67)
    ]
    assert [(stage.n_cut, stage.words_cut, stage.longest) for stage in found] == [
        (0, 0, 160), (1, 50, 160), (1, 64, 160), (1, 80, 100),
    ]  # fmt: skip
    assert each.total.scores["S_l"].mean == pytest.approx(88.44, abs=0.005)  # the paper's, unchanged


def test_the_longest_answer_never_counts_a_loop_in_silence(run, tmp_path, capsys):
    compare([run], tmp_path / "report.html")
    told = " ".join(capsys.readouterr().out.split())
    note = (
        'Loops and next turns played by the model count in S_l and in the longest answer: "pred" S_l 88.4, '
        "without them 91.7, longest answer 160, without them 100."
    )
    assert note in told
    assert note in (tmp_path / "report.md").read_text().replace("\\_", "_")
    assert "160 [100 clean]" in (tmp_path / "report.md").read_text()
    page = (tmp_path / "report.html").read_text()
    assert '<p class="fine">(100 without loops and next turns)</p>' in page
    assert "Reasoning, next turns and loops" in page
    headline = quoted(load([run]).groups[0].findings.headline)
    assert "its longest answer has 160 words (100 without loops and next turns)" in headline
    with (tmp_path / "report.csv").open(encoding="utf-8-sig") as file:
        line = next(csv.DictReader(file))
    assert (line["max_words"], line["max_words_clean"], line["S_l_clean"]) == ("160", "100", "91.6667")


def test_checks_of_older_runs_say_nothing_on_cuts(run, tmp_path):
    new = ("reasoning_words", "next_turn", "words_without_next_turn", "clean_words")
    rows = [json.loads(line) for line in (run / "checks.jsonl").read_text().splitlines()]
    report_runs.write_jsonl(run / "checks.jsonl", [{key: row[key] for key in row if key not in new} for row in rows])
    (group,) = load([run]).groups
    assert (group.cuts, stages(group.evaluations[0]), group.evaluations[0].without_loops) == ("", [], "")
    compare([run], tmp_path / "report.html")
