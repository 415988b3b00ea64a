"""Part of a bench: by length, type and language, or drawn."""

from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.records import LwexpError
from tests.benches.bench_files import file_bench, lines, numbers, published, published_shape


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        ('bench.range="[2000,4000)"', [3]),
        ('bench.range="[2000,4000]"', [3, 4]),
        ("bench.range=2k-4k", [3, 4]),
        ("bench.range=4k+", [4, 5]),
        ('bench.range="<200"', [1]),
        ('bench.range=">200"', [3, 4, 5]),
        ("bench.range=200", [2]),
        ("bench.type=News", [1, 3, 5]),
        ("bench.language=zh", [2, 4]),
    ],
)
def test_a_selection_keeps_order_and_ids(tmp_path: Path, selection: str, kept: list[int]) -> None:
    assert numbers(published(published_shape(tmp_path), selection)) == kept


def test_a_subset_is_drawn_by_its_own_seed(tmp_path: Path) -> None:
    text = lines(*({"prompt": f"Prompt {n}.", "length": 100} for n in range(40)))
    drawn = [[p.id for p in file_bench(tmp_path, text, "bench.subset=10", f"bench.subset_seed={n}")] for n in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(drawn[0], key=lambda id: int(id.split("-")[1]))
    more = [p.id for p in file_bench(tmp_path, text, "bench.subset=11", "seed=5")]
    assert set(drawn[0]) < set(more)  # one more is added, and the run's seed takes no part


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ("bench.type=Poetry", "of type Education, Literature, News"),
        ("bench.range=30k+", "5 of 100 to 20,000 words"),
        ("bench.subset=9", "only 5 prompts"),
    ],
)
def test_an_empty_selection_says_what_there_is(tmp_path: Path, selection: str, said: str) -> None:
    with pytest.raises(LwexpError) as error:
        published(published_shape(tmp_path), selection)
    assert said in str(error.value)


@pytest.mark.parametrize("text", ["2000", "4k,2k", "[4k,2k)", "[5,5)", "many", "2k-", "[1,2", "0"])
def test_a_range_that_cannot_be_read_is_a_mistake_in_the_config(text: str) -> None:
    """2000 alone is the control: it can be read."""
    if text == "2000":
        compose(f'bench.range="{text}"')
        return
    with pytest.raises(LwexpError, match=r"bench\.range"):
        compose(f'bench.range="{text}"')
