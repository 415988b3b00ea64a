"""The benches whose prompts lwexp makes: the ruler and the miniature."""

import hashlib
import json

from lwexp.benches.select import load_bench
from lwexp.config import compose
from lwexp.text.words import count_words


def test_the_ruler_asks_every_topic_for_every_length_in_every_language() -> None:
    """2 topics x 2 lengths x 2 languages."""
    prompts = load_bench(compose("bench.topics=2", "bench.required_words=[50,400]").bench)
    assert [prompt.id for prompt in prompts] == [
        "ruler-en-1-50", "ruler-en-1-400", "ruler-en-2-50", "ruler-en-2-400",
        "ruler-zh-1-50", "ruler-zh-1-400", "ruler-zh-2-50", "ruler-zh-2-400",
    ]  # fmt: skip
    for prompt in prompts:
        assert str(prompt.required_words) in prompt.text
        assert prompt.id == f"ruler-{prompt.language}-{prompt.id.split('-')[2]}-{prompt.required_words}"
        assert count_words(prompt.text) > 3


def test_a_ruler_prompt_is_the_same_in_a_smaller_bench() -> None:
    small = load_bench(compose("bench.topics=1", "bench.required_words=[400]", "bench.languages=[zh]").bench)
    every = {prompt.id: prompt for prompt in load_bench(compose().bench)}
    assert len(every) == 8 * 4 * 2
    assert [every[prompt.id] for prompt in small] == small


def test_the_miniature_bench_is_the_one_that_version_1_names() -> None:
    """Scores of one version are compared: when this fails, raise ``version`` in lwexp/conf/bench/miniature.yaml."""
    bench = compose("bench=miniature").bench
    text = "\n".join(f"{prompt.id} {prompt.text}" for prompt in load_bench(bench))
    assert (bench.version, hashlib.sha256(text.encode()).hexdigest()[:8]) == ("1", "3ea32617")


def test_a_prompt_without_details_is_written_as_before_there_were_any() -> None:
    """Prompts are part of a run's identity by this text: another one would start every evaluation again."""
    for prompt in load_bench(compose("bench.topics=1").bench)[:3]:
        named = {"id": prompt.id, "text": prompt.text, "language": "en", "type": "ruler"}
        wanted = {**named, "required_words": prompt.required_words}
        assert prompt.model_dump_json() == json.dumps(wanted, ensure_ascii=False, separators=(",", ":"))
    assert '"details":{"a":1}' in prompt.model_copy(update={"details": {"a": 1}}).model_dump_json()
