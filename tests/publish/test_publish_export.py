"""Exported files: read back equal by our importer, accepted by TRL itself, declared to LLaMA-Factory by its keys."""

import json
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.mix.importer import import_conversations
from lwexp.publish import export_run
from lwexp.records import Conversation, LwexpError, PreferencePair, read_rows
from tests.publish.publish_rows import conversation, pair, turns

# The first rows lack what later ones have: a JSONL column that changes its type would fail in ``datasets``.
CONVERSATIONS = [
    conversation("a-1", "Hi there", "Hello to", language="en"),
    conversation(
        "a-2", "写一首诗", "明月 几时有 </script>\u202e", words=6, language="zh", required_words=5, teacher="t",
        cost_usd=0.25, finish_reasons=("stop", "length"), plan='Paragraph 1 - "x"\nParagraph 2',
    ),
    conversation("a-3", "One", "two three four", "Five", "six", system="Be kind.\n", words=3, required_words=3),
]  # fmt: skip
PAIRS = [
    pair("p-1", turns("Hi"), "good", "bad"),
    pair("p-2", turns("Hi", "Hello", "Go on", system="Be brief."), "yes", "no", chosen_score=91.5, rejected_score=40.0,
         required_words=100),
    pair("p-3", turns("你好"), "好", "坏", language="zh", chosen_score=80.0, rejected_score=75.25),
]  # fmt: skip
FORMATS = ["trl", "llamafactory", "swift"]


def export(run, format: str, **settings: object) -> Path:
    overrides = [f"export.{key}={value}" for key, value in settings.items()]
    config = compose(f"export.format={format}", *overrides)
    path = export_run(run, config.export, dry_run=False)
    assert path is not None
    return path


def read_back(path: Path, tmp_path: Path):
    run = import_conversations(compose(f"root={tmp_path}/back", "task=import", f"source={path}", "on_bad_row=error"))
    assert run is not None
    return run


@pytest.mark.parametrize("format", FORMATS)
def test_conversations_come_back_equal(make_run, tmp_path, format):
    path = export(make_run(conversations=CONVERSATIONS), format)

    assert list(read_rows(read_back(path, tmp_path).path / "conversations.jsonl", Conversation)) == CONVERSATIONS


def test_a_conversation_with_an_answer_of_weight_0_is_left_out(make_run, caplog):
    """Other trainers would train on that answer."""
    row = conversation("a-4", "One", "two", "Three", "four")
    question, first, again, last = row.messages
    marked = row.model_copy(update={"messages": (question, first.model_copy(update={"weight": 0}), again, last)})
    path = export(make_run(conversations=[CONVERSATIONS[0], marked]), "trl")

    assert len(path.read_text().splitlines()) == 1
    assert "1 row with answers of weight 0 left out" in caplog.text


@pytest.mark.parametrize("format", FORMATS)
def test_pairs_come_back_equal(make_run, tmp_path, format):
    path = export(make_run("pairs", pairs=PAIRS), format)

    assert list(read_rows(read_back(path, tmp_path).path / "pairs.jsonl", PreferencePair)) == PAIRS


def test_an_edited_prompt_comes_back_as_a_strangers_row(make_run, tmp_path):
    """Negative control of the two tests above: equality hangs on provenance, and that on the prompt."""
    path = export(make_run(conversations=CONVERSATIONS), "trl")
    path.write_text(path.read_text(encoding="utf-8").replace("Hi there", "Hi"), encoding="utf-8")
    first, *others = read_rows(read_back(path, tmp_path).path / "conversations.jsonl", Conversation)

    assert first.id == f"{path.stem}-1"
    assert others == CONVERSATIONS[1:]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", ["conversations", "pairs"])
