"""Size and speed of a report over many long answers: ``python -m benchmarks.report_page [--quick]``.

8 models x 500 prompts, asked for 250 to 4,000 words; every fourth prompt is Chinese. The words are drawn one by one
from made-up ones, and the characters from 3,500, with the frequencies of natural text. This compresses less well than
prose: sizes are upper bounds. "open" is the time from opening the file in Chromium until its list is shown, "read"
until an answer chosen at random is shown. "first_search" is the first search within the texts for one word,
"later_search" the median of five others. "pair_search" is the first one for two Chinese characters, "phrase_search" for
six, and "other_search" for a word with a colon. The last two are shown from the index first and then confirmed in the
texts: "..._sure" is the time until that. All times are in seconds.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections import defaultdict
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from benchmarks.browser import openings, read_text
from benchmarks.output import show
from lwexp.records import AnswerCheck, Judgement, Response, Verdict, write_json, write_rows
from lwexp.report import compare
from lwexp.runs.artifacts import CHECKS, CONFIG, JUDGEMENTS, RESPONSES, VERDICTS, Manifest
from lwexp.text.words import score_length

_LENGTHS = (250, 500, 1_000, 2_000, 4_000)
_DIMENSIONS = ("relevance", "accuracy", "coherence", "clarity", "breadth_and_depth", "reading_experience")
_VOCABULARY = 20_000
_CHARACTERS = [chr(0x4E00 + 5 * number) for number in range(3_500)]
_CHINESE = 4  # every fourth prompt, counted from 0, with remainder 3
_JUDGE = "openai/judge"


def main() -> None:
    """Make the runs and their page, and measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 models x 20 prompts")
    parser.add_argument("--keep", type=Path, help="write the runs and the page to this folder")
    given = parser.parse_args()
    models, prompts = (2, 20) if given.quick else (8, 500)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        runs = write_runs(folder, models, prompts)
        started = time.perf_counter()
        page = compare(runs, folder / "report.html")
        figures = {"answers": models * prompts, "write": time.perf_counter() - started}
        beside = [file for file in (folder / "report_texts").glob("*") if file.is_file()]
        figures |= {"page_mb": page.stat().st_size / 1e6, "folder_mb": sum(f.stat().st_size for f in beside) / 1e6}
        figures |= {"answers_mb": sum((run / RESPONSES).stat().st_size for run in runs) / 1e6}
        figures |= _in_browser(page, prompts)
    show("report_page", {f"{models}x{prompts}": {"ours": figures}}, ("jinja2", "playwright"))


def write_runs(root: Path, models: int, prompts: int, lengths: tuple[int, ...] = _LENGTHS) -> list[Path]:
    """Evaluation runs whose answers, verdicts and checks are drawn at random; returns their folders.

    Args:
        root: Where they go.
        models: How many runs, each of another model.
        prompts: Answers of each.
        lengths: The lengths asked for, in words.
    """
    draw = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 10))) for _ in range(_VOCABULARY)]
    weights = _frequencies(_VOCABULARY)
    runs = []
    for model in range(models):
        run = root / f"eval-model{model}-{model:08x}"
        run.mkdir(parents=True, exist_ok=True)
        bench = {"kind": "ruler", "name": "made_up", "version": "1", "required_words": list(lengths)}
        write_json(run / CONFIG, {"bench": bench, "judge": {"model": _JUDGE}})
        manifest = Manifest(id=run.name, name=run.name, stage="evaluate", status="finished")
        manifest.write(run)
        asked = [lengths[number % len(lengths)] for number in range(prompts)]
        rows = [_answer(draw, words, weights, n, asked[n], f"vendor/model-{model}") for n in range(prompts)]
        judged = [_judgement(draw, row.id) for row in rows]
        write_rows(run / RESPONSES, rows)
        write_rows(run / JUDGEMENTS, judged)
        write_rows(run / CHECKS, [_check(row) for row in rows])
        scored = [
            Verdict(response_id=row.id, kind="length", scorer="S_l",
                    score=score_length(row.required_words or 0, row.words))
            for row in rows
        ]  # fmt: skip
        qualities = [
            Verdict(response_id=row.response_id, kind="quality", scorer=_JUDGE, score=row.score,
                    dimensions=row.dimensions)
            for row in judged
        ]  # fmt: skip
        write_rows(run / VERDICTS, scored + qualities)
        runs.append(run)
    return runs


