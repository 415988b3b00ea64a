"""LongBench-Write from its published files: languages, versions, and where the files come from."""

from pathlib import Path

import pytest

from lwexp.benches.select import load_bench
from lwexp.config import compose
from lwexp.records import LwexpError
from tests.benches.bench_files import numbers, published, published_shape


def test_a_missing_file_says_where_it_is_published() -> None:
    with pytest.raises(LwexpError, match=r"github\.com/THUDM/LongWriter.*set bench\.path=<file"):
        load_bench(compose("bench=longwrite_ruler", "bench.path=none.jsonl").bench)


def test_the_language_is_that_of_the_file_not_of_the_letters(tmp_path: Path) -> None:
    """Prompt 3 is written in Chinese and asks for English text; the English file has it."""
    folder = published_shape(tmp_path)
    assert [prompt.language for prompt in published(folder)] == ["en", "zh", "en", "zh", "en"]
    assert [p.language for p in published(folder / "longbench_write.jsonl")] == ["en", "zh", "en", "zh", "en"]
    by_letters = published(folder, "bench.english_prompts_file=null")
    assert [prompt.language for prompt in by_letters] == ["en", "zh", "zh", "zh", "en"]
    assert numbers(published(folder, bench="longbench_write_en")) == [1, 3, 5]
    assert numbers(published(folder, bench="longbench_write_zh")) == [2, 4]


def test_a_file_without_its_english_neighbour_says_where_to_get_it(tmp_path: Path) -> None:
    (published_shape(tmp_path) / "longbench_write_en.jsonl").unlink()
    with pytest.raises(
        LwexpError, match=r"longbench_write_en\.jsonl at https://github.*bench\.english_prompts_file=null"
    ):
        published(tmp_path)


def test_another_file_under_the_published_name_is_refused(tmp_path: Path) -> None:
    published_shape(tmp_path)
    with pytest.raises(LwexpError, match="is not longbench_write v3fcfdff: sha256"):
        load_bench(compose("bench=longbench_write", f"bench.path={tmp_path}").bench)


def test_a_hub_data_set_is_read_from_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache is laid out as the hub's client lays it out; nothing is reached."""
    import huggingface_hub.constants as constants

    snapshot = tmp_path / "datasets--owner--name" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    published_shape(snapshot)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert numbers(published(Path("owner/name"))) == [1, 2, 3, 4, 5]
    with pytest.raises(LwexpError, match="the hub gave no longbench_write"):
        published(Path("owner/other"))