def test_datasets_loads_every_exported_folder(make_run, tmp_path, monkeypatch, format, kind):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    run = make_run(conversations=CONVERSATIONS) if kind == "conversations" else make_run("pairs", pairs=PAIRS)
    path = export(run, format, to=tmp_path / "out")
    if format == "llamafactory":
        (tmp_path / "out" / "dataset_info.json").unlink()  # LLaMA-Factory reads it, ``datasets`` takes it for rows
    rows = datasets.load_dataset(str(tmp_path / "out"), split="train")

    assert rows.to_list() == [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_trl_itself_takes_both_kinds(make_run):
    """TRL's own helpers decide: both are conversational, and a chat template applies to each."""
    pytest.importorskip("trl", reason="trl is a test-time reference (pip install -e '.[dev]')")
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl.data_utils import apply_chat_template, is_conversational, maybe_extract_prompt

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    turns_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    tokenizer.chat_template = turns_template + "{% if add_generation_prompt %}<assistant>{% endif %}"
    lines = export(make_run(conversations=CONVERSATIONS), "trl").read_text(encoding="utf-8").splitlines()
    *_, last = (json.loads(line) for line in lines)
    assert is_conversational(last)
    wanted = "<system>Be kind.\n<user>One<assistant>two three four<user>Five<assistant>six"
    assert apply_chat_template({"messages": last["messages"]}, tokenizer)["text"] == wanted

    lines = export(make_run("pairs", pairs=PAIRS), "trl").read_text(encoding="utf-8").splitlines()
    _, second, _ = (json.loads(line) for line in lines)
    assert is_conversational(second)
    columns = {name: second[name] for name in ("prompt", "chosen", "rejected")}
    assert maybe_extract_prompt(columns) == columns
    applied = apply_chat_template(columns, tokenizer)
    assert applied["prompt"] == "<system>Be brief.<user>Hi<assistant>Hello<user>Go on<assistant>"
    assert (applied["chosen"], applied["rejected"]) == ("yes", "no")


def test_llamafactory_finds_its_columns_and_others_keep_their_entries(make_run, tmp_path):
    """The keys of LLaMA-Factory's data/README.md; every column it is told of is in every row."""
    folder = tmp_path / "LLaMA-Factory" / "data"
    folder.mkdir(parents=True)
    others = {"identity": {"file_name": "identity.json"}, "hub": {"hf_hub_url": "x/y", "ranking": True}}
    (folder / "dataset_info.json").write_text(json.dumps(others), encoding="utf-8")
    paths = [
        export(make_run(conversations=CONVERSATIONS), "llamafactory", to=folder, name="long_sft"),
        export(make_run("pairs", pairs=PAIRS), "llamafactory", to=folder, name="long_dpo"),
        export(make_run("pairs", pairs=PAIRS), "llamafactory", to=folder, name="long_dpo"),  # again: replaces itself
    ]

    info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    assert list(info) == ["identity", "hub", "long_sft", "long_dpo"]
    assert {name: info[name] for name in others} == others
    assert "ranking" not in info["long_sft"]
    assert info["long_dpo"]["ranking"] is True
    for path in paths:
        entry = info[path.stem]
        assert (entry["file_name"], entry["formatting"]) == (path.name, "sharegpt")
        for line in path.read_text(encoding="utf-8").splitlines():
            assert set(entry["columns"].values()) <= set(json.loads(line))
    turn = json.loads(paths[0].read_text(encoding="utf-8").splitlines()[2])["messages"][0]
    tags = info["long_sft"]["tags"]
    assert (turn[tags["role_tag"]], turn[tags["content_tag"]]) == (tags["system_tag"], "Be kind.\n")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"set": {"file_name": "other.json"}}', "has another data set named set; choose export.name"),
        ("[]", "is not a JSON object"),
        ("{", "is not JSON"),
    ],
)
def test_a_dataset_info_that_cannot_be_extended_is_left_alone(make_run, tmp_path, content, problem):
    (tmp_path / "dataset_info.json").write_text(content, encoding="utf-8")
    with pytest.raises(LwexpError, match=problem):
        export(make_run(conversations=CONVERSATIONS), "llamafactory", to=tmp_path, name="set")

    assert (tmp_path / "dataset_info.json").read_text(encoding="utf-8") == content
    assert not (tmp_path / "set.jsonl").exists()


def test_a_run_without_such_rows_says_what_it_has(make_run):
    with pytest.raises(LwexpError, match=r"export\.rows=pairs: set-.* has none; it has conversations"):
        export(make_run(conversations=CONVERSATIONS), "trl", rows="pairs")


def test_a_dry_run_writes_nothing(make_run):
    run = make_run(conversations=CONVERSATIONS)
    before = sorted(run.path.iterdir())

    assert export_run(run, compose().export, dry_run=True) is None
    assert sorted(run.path.iterdir()) == before
