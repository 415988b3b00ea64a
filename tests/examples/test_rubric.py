"""examples/rubric: criteria per prompt, judged with stored reasons, from outside the repository."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lwexp.records import Judgement, read_rows
from tests.score.scripted_judge import Judge

EXAMPLE = Path(__file__).parents[2] / "examples" / "rubric"


def test_each_criterion_gets_a_score_and_a_reason(tmp_path: Path) -> None:
    """8 and 5 of the first prompt's criteria: 6.5. The second prompt has one, and gets 9. Mean 7.75."""
    shutil.copytree(EXAMPLE, tmp_path / "mine")
    prompts = [json.loads(line) for line in (EXAMPLE / "prompts.jsonl").read_text().splitlines()]
    rows = [{"prompt": row["query"], "response": "The lease ends."} for row in prompts]
    (tmp_path / "mine" / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = Judge()

    def say(messages: list[dict[str, str]]) -> str:
        """Checks that all criteria are in the question, and forgets one at first."""
        text = messages[0]["content"]
        if "1. Dates" not in text:
            return json.dumps({"criteria": [{"reason": "简单", "score": 9}]})
        assert "2. Tone: Is polite and free of excuses." in text
        assert "1-5: No date, or a wrong one." in text
        both = [{"reason": "Names one date.", "score": 8}, {"reason": "Is curt.", "score": 5}]
        return json.dumps({"criteria": both[: 1 if len(messages) == 1 else 2]})

    judge.say = say
    command = [
        sys.executable, "-m", "lwexp", "evaluate", "plugins=[rubric.py]", "bench=rubric", "responses=answers.jsonl",
        "judge=server", f"judge.base_url=http://127.0.0.1:{judge.server.server_port}/v1",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path / "mine", capture_output=True, text=True)
    judge.server.shutdown()
    judge.server.server_close()
    assert done.returncode == 0, done.stderr
    assert len((EXAMPLE / "rubric.py").read_text().splitlines()) <= 110
    (run,) = (tmp_path / "mine" / "runs").iterdir()
    first, second = read_rows(run / "judgements.jsonl", Judgement)
    assert (first.score, first.dimensions) == (6.5, {"criterion_1": 8, "criterion_2": 5})
    assert first.reasons == {"criterion_1": "Dates: Names one date.", "criterion_2": "Tone: Is curt."}
    assert second.reasons == {"criterion_1": "易懂: 简单"}
    (model,) = json.loads((run / "summary.json").read_text())["models"].values()
    assert model["rubric"] == pytest.approx(7.75)
    assert any("it has 1 entries, wanted 2" in messages[-1]["content"] for messages in judge.seen)
