"""A constructed model on a file shaped as LongBench-Write, end to end: S_l by hand, counted failures, no torch."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lwexp.config import compose
from lwexp.config.folders import REPOSITORY
from lwexp.recipe.lineage import require_keys
from lwexp.records import AnswerCheck, LwexpError, SegmentCheck, Verdict, read_rows

# Answers of known length: words produced for words required, and the score that the formula gives by hand.
KINDS = {
    "exact": (lambda words: words, 100.0),
    "half": (lambda words: words // 2, 50.0),  # 1 - (2 - 1)/2
    "double": (lambda words: 2 * words, 200 / 3),  # 1 - (2 - 1)/3
    "four times": (lambda words: 4 * words, 0.0),
    "third": (lambda words: words // 3, 0.0),
    "empty": (lambda words: 0, 0.0),
}
LENGTHS = {"[0,500)": 300, "[500,2000)": 600, "[2000,4000)": 3000, "[4000,20000]": 6000}


def write_bench(folder: Path) -> list[dict[str, Any]]:
    """Four ranges x two languages x six kinds; prompts name the kind, and every second is in the English file."""
    rows: list[dict[str, Any]] = [
        {"prompt": f"{kind} {language} {words}", "type": kind, "length": words}
        for words in LENGTHS.values()
        for language in ("en", "zh")
        for kind in KINDS
    ]
    as_lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "longbench_write.jsonl").write_text("".join(as_lines))
    english = [line for line, row in zip(as_lines, rows, strict=True) if " en " in row["prompt"]]
    (folder / "longbench_write_en.jsonl").write_text("".join(english))
    return rows


def text_of(language: str, words: int) -> str:
    return " ".join(["tea"] * words) if language == "en" else "茶" * words


def answers(rows: list[dict[str, Any]], swap: bool = False) -> str:
    """With ``swap`` in the other language, which counts the same."""
    made = []
    for row in rows:
        kind, language, _ = row["prompt"].rsplit(" ", 2)
        language = {"en": "zh", "zh": "en"}[language] if swap else language
        made.append(row | {"response": text_of(language, KINDS[kind][0](row["length"]))})
    return "".join(json.dumps(row) + "\n" for row in reversed(made))


def evaluate(folder: Path, *overrides: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    command = [
        sys.executable, "evaluate.py", "bench=longbench_write", f"bench.path={folder}", "bench.sha256=null",
        f"responses={folder / 'pred.jsonl'}", "judge=none", f"root={folder / 'runs'}", *overrides,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    made = sorted((folder / "runs").glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
    return done, made[-1].parent if made else folder


@pytest.mark.parametrize("swap", [False, True])
def test_a_constructed_model_scores_as_by_hand(tmp_path: Path, swap: bool) -> None:
    rows = write_bench(tmp_path)
    (tmp_path / "pred.jsonl").write_text(answers(rows, swap))
    done, run = evaluate(tmp_path)
    assert done.returncode == 0, done.stderr
    by_id = {verdict.response_id: verdict.score for verdict in read_rows(run / "verdicts.jsonl", Verdict)}
    assert list(by_id) == [f"longbench_write-{n}#0" for n in range(1, 49)]
    for (id, score), row in zip(by_id.items(), rows, strict=True):
        assert score == pytest.approx(KINDS[row["type"]][1]), id
    # Every range has each kind once in either language: (100 + 50 + 66.67 + 0 + 0 + 0) / 6 = 36.11.
    with (run / "report.csv").open(encoding="utf-8-sig") as file:
        table = {line["part"]: line for line in csv.DictReader(file)}
    for part in ("all", *LENGTHS, "en", "zh"):
        assert float(table[part]["S_l"]) == pytest.approx(36.1111, abs=1e-3)
    assert [int(table[part]["answers"]) for part in ("all", *LENGTHS)] == [48, 12, 12, 12, 12]
    checks = {row.response_id: row for row in read_rows(run / "checks.jsonl", AnswerCheck)}
    early = [row["type"] for id, row in zip(by_id, rows, strict=True) if checks[id].stopped_early]
    assert set(early) == {"third", "empty"}
    assert {row.response_id for row in read_rows(run / "positions.jsonl", SegmentCheck)} <= set(by_id)


HEAVY = [
    "torch", "transformers", "lightning", "litellm", "scipy", "pandas", "pyarrow", "datasets", "wandb", "asyncio",
    "ssl", "matplotlib.pyplot", "inspect_ai",
]  # fmt: skip


def heavy_imports(folder: Path, *overrides: str) -> list[str]:
    """Which of ``HEAVY`` the process has loaded that scores a file and writes its report."""
    (folder / "pred.jsonl").write_text(answers(write_bench(folder)))
    code = (
        "import sys, runpy\nsys.argv = ['evaluate.py', *sys.argv[1:]]\nsys.path.insert(0, '.')\n"
        "try: runpy.run_path('evaluate.py', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        f"print(*[name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "bench=longbench_write", f"bench.path={folder}", "bench.sha256=null",
         f"responses={folder / 'pred.jsonl'}", "judge=none", f"root={folder / 'runs'}", *overrides],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


def test_scoring_a_file_imports_no_heavy_package(tmp_path: Path) -> None:
    assert heavy_imports(tmp_path) == []


def test_a_heavy_package_would_be_seen(tmp_path: Path) -> None:
    """A plugin that imports two of them stands for code that does so needlessly."""
    (tmp_path / "needless.py").write_text("import asyncio\nimport matplotlib.pyplot\n")
    assert heavy_imports(tmp_path, f"plugins=[{tmp_path / 'needless.py'}]") == ["asyncio", "ssl", "matplotlib.pyplot"]


def test_a_selection_answers_for_itself_and_against_needs_the_same_bench(tmp_path: Path) -> None:
    rows = write_bench(tmp_path)
    (tmp_path / "pred.jsonl").write_text(answers([row for row in rows if 2000 <= row["length"] < 4000]))
    done, run = evaluate(tmp_path, "bench.range=[2000,4000)")
    assert done.returncode == 0, done.stderr
    assert sum(1 for _ in read_rows(run / "verdicts.jsonl", Verdict)) == 12
    again, same = evaluate(tmp_path, "bench.range=[2000,4000)", f"baseline_run={run}")
    assert again.returncode == 0, again.stderr
    found = json.loads((same / "regression.json").read_text())
    assert found["ranges"]["all"]["S_l"]["difference"] == 0
    assert "S_q" not in found["ranges"]["all"]
    wrong, _ = evaluate(tmp_path, "bench.range=[2000,4000)", "bench.language=en", f"baseline_run={run}")
    assert wrong.returncode == 2
    assert "choose the same bench=" in wrong.stderr or "prompts that this bench does not have" in wrong.stderr


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        (["judge=gpt4o"], "judge: openai/gpt-4o"),
        (["engine=litellm", "engine.model=openai/gpt-4o", "engine.api_key_env=OPENAI_API_KEY"], "openai/gpt-4o"),
    ],
)
def test_a_missing_key_is_found_before_anything_is_sampled(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], wanted: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(LwexpError, match=f"{wanted}.* needs its key in the environment variable OPENAI_API_KEY"):
        require_keys(compose("experiment=smoke", *overrides))
    monkeypatch.setenv("OPENAI_API_KEY", "x" * 20)
    require_keys(compose("experiment=smoke", *overrides))
