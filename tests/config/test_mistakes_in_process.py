"""Mistakes that a user makes, through the real command in this process: exit code 2, one line, and a fix that works.

Each row: command, what is typed, what the line must say, and what to type instead (its ``--cfg job`` must compose), or
None where only the user knows the right value. ``DATA`` is a folder with the files that the rows name.
"""

import logging
import shlex
import sys

import pytest

from lwexp.config import cli

YAML = {
    "experiment/tab.yaml": "# @package _global_\n\tseed: 1\n",
    "experiment/quote.yaml": "# @package _global_\nname: 'x\n",
    "experiment/twice.yaml": "# @package _global_\nseed: 1\nseed: 2\n",
    "experiment/indent.yaml": "# @package _global_\npack:\n  max_tokens: 64\n overflow: drop\n",
    "experiment/colon.yaml": "# @package _global_\nname: a: b\n",
    "experiment/bracket.yaml": "# @package _global_\nplugins: [a, b\n",
    "experiment/number.yaml": "# @package _global_\ndefaults: [{0: a}]\n",
    "experiment/lost.yaml": "seed: 7\n",
    "experiment/typo.yaml": "# @package _global_\npack:\n  max_tokns: 64\n",
    "experiment/old.yaml": "# @package _global_\nsample: {after_plan: true}\n",
    "mixture/counts.yaml": "sources:\n  mine: {kind: file, path: f.jsonl, counts: 3}\n",
    "mixture/kindless.yaml": "sources:\n  mine: {path: f.jsonl}\n",
    "teacher/typo.yaml": "defaults: [gpt4o]\ntemprature: 1.0\n",
}
CD = "--config-dir DATA "
MISTAKES = [
    # Words of other tools.
    ("train", "learning_rate=1e-5", "did you mean objective.optimizer.lr?", "objective.optimizer.lr=1e-5"),
    ("train", "trainer.learning_rate=1e-5", "objective.optimizer.lr?", "objective.optimizer.lr=1e-5"),
    ("train", "batch_size=4", "did you mean objective.global_batch (packs", "objective.global_batch=4"),
    ("train", "per_device_train_batch_size=4", "objective.global_batch", "objective.global_batch=4"),
    ("train", "gradient_accumulation_steps=4", "objective.global_batch", "objective.global_batch=4"),
    ("train", "max_seq_length=4096", "did you mean pack.max_tokens?", "pack.max_tokens=4096"),
    ("train", "cutoff_len=4096", "did you mean pack.max_tokens?", "pack.max_tokens=4096"),
    ("train", "num_train_epochs=2", "did you mean objective.epochs?", "objective.epochs=2"),
    ("train", "trainer.max_epochs=2", "did you mean objective.epochs?", "objective.epochs=2"),
    ("train", "output_dir=out", "did you mean root?", "root=out"),
    ("train", "model_name_or_path=/m", "did you mean model.path?", "model.path=/m"),
    ("train", "dataset=my.jsonl", "here it is mixture=file mixture.path=<file>", "mixture=file mixture.path=my.jsonl"),
    ("train", "hardware=gpu1 bf16=true", "hardware.precision=bf16-true", "hardware=gpu1 hardware.precision=bf16-true"),
    ("train", "hardware=gpu1 fp16=true", "hardware.precision=bf16-true", "hardware=gpu1 hardware.precision=bf16-true"),
    ("train", "lora_r=8", "did you mean model.lora.r?", "model.lora.r=8"),
    ("train", "model.lora_rank=8", "did you mean model.lora.r?", "model.lora.r=8"),
    ("train", "weight_decay=0.1", "objective.optimizer.weight_decay?", "objective.optimizer.weight_decay=0.1"),
    ("train", "num_gpus=4", "hardware=zero3_8x80g hardware.devices=", "hardware=zero3_8x80g hardware.devices=4"),
    ("train", "deepspeed=ds.json", "here it is hardware=zero3_8x80g", "hardware=zero3_8x80g"),
    ("train", "report_to=wandb", "here it is tracking=wandb", "tracking=wandb"),
    ("train", "logging_steps=5", "did you mean training.log_every_steps?", "training.log_every_steps=5"),
    ("train", "save_steps=50", "did you mean training.checkpoint_every_", "training.checkpoint_every_steps=50"),
    ("train", "eval_steps=50", "training.validation.every_steps?", "training.validation.every_steps=50"),
    ("train", "training.seed=3", "did you mean seed?", "seed=3"),
    ("evaluate", "num_return_sequences=2", "did you mean sample.repeats?", "sample.repeats=2"),
    # Keys of another choice, and keys beside the wrong one.
    ("train", "objective.beta=0.2", "add objective=dpo", "objective.beta=0.2 objective=dpo"),
    (
        "train",
        "objective=dpo objective.normalize=token",
        "add objective=sft",
        "objective=sft objective.normalize=token",
    ),
    ("train", "hardware.devices=4", "add hardware=zero3_8x80g", "hardware.devices=4 hardware=zero3_8x80g"),
    ("evaluate", "engine.limits.concurrency=3", "add engine=vllm", "engine.limits.concurrency=3 engine=vllm"),
    ("evaluate", "judge=none judge.repeats=3", "add judge=gpt4o", "judge=gpt4o judge.repeats=3"),
    (
        "generate",
        "teacher.base_url=http://x",
        "add teacher=local_openai",
        "teacher.base_url=http://x teacher=local_openai",
    ),
    ("generate", "generate.instructions.path=x", "add instructions=file", "instructions=file"),
    ("train", "mixture.sources.draft.count=3", "mixture.sources.drafts.count?", "mixture.sources.drafts.count=3"),
    ("train", "model.shape.hidden=64", "did you mean model.shape.hidden_size?", "model.shape.hidden_size=64"),
    ("train", "experimnt=smoke", "did you mean experiment?", "experiment=smoke"),
    ("train", "modle=glm4", "did you mean model?", "model=glm4"),
    ("train", "'+mixture.sources.a={kind: file, path: x, counts: 3}'", "did you mean mixture.sources.a.count?", None),
    ("train", "foo.bar=1", "foo.bar: no such key; remove it", ""),
    # Names of earlier versions.
    ("evaluate", "against=x", "against: was renamed to baseline_run", "baseline_run=x"),
    ("train", "then_evaluate=true", "was renamed to evaluate_after", "evaluate_after=true"),
    ("train", "mixture.sources.drafts.with_plan=true", "drafts.plan_first", "mixture.sources.drafts.plan_first=true"),
    ("train", "objective=dpo objective.passes=two", "backward_passes", "objective=dpo objective.backward_passes=two"),
    ("generate", "teacher.limits.first_pause_seconds=2", "was renamed to teacher.limits.initial_backoff_seconds", None),
    # Choices that are no names.
    ("train", "model=[0]", "a choice that is not the name of a file", "model=tiny_glm"),
    ("train", "model=[[tiny_glm]]", "write <group>=<name>", "model=[tiny_glm]"),
    ("train", "hardware=[cpu,null]", "a choice that is not the name of a file", "hardware=[cpu]"),
    # Groups beside an experiment.
    ("train", "experiment=smoke bench=longbench_write", "sets bench.required_words, bench.topics", "experiment=smoke"),
    ("train", "experiment=miniature objective=dpo", "sets objective.epochs", "objective=dpo"),
    ("generate", "experiment=miniature teacher=gpt4o", "sets teacher.paragraph_words", "teacher=gpt4o"),
    ("train", "model=glm5", "no such choice; take one of: gemma3_1b", "model=glm4"),
    ("train", "task=pairs", "train.py does not read task; it belongs to generate_data.py", None),
    # Files of the user's.
    ("train", CD + "experiment=tab", "tab.yaml line 2, column 1: a tab; indent with spaces", None),
    ("train", CD + "experiment=quote", "quote.yaml line 2, column 7: a quote is opened and never closed", None),
    ("train", CD + "experiment=twice", "twice.yaml line 3, column 1: the key stands twice", None),
    ("train", CD + "experiment=indent", "indent.yaml line 4, column 2: the indentation does not fit", None),
    ("train", CD + "experiment=colon", "colon.yaml line 2, column 8: a colon where none can be", None),
    ("train", CD + "experiment=number", "a choice that is not the name of a file", None),
    ("train", CD + "experiment=bracket", "bracket.yaml line 2, column 10: a bracket is opened and never closed", None),
    ("train", CD + "experiment=lost", "lacks '# @package _global_'; add that as its first line", None),
    (
        "train",
        CD + "experiment=typo",
        "pack.max_tokns: no such key; did you mean pack.max_tokens?",
        "pack.max_tokens=64",
    ),
    ("train", CD + "experiment=old", "sample.after_plan: was renamed to sample.plan_first", "sample.plan_first=true"),
    ("train", CD + "mixture=counts", "mine.counts: no such key; did you mean mixture.sources.mine.count?", None),
    ("train", CD + "mixture=kindless", "mixture.sources.mine.kind: None is not a known data source", None),
    ("generate", CD + "teacher=typo", "teacher.temprature: no such key; did you mean teacher.temperature?", None),
    # Values.
    ("train", "mixture=file", "mixture.path: must be set; add mixture.path=<value>", "mixture=file mixture.path=x"),
    ("train", "mixture.path=x.jsonl", "no source reads it; add mixture=file", "mixture.path=x.jsonl mixture=file"),
    ("train", "'pack={max_tokens: 3'", "cannot be read; close its brackets", None),
    ("train", "seed", "seed: cannot be read; write key=value", "seed=1"),
    ("train", "objective.epochs=2.5", "objective.epochs: must be a valid integer", "objective.epochs=2"),
    ("train", "pack.overflow=truncate", "must be 'error' or 'drop'", "pack.overflow=drop"),
    (
        "evaluate",
        "sample.temperature=0 sample.repeats=3",
        "set sample.repeats=1",
        "sample.temperature=0 sample.repeats=1",
    ),
]
NAMES = ["a=b,c.jsonl", "my rows 我的.jsonl", "it's.jsonl", 'say "hi".jsonl', "a#b.jsonl", "@x.jsonl", "rows[1].jsonl"]


