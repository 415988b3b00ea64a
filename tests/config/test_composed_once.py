"""What the tests keep between two configs changes nothing: neither a config nor an error."""

import pytest
from hydra._internal import defaults_list

from lwexp.config import compose
from lwexp.config.compose import compose_tree
from lwexp.records import LwexpError
from tests.composed_once import LOADER, keep_first_steps

CASES = [
    ["model=glm4"],
    ["experiment=miniature", "seed=3"],
    ["experiment=miniature", "model=llama31"],
    ["objective=dpo", "objective.beta=0.3", "~mixture.sources.drafts"],
    ["+mixture.sources.mine={kind: file, path: x}"],
    ["model=nosuch"],
    ["nosuch=3"],
    ["~model"],
    ["+model=glm4"],
]


def answer(words):
    try:
        return compose_tree(*words)
    except LwexpError as error:
        return str(error)


@pytest.fixture
def as_for_users(monkeypatch):
    """Hydra as it is outside the tests, whatever tests/conftest.py has set."""
    monkeypatch.setattr(LOADER, "create_defaults_list", defaults_list.create_defaults_list)
    plain = LOADER.ConfigLoaderImpl._compose_config_from_defaults_list.plain
    monkeypatch.setattr(LOADER.ConfigLoaderImpl, "_compose_config_from_defaults_list", plain)


def test_kept_first_steps_change_nothing(as_for_users):
    expected = [answer(words) for words in CASES]
    end = keep_first_steps()
    try:
        assert [answer(words) for words in CASES] == expected
        assert [answer(words) for words in CASES] == expected  # now from what is kept
    finally:
        end()


def test_a_config_of_ones_own_folder_is_read_each_time(tmp_path):
    (tmp_path / "experiment").mkdir()
    for seed in (7, 8):
        (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\nseed: {seed}\n")
        assert compose("experiment=mine", config_dir=tmp_path).seed == seed
