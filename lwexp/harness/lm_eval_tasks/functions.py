"""What the tasks of lm-evaluation-harness call: their documents, and the scores of an answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset, DatasetDict

from lwexp.extend.rows import GivenAnswer
from lwexp.harness.prompts import load_asked
from lwexp.records import LwexpError, Prompt
from lwexp.sample.external_responses import response_to
from lwexp.score.metrics.length import LengthMetric

_OPTIONS = "bench_"


def longbench_write(**metadata: object) -> DatasetDict:
    """Documents of LongBench-Write; ``metadata`` is what ``--metadata`` gives, such as ``bench_path``."""
    return _documents("longbench_write", metadata)


def longwrite_ruler(**metadata: object) -> DatasetDict:
    """Documents of LongWrite-Ruler."""
    return _documents("longwrite_ruler", metadata)


def own_prompts(**metadata: object) -> DatasetDict:
    """Documents of the file that ``bench_path`` names."""
    if "bench_path" not in metadata:
        raise LwexpError("""own_prompts: no file named; add --metadata '{"bench_path": "my.jsonl"}'""")
    return _documents("jsonl", metadata)


def _documents(bench: str, metadata: Mapping[str, object]) -> DatasetDict:
    """One document per prompt. lm-evaluation-harness adds metadata of its own, such as the model's arguments."""
    given = {key: value for key, value in metadata.items() if key.startswith(_OPTIONS)}
    asked = load_asked(bench, {key.removeprefix(_OPTIONS): value for key, value in given.items()})
    rows = [
        {
            "prompt_id": prompt.id, "prompt": prompt.text, "language": prompt.language, "type": prompt.type,
            "required_words": prompt.required_words, "range": asked.range_of(prompt),
        }
        for prompt in asked.prompts
    ]  # fmt: skip
    return DatasetDict({"test": Dataset.from_list(rows)})


def scores(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """S_l of the answer; one that ends within its reasoning has none.

    Args:
        doc: A document of this module.
        results: The answer alone.
    """
    prompt = Prompt(
        id=doc["prompt_id"], text=doc["prompt"], language=doc["language"], type=doc["type"],
        required_words=doc["required_words"],
    )  # fmt: skip
    response = response_to(prompt, GivenAnswer(results[0]), "lm_eval", "longwriter")
    if response.finish_reason == "error":
        return {"missing": 1}
    return {"S_l": LengthMetric().score(response), "missing": 0}


def total(values: Sequence[float]) -> float:
    """The sum over documents."""
    return sum(values)