@pytest.fixture(autouse=True)
def loggers_stay_on():
    """Hydra turns off every logger that is there when it starts; a command's own process has none yet."""
    off = {logger for logger in all_loggers() if logger.disabled}
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    for logger in all_loggers():  # those that the command itself has made included
        logger.disabled = logger in off
    logging.root.handlers[:], logging.root.level = handlers, level


def all_loggers() -> list[logging.Logger]:
    return [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]


def ended(monkeypatch, capsys, command: str, words: list[str]) -> tuple[int, str, str]:
    """Exit code, standard output and errors of a command that never reaches its work."""
    monkeypatch.setattr(sys, "argv", ["lwexp", *words])
    with pytest.raises(SystemExit) as left:
        cli.run_script(command, lambda config: print(f"accepted {config.source} {config.mixture.path}"))
    printed = capsys.readouterr()
    return int(left.value.code or 0), printed.out, printed.err


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, text in YAML.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_table_is_long_enough():
    assert len(MISTAKES) + len(NAMES) >= 60


@pytest.mark.parametrize(("command", "typed", "said", "fix"), MISTAKES, ids=[f"{row[0]} {row[1]}" for row in MISTAKES])
def test_a_mistake_is_one_line_and_its_fix_works(monkeypatch, capsys, data, command, typed, said, fix):
    words = shlex.split(typed.replace("DATA", str(data)))

    code, _, errors = ended(monkeypatch, capsys, command, words)

    assert code == 2, errors
    assert said in errors
    assert len(errors.splitlines()) == 1, errors
    assert errors.startswith("error: ")
    if fix is not None:
        code, output, errors = ended(monkeypatch, capsys, command, shlex.split(fix))
        assert (code, errors) == (0, "")
        assert output.startswith("accepted ")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_name_is_taken_as_typed(monkeypatch, capsys, name):
    assert ended(monkeypatch, capsys, "generate", ["task=import", f"source={name}"])[:2] == (
        0,
        f"accepted {name} None\n",
    )
    code, output, _ = ended(monkeypatch, capsys, "train", ["mixture=file", f"mixture.path={name}"])
    assert (code, output) == (0, f"accepted None {name}\n")
