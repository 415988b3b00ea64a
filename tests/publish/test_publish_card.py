"""The card: front matter that huggingface_hub reads, numbers that add up, a folder that ``datasets`` loads."""

from typing import Any

import datasets
from huggingface_hub import DatasetCard

from lwexp.publish import publish_run
from lwexp.publish.card import histogram
from lwexp.records import Conversation, Failure, PreferencePair, read_rows
from tests.publish.publish_rows import conversation, pair, turns

ROWS = [
    conversation("1", "Hi", "Hello", words=100, required_words=100),
    conversation("2", "Hi", "Hello", words=150, required_words=300),  # S_l: 1 - (300/150 - 1)/2 = 50
    conversation("3", "Hi", "Hello", words=2_000),
    conversation("4", "你好", "好", words=40, language="zh", cost_usd=0.1, teacher="t", finish_reasons=("stop",)),
]
LOST = [
    Failure(id=str(n), stage="plan", reason=reason, detail="x", attempts=1)
    for n, reason in enumerate(["refusal", "refusal", "bad_plan"])
]


def test_the_front_matter_is_one_that_huggingface_hub_reads(make_run):
    run = make_run(conversations=ROWS, failures=LOST)
    publish_run(run)
    card: Any = DatasetCard((run.path / "README.md").read_text(encoding="utf-8"))

    assert card.data.language == ["en", "zh"]
    assert card.data.size_categories == ["n<1K"]
    assert card.data.task_categories == ["text-generation"]
    assert card.data.to_dict()["configs"] == [{"config_name": "default", "data_files": "conversations.parquet"}]


def test_the_numbers_of_the_card_are_those_of_the_rows(make_run):
    run = make_run(conversations=ROWS, failures=LOST)
    publish_run(run)
    text = (run.path / "README.md").read_text(encoding="utf-8")

    assert "| English | 3 | 100 / 150 / 2,000 | 2 | 75.0 |" in text
    assert "| Chinese | 1 | 40 / 40 / 40 | 0 |  |" in text
    assert "7 in = 4 kept + 1 bad plan + 2 refusal" in text
    assert "| refusal | 2 |" in text
    assert "$1.25" in text
    assert "terms" in text or "licence" in text.lower()


def test_the_histogram_by_hand():
    """10 to 19 one, 20 to 49 none, 50 to 99 four: the longest bar has 40 characters, a quarter of it is 10."""
    lines = histogram([15, 50, 60, 70, 99]).splitlines()

    assert [line.split() for line in lines] == [
        ["10", "to", "19", "\u2588" * 10, "1"],
        ["20", "to", "49", "0"],
        ["50", "to", "99", "\u2588" * 40, "4"],
    ]


def test_the_folder_of_a_run_loads_and_parquet_equals_jsonl(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    run = make_run(conversations=ROWS, failures=LOST)
    publish_run(run)
    rows = datasets.load_dataset(str(run.path), split="train")

    assert [Conversation(**row) for row in rows] == ROWS
    assert list(read_rows(run.path / "conversations.jsonl", Conversation)) == ROWS


def test_a_run_with_pairs_loads_its_pairs_and_on_demand_its_conversations(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    pairs = [pair("p", turns("Hi"), "good", "bad")]
    run = make_run(conversations=ROWS[:1], pairs=pairs)
    publish_run(run)

    assert [PreferencePair(**row) for row in datasets.load_dataset(str(run.path), split="train")] == pairs
    other = datasets.load_dataset(str(run.path), "conversations", split="train")
    assert [Conversation(**row) for row in other] == ROWS[:1]


def test_publishing_again_changes_nothing_unless_asked(make_run):
    run = make_run(conversations=ROWS)
    publish_run(run)
    (run.path / "README.md").write_text("mine", encoding="utf-8")
    publish_run(run)
    assert (run.path / "README.md").read_text(encoding="utf-8") == "mine"
    publish_run(run, again=True)
    assert (run.path / "README.md").read_text(encoding="utf-8") != "mine"