@cache
def _frequencies(count: int) -> list[float]:
    """Cumulative weights that fall with the rank."""
    return list(accumulate(1 / (rank + 2) for rank in range(count)))


def _is_chinese(number: int) -> bool:
    return number % _CHINESE == _CHINESE - 1


def _answer(
    draw: random.Random, words: list[str], weights: list[float], number: int, asked: int, model: str
) -> Response:
    count = round(asked * draw.uniform(0.5, 1.2))
    if _is_chinese(number):
        drawn = draw.choices(_CHARACTERS, cum_weights=_frequencies(len(_CHARACTERS)), k=count)
        text = "\n\n".join("".join(drawn[start : start + 80]) + "\u3002" for start in range(0, count, 80))
    else:
        drawn = draw.choices(words, cum_weights=weights, k=count)
        text = "\n\n".join(" ".join(drawn[start : start + 80]).capitalize() + "." for start in range(0, count, 80))
    return Response(
        id=f"p{number}#0", prompt_id=f"p{number}", repeat=0, prompt=f"Write {asked} words about {words[number]}.",
        language="zh" if _is_chinese(number) else "en", type="story", required_words=asked, text=text,
        words=len(drawn), finish_reason="stop", model=model, sampling=None,
    )  # fmt: skip


def _judgement(draw: random.Random, response_id: str) -> Judgement:
    dimensions = {name: float(draw.randint(1, 5)) for name in _DIMENSIONS}
    return Judgement(
        response_id=response_id, repeat=0, scorer=_JUDGE, score=25 * (statistics.mean(dimensions.values()) - 1),
        dimensions=dimensions, reasons={name: f"The {name} of this answer is not bad." for name in _DIMENSIONS},
        unscored_reason=None,
    )  # fmt: skip


def _check(row: Response) -> AnswerCheck:
    return AnswerCheck(
        response_id=row.id, words_longwriter=row.words, words_unicode=row.words, stopped_early=False, loops=False,
        looped_words=0, directed=(), words_without_next_turn=row.words, clean_words=row.words,
    )  # fmt: skip


def _in_browser(page: Path, prompts: int) -> dict[str, float]:
    """Median times in seconds; empty without a browser."""
    times: dict[str, list[float]] = defaultdict(list)
    for number, (tab, seconds) in enumerate(openings(page)):
        times["open"].append(seconds)
        wanted = random.Random(number).randrange(prompts) // _CHINESE * _CHINESE
        times["read"].append(read_text(tab, wanted, f"p{wanted}"))
        seen = [word for word in _shown_text(tab).split() if word.isalpha()]
        times["first_search"].append(_search(tab, seen[100])[0])
        times["later_search"] += [_search(tab, seen[at])[0] for at in range(101, 106)]
        chinese = wanted + _CHINESE - 1
        read_text(tab, chinese, f"p{chinese}")
        characters = _shown_text(tab)
        times["pair_search"].append(_search(tab, characters[20:22])[0])
        for name, term in (("phrase_search", characters[30:36]), ("other_search", f"{seen[106]}:")):
            first, sure = _search(tab, term)
            times[name].append(first)
            times[f"{name}_sure"].append(sure)
    return {name: statistics.median(found) for name, found in times.items()}


def _shown_text(tab: Any) -> str:
    text: str = tab.locator("#detail .text").first.text_content()
    return text


def _search(tab: Any, term: str) -> tuple[float, float]:
    """Search in the texts for a term that is typed at once; the first search also ticks the box for it.

    Returns:
        Seconds until a result is shown, and until it is certain.
    """
    first, sure = tab.evaluate(
        """async (term) => {
          const [box, deep] = ['q', 'deep'].map((name) => document.querySelector(`[name=${name}]`));
          const found = document.getElementById('found');
          found.textContent = '';
          let first = 0;
          const started = performance.now();
          const shown = new Promise((resolve) => new MutationObserver(() => {
            if (!/ of .* prompts$/.test(found.textContent)) return;
            first ||= performance.now() - started;
            if (!found.textContent.startsWith('at most')) resolve();
          }).observe(found, { childList: true, characterData: true, subtree: true }));
          box.value = term;
          if (deep.checked) box.dispatchEvent(new Event('input', { bubbles: true }));
          else deep.click();
          await shown;
          return [first, performance.now() - started];
        }""",
        term,
    )
    return first / 1000, sure / 1000


if __name__ == "__main__":
    main()
