"""Errors for a key that does not exist name lwexp's key, the choice that has the key, or a similar key."""

import shlex
from pathlib import Path

import pytest

from lwexp.config import Config, compose
from lwexp.config.compose import compose_tree
from lwexp.config.fields import known_keys, walk
from lwexp.config.folders import CONF
from lwexp.config.mistakes.aliases import ALIASES, COMMANDS
from lwexp.config.mistakes.hints import no_such_key
from lwexp.extend.settings import key_of
from lwexp.records import LwexpError

KNOWN = known_keys(Config)


def answer(*overrides: str) -> str:
    with pytest.raises(LwexpError) as refused:
        compose(*overrides)
    return str(refused.value)


WORDS = sorted({*ALIASES, *COMMANDS} - set(KNOWN))


@pytest.fixture(scope="module")
def tree():
    return compose_tree()


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("above", ["", "trainer."])
def test_words_of_other_tools_are_answered_with_our_key(word, above, tree):
    said = no_such_key(f"{above}{word}", tree, Config)

    assert said.startswith(f"{above}{word}: no such key; ")
    assert COMMANDS.get(word) or f"did you mean {ALIASES[word]}" in said
    assert COMMANDS.get(word, "") in said


@pytest.mark.parametrize("word", WORDS[::12])
@pytest.mark.parametrize("above", ["", "trainer."])
def test_the_same_answer_comes_from_a_command_line(word, above, tree):
    """Composing takes 0.2 s, so for each twelfth word."""
    assert answer(f"{above}{word}=1") == no_such_key(f"{above}{word}", tree, Config)


def test_every_word_of_the_issue_is_there():
    words = (
        "learning_rate lr batch_size per_device_train_batch_size max_seq_length max_length cutoff_len num_train_epochs "
        "epochs max_epochs gradient_accumulation_steps output_dir model_name_or_path dataset bf16 fp16 lora_r "
        "lora_rank warmup_ratio weight_decay num_gpus deepspeed report_to logging_steps save_steps eval_steps seed"
    )

    assert set(words.split()) <= {*ALIASES, *COMMANDS}


def test_aliases_lead_to_keys_that_exist():
    assert set(ALIASES.values()) <= set(KNOWN)
    for typed in COMMANDS.values():
        for setting in typed.split():
            key, _, choice = setting.partition("=")
            assert key in KNOWN
            assert "." in key or (CONF / key / f"{choice}.yaml").is_file()


@pytest.mark.parametrize(
    ("overrides", "said", "added"),
    [
        ("objective.beta=0.2", "objective=sft has no beta; objective=dpo has it: add ", "objective=dpo"),
        ("objective=dpo objective.normalize=token", "objective=dpo has no normalize", "objective=sft"),
        ("hardware.devices=4", "hardware=auto has no devices; hardware=zero3_8x80g or ", "hardware=zero3_8x80g"),
        ("engine.limits.concurrency=3", "engine=checkpoint has no limits.concurrency", "engine=vllm"),
        ("generate.instructions.path=x", "instructions=synthetic has no path", "instructions=file"),
        ("teacher.base_url=http://x", "teacher=offline has no base_url", "teacher=local_openai"),
        ("judge=none judge.repeats=3", "judge=none has no repeats", "judge=gpt4o"),
    ],
)  # fmt: skip
def test_a_key_of_another_choice_says_which_choice_has_it_and_that_works(overrides, said, added):
    words = shlex.split(overrides)
    refused = answer(*words)

    assert said in refused
    assert refused.endswith(f"add {added}")
    group = added.partition("=")[0]
    compose(*(word for word in words if not word.startswith(f"{group}=")), added)


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("+mixture.sources.mine={kind: file, path: x, counts: 3}", "mixture.sources.mine.count"),
        ("mixture.sources.draft.count=3", "mixture.sources.drafts.count"),
        ("model.shape.hidden=3", "model.shape.hidden_size"),
        ("experimnt=smoke", "experiment"),
        ("objective.optimizer.learning_rate=1", "objective.optimizer.lr"),
    ],
)
def test_a_key_beside_the_wrong_one_is_hinted(override, hint):
    assert f"did you mean {hint}?" in answer(override)


@pytest.mark.parametrize(
    "key", ["objective.beta", "seed.x", "foo", "hardware.devices", "pack.max_tokens.x", "root.seed"]
)
def test_a_hint_never_suggests_what_was_typed(key):
    said = answer(f"{key}=1").removeprefix(f"{key}: ")

    assert f"mean {key}?" not in said


def test_an_experiment_without_its_package_line_is_told_so(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "lost.yaml").write_text("seed: 7\n")
    with pytest.raises(LwexpError, match="lacks '# @package _global_'; add that as its first line"):
        compose("experiment=lost", config_dir=tmp_path)

    (tmp_path / "experiment" / "lost.yaml").write_text("# @package _global_\nseed: 7\n")
    assert compose("experiment=lost", config_dir=tmp_path).seed == 7


RENAMED = {
    key: key_of(field).formerly for key, field in walk(Config) if key_of(field).formerly is not None and "*" not in key
}
OF_CHOICES = {
    "teacher": "teacher=offline",
    "objective": "objective=dpo",
    "bench": "bench=jsonl",
    "engine": "engine=litellm",
}


@pytest.mark.parametrize("key", sorted(RENAMED))
def test_an_old_name_is_answered_with_the_new_one_and_never_taken(key):
    section = key.rpartition(".")[0]
    old = f"{section}.{RENAMED[key]}".lstrip(".")
    choice = OF_CHOICES.get(key.split(".")[0], "seed=0")

    assert answer(choice, f"{old}=1") == f"{old}: was renamed to {key}"


def test_an_old_name_in_a_file_is_answered_too(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "old.yaml").write_text("# @package _global_\nsample: {after_plan: true}\n")

    with pytest.raises(LwexpError, match=r"sample\.after_plan: was renamed to sample\.plan_first"):
        compose("experiment=old", config_dir=tmp_path)


def test_every_renamed_key_stands_in_the_list():
    table = (Path(__file__).parents[2] / "docs" / "decisions" / "023-renames.md").read_text()

    for key, field in walk(Config):
        if former := key_of(field).formerly:
            assert f".{former}` |" in table or f"`{former}` |" in table, key
